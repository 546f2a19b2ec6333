import mongoose, { Document, Schema } from 'mongoose';

export interface IBooking extends Document {
  clientId: mongoose.Types.ObjectId;
  expertId: mongoose.Types.ObjectId;
  sessionType: 'video' | 'audio' | 'chat' | 'in-person';
  duration: number;
  scheduledDate: Date;
  startTime: string;
  endTime: string;
  status: 'pending' | 'confirmed' | 'completed' | 'cancelled' | 'no-show';
  price: number;
  currency: string;
  paymentStatus: 'pending' | 'paid' | 'refunded' | 'failed';
  notes?: string;
  createdAt: Date;
}

const appointmentSchema = new Schema<IBooking>(
  {
    clientId: { type: Schema.Types.ObjectId, ref: 'User', required: true },
    expertId: { type: Schema.Types.ObjectId, ref: 'Expert', required: true },
    sessionType: { type: String, required: true },
    duration: { type: Number, required: true, min: 15 },
    scheduledDate: { type: Date, required: true },
    startTime: { type: String, required: true },
    endTime: { type: String, required: true },
    status: { type: String, default: 'pending' },
    price: { type: Number, required: true, min: 0 },
    currency: { type: String, default: 'INR' },
    paymentStatus: { type: String, default: 'pending' },
    notes: { type: String, maxlength: 1000 },
  },
  { timestamps: true },
);

appointmentSchema.index({ expertId: 1, scheduledDate: 1, startTime: 1 }, { unique: true });
appointmentSchema.index({ status: 1 });
appointmentSchema.index({ clientId: 1 });

appointmentSchema.methods.isOpen = function (this: IBooking) {
  return this.status === 'pending' || this.paymentStatus === 'pending';
};

export default mongoose.model<IBooking>('Booking', appointmentSchema);

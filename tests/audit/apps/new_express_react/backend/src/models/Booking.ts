import mongoose, { Document, Schema } from 'mongoose';

export interface ISession {
  sessionId: mongoose.Types.ObjectId;
  expertId: mongoose.Types.ObjectId;
  sessionType: string;
  duration: number;
  scheduledDate: Date;
  startTime: string;
  endTime: string;
  status: string;
  price: number;
  currency: string;
  paymentStatus: string;
  notes?: string;
}

export interface IBooking extends Document {
  clientId: mongoose.Types.ObjectId;
  clientUserId: string;
  clientEmail: string;
  sessions: ISession[];
  totalSessions: number;
  totalSpent: number;
}

const sessionSchema = new Schema<ISession>({
  sessionId: { type: Schema.Types.ObjectId, default: () => new mongoose.Types.ObjectId() },
  expertId: { type: Schema.Types.ObjectId, ref: 'Expert', required: true },
  sessionType: { type: String, required: true },
  duration: { type: Number, required: true },
  scheduledDate: { type: Date, required: true },
  startTime: String,
  endTime: String,
  status: { type: String, default: 'pending' },
  price: Number,
  currency: String,
  paymentStatus: { type: String, default: 'pending' },
  notes: String,
});

const bookingSchema = new Schema<IBooking>(
  {
    clientId: { type: Schema.Types.ObjectId, ref: 'User', required: true, unique: true },
    clientUserId: String,
    clientEmail: String,
    sessions: [sessionSchema],
    totalSessions: { type: Number, default: 0 },
    totalSpent: { type: Number, default: 0 },
  },
  { timestamps: true },
);

bookingSchema.index({ 'sessions.expertId': 1, 'sessions.scheduledDate': 1 });
bookingSchema.index({ clientId: 1 }, { unique: true });

bookingSchema.pre('save', function (next) {
  this.totalSessions = this.sessions.length;
  this.totalSpent = this.sessions.reduce((sum, session) => sum + session.price, 0);
  next();
});

export default mongoose.model<IBooking>('Booking', bookingSchema);

import { Schema } from 'mongoose';

export const PaymentSchema = new Schema({
  booking: { type: Schema.Types.ObjectId, ref: 'Booking' },
  amount: Number,
  currency: String,
  status: { type: String, default: 'open' },
});

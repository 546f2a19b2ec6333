import { Schema, model } from 'mongoose';

const reviewSchema = new Schema({
  bookingId: { type: Schema.Types.ObjectId, ref: 'Booking', required: true },
  sessionId: { type: Schema.Types.ObjectId, required: true },
  rating: Number,
  status: String,
});

export const Review = model('Review', reviewSchema);

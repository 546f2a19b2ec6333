import { Schema, model } from 'mongoose';

const reviewSchema = new Schema({
  bookingId: { type: Schema.Types.ObjectId, ref: 'Booking', required: true },
  expertId: { type: Schema.Types.ObjectId, ref: 'Expert', required: true },
  rating: { type: Number, min: 1, max: 5 },
  status: { type: String, enum: ['visible', 'hidden'], default: 'visible' },
  notes: String,
});

reviewSchema.index({ expertId: 1, status: 1 });

export const Review = model('Review', reviewSchema);

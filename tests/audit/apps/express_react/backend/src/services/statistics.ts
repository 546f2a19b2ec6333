import Booking from '../models/Booking';
import { Review } from '../models/Review';
import { Order } from '../models/Order';

export async function earnings(expertId: string) {
  const rows = await Booking.aggregate([
    { $match: { expertId, status: 'completed', paymentStatus: 'paid' } },
    { $group: { _id: '$currency', total: { $sum: '$price' }, count: { $sum: 1 } } },
    { $sort: { total: -1 } },
  ]);
  return rows.map((row) => ({ currency: row._id, total: row.total }));
}

export async function overview() {
  const [open, all, cities] = await Promise.all([
    Booking.countDocuments({ status: 'pending' }),
    Booking.estimatedDocumentCount(),
    Booking.distinct('sessionType'),
  ]);
  const paid = await Order.aggregate([{ $match: { status: 'paid' } }, { $group: { _id: '$currency', total: { $sum: '$price' } } }]);
  return { open, all, cities, paid };
}

export async function reviewsWithBookings(expertId: string) {
  const reviews = await Review.find({ expertId, status: 'visible' }).populate('bookingId');
  return reviews.map((review) => ({
    rating: review.rating,
    notes: review.notes,
    when: review.bookingId.scheduledDate,
  }));
}

export async function withBooking() {
  return Review.aggregate([
    { $lookup: { from: 'bookings', localField: 'bookingId', foreignField: '_id', as: 'booking' } },
    { $unwind: '$booking' },
    { $project: { rating: 1, startTime: '$booking.startTime' } },
  ]);
}

import Booking from '../models/Booking';

export async function earnings(expertId: string) {
  const rows = await Booking.aggregate([
    { $unwind: '$sessions' },
    { $match: { 'sessions.expertId': expertId, 'sessions.status': 'completed' } },
    { $group: { _id: '$sessions.currency', total: { $sum: '$sessions.price' }, count: { $sum: 1 } } },
  ]);
  return rows.map((row) => ({ currency: row._id, total: row.total, count: row.count }));
}

const { collections } = require('./db');

exports.monthly = async (month) => {
  const { lessons, invoices } = await collections();
  const totals = new Map();
  for (const each of await lessons.find({}).toArray()) {
    const { currency, price } = each;
    totals.set(currency, (totals.get(currency) || 0) + price);
  }
  const busiest = await lessons
    .aggregate([
      { $match: { scheduledDate: { $gte: month } } },
      { $group: { _id: '$expertId', hours: { $sum: { $divide: ['$duration', 60] } } } },
      { $sort: { hours: -1 } },
      { $lookup: { from: 'experts', localField: '_id', foreignField: '_id', as: 'expert' } },
      { $limit: 3 },
    ])
    .toArray();
  const count = await lessons.countDocuments();
  const bills = await invoices.find({ status: 'paid' }).sort({ price: -1 }).limit(3).toArray();
  return { totals, busiest, count, bills: bills.map((b) => b.price), median: middle(bills) };
};

function middle(rows) {
  return rows.length ? rows[Math.floor(rows.length / 2)].price : 0;
}

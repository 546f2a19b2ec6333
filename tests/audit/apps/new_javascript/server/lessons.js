const express = require('express');
const { MongoClient, ObjectId } = require('mongodb');

const api = express.Router();
const client = new MongoClient(process.env.MONGODB_URI);
const lessons = () => client.db('shop').collection('bookings');

api.get('/bookings', async function (req, res) {
  const own = await lessons().findOne({ clientId: new ObjectId(req.user.id) });
  const sessions = (own?.sessions ?? []).filter((s) => s.status !== 'cancelled');
  sessions.sort((a, b) => a.scheduledDate - b.scheduledDate);
  res.json({ data: sessions.map((s) => ({ at: s.startTime, price: s.price })) });
});

api.post('/bookings', async function (req, res) {
  const session = { sessionId: new ObjectId(), expertId: req.body.expertId, status: 'pending', price: 20, startTime: '12:00' };
  await lessons().updateOne(
    { clientId: new ObjectId(req.user.id) },
    { $push: { sessions: session }, $inc: { totalSessions: 1, totalSpent: session.price } },
    { upsert: true },
  );
  res.status(201).json({ data: { session } });
});

api.patch('/bookings/:bookingId/:sessionId', async function (req, res) {
  const outcome = await lessons().updateOne(
    { _id: new ObjectId(req.params.bookingId) },
    { $set: { 'sessions.$[s].status': req.body.status } },
    { arrayFilters: [{ 's.sessionId': new ObjectId(req.params.sessionId) }] },
  );
  res.json({ data: outcome.modifiedCount });
});

exports.prepare = async () => {
  await lessons().createIndex({ 'sessions.expertId': 1 });
  await lessons().createIndex({ clientId: 1 }, { unique: true });
};
exports.api = api;
exports.monthly = async (month) =>
  lessons()
    .aggregate([
      { $match: { 'sessions.scheduledDate': { $gte: month } } },
      { $unwind: '$sessions' },
      { $group: { _id: '$sessions.expertId', minutes: { $sum: '$sessions.duration' } } },
      { $sort: { minutes: -1 } },
    ])
    .toArray();

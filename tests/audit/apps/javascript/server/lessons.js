const express = require('express');
const { ObjectId } = require('mongodb');
const { collections } = require('./db');

const api = express.Router();

api.get('/bookings', async function (req, res) {
  const { lessons } = await collections();
  const list = await lessons
    .find({ clientId: new ObjectId(req.user.id) })
    .project({ scheduledDate: 1, startTime: 1, status: 1 })
    .sort('scheduledDate', -1)
    .toArray();
  res.json({ data: list });
});

api.post('/bookings', async function (req, res) {
  const { lessons } = await collections();
  const doc = {
    clientId: new ObjectId(req.user.id),
    expertId: new ObjectId(req.body.expertId),
    sessionType: req.body.sessionType,
    duration: Number(req.body.duration),
    scheduledDate: new Date(req.body.scheduledDate),
    startTime: req.body.startTime,
    status: 'pending',
    price: 20,
    createdAt: new Date(),
  };
  const { insertedId } = await lessons.insertOne(doc);
  res.status(201).json({ data: { ...doc, _id: insertedId } });
});

api.patch('/bookings/:id', async function (req, res) {
  const { lessons } = await collections();
  const outcome = await lessons.updateOne(
    { _id: new ObjectId(req.params.id), status: { $ne: 'completed' } },
    { $set: { notes: req.body.notes, 'status': req.body.status }, $unset: { meetingLink: '' } },
  );
  res.json({ data: outcome.modifiedCount });
});

api.delete('/bookings/:id', async function (req, res) {
  const { lessons, invoices } = await collections();
  const gone = await lessons.findOneAndDelete({ _id: new ObjectId(req.params.id) });
  await invoices.updateMany({ status: 'open', notes: 'lesson' }, { $set: { status: 'void', price: 0 } });
  await audit(gone);
  res.sendStatus(204);
});

function audit(thing) {
  console.log('deleted', thing._id, thing['status'], thing.price);
}

async function prepare() {
  const { lessons, invoices } = await collections();
  await lessons.createIndex({ expertId: 1, scheduledDate: 1 }, { unique: true });
  await lessons.createIndexes([{ key: { paymentStatus: 1 } }, { key: { clientId: 1 } }]);
  await invoices.createIndex({ status: 1, price: 1 });
}

module.exports = { api, prepare };

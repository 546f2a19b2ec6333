import { Router } from 'express';
import mongoose from 'mongoose';
import { protect } from '../middleware/auth';
import Booking, { ISession } from '../models/Booking';
import { Expert } from '../models/Expert';

const router = Router();

router.post('/', protect, async (req, res, next) => {
  try {
    const { expertId, sessionType, duration, scheduledDate, startTime, notes } = req.body;
    const expert = await Expert.findById(expertId);
    const taken = await Booking.findOne({
      sessions: { $elemMatch: { expertId, scheduledDate: new Date(scheduledDate), status: { $in: ['pending', 'confirmed'] } } },
    });
    if (taken) return res.status(400).json({ success: false });
    const session = {
      sessionId: new mongoose.Types.ObjectId(),
      expertId,
      sessionType,
      duration,
      scheduledDate: new Date(scheduledDate),
      startTime,
      endTime: startTime,
      status: 'pending',
      price: expert.price,
      currency: expert.currency,
      paymentStatus: 'pending',
      notes,
    } as ISession;
    let booking = await Booking.findOne({ clientId: req.user._id });
    if (booking) {
      const clash = booking.sessions.find((each) => each.startTime === startTime && each.status !== 'cancelled');
      if (clash) return res.status(400).json({ success: false, error: `Taken until ${clash.endTime}` });
      booking.sessions.push(session);
      await booking.save();
    } else {
      booking = await Booking.create({ clientId: req.user._id, clientEmail: req.user.email, sessions: [session] });
    }
    res.status(201).json({ success: true, data: { booking, session } });
  } catch (error) {
    next(error);
  }
});

router.get('/', protect, async (req, res) => {
  const { status, page = '1', limit = '10' } = req.query as Record<string, string>;
  const match: Record<string, unknown> = { 'sessions.expertId': req.user._id };
  if (status) match['sessions.status'] = status;
  const rows = await Booking.aggregate([
    { $unwind: '$sessions' },
    { $match: match },
    { $sort: { 'sessions.scheduledDate': -1 } },
    { $skip: (Number(page) - 1) * Number(limit) },
    { $limit: Number(limit) },
  ]);
  const clients = await Booking.find().sort({ totalSpent: -1 }).limit(10);
  const total = await Booking.countDocuments();
  res.json({ success: true, data: { rows, clients, total, first: clients[0]._id } });
});

router.put('/:bookingId/confirm', protect, async (req, res) => {
  const booking = await Booking.findById(req.params.bookingId);
  const session = booking?.sessions.find((each) => each.sessionId.toString() === req.body.sessionId);
  if (!booking || !session || session.status !== 'pending') return res.status(404).json({ success: false });
  session.status = 'confirmed';
  await booking.save();
  res.json({ success: true, data: { booking, session } });
});

router.put('/:bookingId/cancel', protect, async (req, res) => {
  const updated = await Booking.findOneAndUpdate(
    { _id: req.params.bookingId, 'sessions.sessionId': req.body.sessionId },
    { $set: { 'sessions.$.status': 'cancelled', 'sessions.$.cancellationReason': req.body.reason } },
    { new: true },
  );
  res.json({ success: true, data: { booking: updated } });
});

export default router;

import { Router } from 'express';
import { protect } from '../middleware/auth';
import Reservation from '../models/Booking';
import { Expert } from '../models/Expert';

const router = Router();

router.post('/', protect, async (req, res, next) => {
  try {
    const { expertId, sessionType, duration, scheduledDate, startTime, notes } = req.body;
    const expert = await Expert.findById(expertId);
    if (!expert || expert.status !== 'active') {
      return res.status(404).json({ success: false, error: 'Expert not found' });
    }
    const endTime = addMinutes(startTime, duration);
    const clash = await Reservation.findOne({
      expertId,
      scheduledDate: new Date(scheduledDate),
      status: { $in: ['pending', 'confirmed'] },
      startTime: { $lt: endTime },
    });
    if (clash) {
      return res.status(400).json({ success: false, error: `Taken until ${clash.endTime}` });
    }
    const created = await Reservation.create({
      clientId: req.user._id,
      expertId,
      sessionType,
      duration,
      scheduledDate: new Date(scheduledDate),
      startTime,
      endTime,
      price: expert.price,
      currency: expert.currency,
      notes,
    });
    res.status(201).json({ success: true, data: { booking: created } });
  } catch (error) {
    next(error);
  }
});

router.get('/', protect, async (req, res, next) => {
  try {
    const { status, page = '1', limit = '10' } = req.query as Record<string, string>;
    const criteria: Record<string, unknown> = {
      $or: [{ clientId: req.user._id }, { expertId: req.user._id }],
    };
    if (status) {
      criteria.status = status;
    }
    const skip = (Number(page) - 1) * Number(limit);
    const found = await Reservation.find(criteria)
      .populate('clientId', 'firstName lastName email')
      .populate('expertId', 'title company')
      .sort({ scheduledDate: -1 })
      .skip(skip)
      .limit(Number(limit));
    const total = await Reservation.countDocuments(criteria);
    res.json({ success: true, data: { bookings: found, pagination: { page, total } } });
  } catch (error) {
    next(error);
  }
});

router.get('/:id', protect, async (req, res) => {
  const one = await Reservation.findById(req.params.id).populate({ path: 'expertId', select: 'title' });
  if (!one) return res.status(404).json({ success: false });
  if (one.clientId.toString() !== req.user.id && one.expertId.toString() !== req.user.id) {
    return res.status(403).json({ success: false });
  }
  res.json({ success: true, data: { booking: one } });
});

router.put('/:id/confirm', protect, async (req, res) => {
  const one = await loadForExpert(req.params.id, req.user.id);
  if (one.status !== 'pending') {
    return res.status(400).json({ success: false });
  }
  one.status = 'confirmed';
  await one.save();
  res.json({ success: true, data: { booking: one } });
});

router.put('/:id/cancel', protect, async (req, res) => {
  const updated = await Reservation.findByIdAndUpdate(
    req.params.id,
    { $set: { status: 'cancelled', cancellationReason: req.body.reason, cancelledBy: 'client' } },
    { new: true },
  );
  res.json({ success: true, data: { booking: updated } });
});

async function loadForExpert(id: string, userId: string) {
  const found = await Reservation.findById(id);
  if (!found || String(found.expertId) !== userId) throw new Error('forbidden');
  return found;
}

function addMinutes(time: string, minutes: number): string {
  const [h, m] = time.split(':').map(Number);
  const total = h * 60 + m + minutes;
  return `${Math.floor(total / 60) % 24}:${String(total % 60).padStart(2, '0')}`;
}

export default router;

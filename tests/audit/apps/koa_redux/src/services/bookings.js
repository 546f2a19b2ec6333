const BaseService = require('./base');
const { Booking, Ticket } = require('../models');

class Bookings extends BaseService {
  constructor() {
    super(Booking);
  }

  async close(id) {
    const entry = await this.get(id);
    if (!['pending', 'confirmed'].includes(entry.status)) return null;
    Object.assign(entry, { status: 'completed' });
    return entry.save();
  }

  async report({ from, to }) {
    const pipeline = [];
    if (from) pipeline.push({ $match: { scheduledDate: { $gte: from, $lt: to } } });
    pipeline.push({ $group: { _id: { $month: '$scheduledDate' }, n: { $sum: 1 } } });
    return Booking.aggregate(pipeline).exec();
  }

  async open(expert) {
    const rows = await Booking.openOf(expert);
    return rows.map(toView);
  }

  tickets() {
    return Ticket.find({ status: 'open' }, 'notes price').sort('-price');
  }
}

const toView = ({ _id, startTime, ...others }) => ({ id: _id, at: startTime, kind: others.sessionType });

module.exports = new Bookings();

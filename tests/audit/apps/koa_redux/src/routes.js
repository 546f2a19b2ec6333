const Router = require('koa-router');
const bookings = require('./services/bookings');
const { Booking } = require('./models');

const router = new Router({ prefix: '/api' });

router.get('/bookings/:id', async (ctx) => {
  const found = await bookings.get(ctx.params.id);
  ctx.body = { id: found.id, status: found.status, minutes: found.minutes() };
});

router.get('/bookings', async (ctx) => {
  const list = await bookings.open(ctx.query.expert);
  const total = await Booking.where({ paymentStatus: 'paid' }).countDocuments();
  ctx.body = { list, total };
});

router.get('/callback', (ctx) => {
  Booking.findOne({ startTime: ctx.query.at }, (error, doc) => {
    if (!error && doc) ctx.body = doc.get('endTime');
  });
});

router.get('/tickets', async (ctx) => {
  const list = await bookings.tickets();
  ctx.body = list.map((t) => `${t.status} ${t.price} ${t.notes}`);
});

module.exports = router;

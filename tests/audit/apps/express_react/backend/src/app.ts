import express from 'express';
import bookings from './routes/bookings';
import orders from './routes/orders';

const app = express();
app.use('/api/bookings', bookings);
app.use('/api/orders', orders);

export default app;

import { model } from 'mongoose';
import { PaymentSchema } from './payment.schema';
import { BookingsService } from '../bookings/bookings.service';

const Payment = model('Payment', PaymentSchema);

export class PaymentsService {
  constructor(private readonly bookings: BookingsService) {}

  async settle(id: string) {
    const payment = await Payment.findById(id).populate('booking');
    payment.status = 'paid';
    await payment.save();
    if (payment.booking.paymentStatus !== 'paid') {
      payment.booking.paymentStatus = 'paid';
    }
    return { status: payment.status, currency: payment.currency };
  }

  async price(id: string) {
    return (await this.bookings.one(id)).price;
  }

  open() {
    return Payment.find({ status: 'open' }).sort({ currency: 1 }).limit(10);
  }
}

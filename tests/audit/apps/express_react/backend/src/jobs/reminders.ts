import Booking, { IBooking } from '../models/Booking';
import { sendMail } from '../mail';

const HOUR = 3_600_000;

export async function remind(now: Date): Promise<number> {
  let sent = 0;
  const cursor = Booking.find({ status: 'confirmed', scheduledDate: { $lt: new Date(+now + 24 * HOUR) } }).cursor();
  for await (const next of cursor) {
    await sendMail(next.clientEmail, describe(next));
    sent += 1;
  }
  await Booking.updateMany(
    { status: 'pending', createdAt: { $lt: new Date(+now - 48 * HOUR) } },
    { $set: { status: 'cancelled', cancelledBy: 'system' } },
  );
  return sent;
}

function describe({ startTime, endTime, meetingLink = 'none', ...rest }: IBooking): string {
  return `${startTime}-${endTime} ${meetingLink} ${rest.notes ?? ''}`;
}

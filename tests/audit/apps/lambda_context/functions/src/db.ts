import { MongoClient, Collection, ObjectId } from 'mongodb';

export interface BookingDoc {
  _id: ObjectId;
  clientId: ObjectId;
  expertId: ObjectId;
  sessionType: string;
  duration: number;
  scheduledDate: Date;
  startTime: string;
  endTime: string;
  status: 'pending' | 'confirmed';
  price: number;
  currency: string;
}

let cached: Promise<MongoClient> | undefined;
const connection = () => (cached ??= new MongoClient(process.env.MONGO_URL!).connect());

export async function bookings(): Promise<Collection<BookingDoc>> {
  const client = await connection();
  return client.db().collection<BookingDoc>('bookings');
}

export async function coupons() {
  const client = await connection();
  return client.db().collection<{ code: string; status: string; price: number }>('coupons');
}

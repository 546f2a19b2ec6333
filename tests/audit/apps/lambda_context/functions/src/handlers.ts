import type { Handler } from './types';
import { bookings, coupons, BookingDoc } from './db';
import { ObjectId, Filter, UpdateFilter } from 'mongodb';

export const list: Handler = async (event) => {
  const store = await bookings();
  const filter: Filter<BookingDoc> = {};
  const { status, from } = event.query;
  if (status) filter['status'] = status;
  if (from) filter.scheduledDate = { $gte: new Date(from) };
  const cursor = store.find(filter, { sort: { startTime: 1 }, limit: 50, projection: { notes: 0 } });
  const items: Array<ReturnType<typeof present>> = [];
  while (await cursor.hasNext()) {
    const next = await cursor.next();
    if (next) items.push(present(next));
  }
  return { statusCode: 200, body: JSON.stringify({ items }) };
};

function present(doc: BookingDoc) {
  return { id: doc._id.toHexString(), title: `${doc.sessionType}, ${doc.duration} min`, amount: money(doc) };
}

const money = ({ price, currency }: Pick<BookingDoc, 'price' | 'currency'>) => `${price} ${currency}`;

export const confirm: Handler = async ({ params }) => {
  const store = await bookings();
  const update: UpdateFilter<BookingDoc> = { $set: { status: 'confirmed' }, $currentDate: { updatedAt: true } };
  const { value } = await store.findOneAndUpdate({ _id: new ObjectId(params.id) }, update, { returnDocument: 'after' });
  return { statusCode: value?.status === 'confirmed' ? 200 : 409 };
};

export const stats: Handler = async () => {
  const store = await bookings();
  const result = await store
    .aggregate([
      {
        $facet: {
          byState: [{ $sortByCount: '$status' }],
          income: [{ $group: { _id: null, sum: { $sum: '$price' } } }],
        },
      },
    ])
    .next();
  const used = await (await coupons()).find({ status: 'used' }).sort({ price: 1 }).toArray();
  return { statusCode: 200, body: JSON.stringify({ result, used: used.map((c) => c.status) }) };
};

export const remind: Handler = async () => {
  const store = await bookings();
  const due = await store.find({ status: 'confirmed' }).toArray();
  const byExpert = new Map<string, BookingDoc[]>();
  for (const each of due) {
    const key = String(each.expertId);
    byExpert.set(key, [...(byExpert.get(key) ?? []), each]);
  }
  for (const [expert, docs] of byExpert) {
    await notify(expert, docs.map((d) => d.startTime));
  }
  return { statusCode: 204 };
};

async function notify(expert: string, times: string[]) {
  console.log(expert, times);
}

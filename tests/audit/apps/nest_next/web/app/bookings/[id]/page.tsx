import { Suspense } from 'react';

async function load(id: string) {
  const res = await fetch(`https://api.example.com/bookings/${id}`, { next: { revalidate: 60 } });
  return res.json();
}

export default async function Page({ params }: { params: { id: string } }) {
  const booking = await load(params.id);
  return (
    <Suspense fallback={null}>
      <h1>{booking.sessionType}</h1>
      <time>{booking.scheduledDate}</time>
    </Suspense>
  );
}

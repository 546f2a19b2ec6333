'use client';
import { useMemo } from 'react';
import { useBookings, useCancel, useProducts } from '../../hooks/useBookings';
import { Row } from './row';

export default function Page() {
  const { data: entries = [], isLoading, status } = useBookings();
  const { data: products } = useProducts();
  const cancel = useCancel();
  const sorted = useMemo(
    () => entries.slice().sort((p, q) => p.startTime.localeCompare(q.startTime)),
    [entries],
  );
  if (isLoading || status === 'pending') return <p>…</p>;
  return (
    <section>
      <h2>{`${sorted.length} bookings`}</h2>
      {sorted.map((entry, index) => (
        <Row key={index} {...entry} onCancel={() => cancel.mutate(entry)} />
      ))}
      {products?.map((product) => <b key={product.id}>{product.price} {product.status}</b>)}
    </section>
  );
}

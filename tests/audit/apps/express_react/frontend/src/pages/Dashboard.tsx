import React from 'react';
import { AppointmentCard } from '../components/AppointmentCard';
import { ParcelRow } from '../components/ParcelRow';
import { useAppointments } from '../hooks/useAppointments';
import { Parcel } from '../types';

export default function Dashboard({ parcels }: { parcels: Parcel[] }) {
  const { items, open, earned, status } = useAppointments();
  if (status === 'loading') return <p>Loading</p>;
  const next = [...items].sort((a, b) => a.scheduledDate.localeCompare(b.scheduledDate))[0];
  const byType = items.reduce<Record<string, number>>((groups, { sessionType, duration }) => {
    groups[sessionType] = (groups[sessionType] ?? 0) + duration;
    return groups;
  }, {});
  return (
    <main>
      <h1>{items.length} appointments, {open.length} open</h1>
      <p>{earned} earned, next at {next?.startTime}</p>
      <pre>{JSON.stringify(byType)}</pre>
      <ul>
        {items.map((item) => (
          <AppointmentCard key={item._id} entry={item} onCancelled={() => undefined} />
        ))}
      </ul>
      {parcels.map((parcel) => (
        <ParcelRow key={parcel.id} parcel={parcel} />
      ))}
    </main>
  );
}

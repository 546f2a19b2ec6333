import { useEffect, useState } from 'react';
import { appointments } from '../api/appointments';
import { Appointment } from '../types';

export function useAppointments() {
  const [items, setItems] = useState<Appointment[]>([]);
  const [status, setStatus] = useState('idle');

  useEffect(() => {
    setStatus('loading');
    appointments
      .list()
      .then(({ data }) => {
        setItems(data.bookings);
        setStatus('done');
      })
      .catch(() => setStatus('failed'));
  }, []);

  const open = items.filter((x) => x.status === 'pending');
  const earned = items.reduce((sum, x) => sum + x.price, 0);
  return { items, open, earned, status };
}

import React, { useEffect, useState } from 'react';
import { cancel, list, untyped } from '../api/bookings';
import { Booking, Session } from '../types';

export function Sessions() {
  const [bookings, setBookings] = useState<Booking[]>([]);
  const [rows, setRows] = useState<any[]>([]);
  const [picked, setPicked] = useState<Session | null>(null);
  useEffect(() => {
    list().then(setBookings);
    untyped().then((found) => setRows(found));
  }, []);
  const sessions = bookings.flatMap((booking) => booking.sessions.map((session) => ({ session, booking })));
  const open = sessions.filter(({ session }) => session.status === 'pending');
  return (
    <ul>
      <li>
        {bookings.reduce((sum, booking) => sum + booking.totalSessions, 0)} sessions of {bookings.length} clients, {open.length} open
      </li>
      {sessions.map(({ session, booking }) => (
        <li key={session.sessionId} onClick={() => setPicked(session)}>
          {session.startTime} {session.price} {picked?.notes}
          <button onClick={() => cancel(booking._id, session.sessionId, 'changed')}>Cancel</button>
        </li>
      ))}
      {rows.map((row) => (
        <li key={row.sessionId}>{row.status}</li>
      ))}
    </ul>
  );
}

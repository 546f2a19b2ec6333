import React from 'react';
import { Appointment } from '../types';
import { appointments } from '../api/appointments';

interface Props {
  entry: Appointment;
  onCancelled: (id: string) => void;
}

export const AppointmentCard: React.FC<Props> = ({ entry, onCancelled }) => {
  const cancel = async () => {
    await appointments.cancel(entry._id, 'changed my mind');
    onCancelled(entry._id);
  };
  return (
    <li className={`card ${entry.status}`}>
      <h3>{entry.sessionType}</h3>
      <p>
        {new Date(entry.scheduledDate).toLocaleDateString()} at {entry.startTime}
      </p>
      {entry?.notes && <em>{entry.notes}</em>}
      <button onClick={cancel}>Cancel</button>
    </li>
  );
};

import React, { useState } from 'react';
import { useBookings } from './context';
import { Modal } from './Modal';

export function Calendar() {
  const { entries, status, remove } = useBookings();
  const [selected, select] = useState(null);
  if (status !== 'ready') return null;
  const grid = {};
  entries.forEach((entry) => {
    const day = entry.scheduledDate.slice(0, 10);
    grid[day] = grid[day] || [];
    grid[day].push(entry);
  });
  return (
    <div>
      {Object.entries(grid).map(([day, list]) => (
        <div key={day}>
          {list.map((item) => (
            <a key={item._id} onClick={() => select(item)}>
              {item.startTime}
            </a>
          ))}
        </div>
      ))}
      {selected && <Modal item={selected} onClose={() => select(null)} onRemove={() => remove(selected._id)} />}
    </div>
  );
}

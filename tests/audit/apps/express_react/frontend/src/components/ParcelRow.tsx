import React from 'react';
import { Parcel } from '../types';

export function ParcelRow({ parcel }: { parcel: Parcel }) {
  const { status, price, notes } = parcel;
  return (
    <li>
      {status} {price} {notes} {parcel.status}
    </li>
  );
}

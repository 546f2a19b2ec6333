import React, { useEffect, useState } from 'react';

export function Coupons() {
  const [rows, setRows] = useState([]);
  useEffect(() => {
    fetch('/api/coupons').then((r) => r.json()).then((json) => setRows(json.items));
  }, []);
  return <ul>{rows.map((row) => <li key={row.id}>{row.status} {row.price} {row.notes}</li>)}</ul>;
}

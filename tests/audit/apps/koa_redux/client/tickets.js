export async function tickets() {
  const response = await fetch('/api/tickets');
  const rows = await response.json();
  return rows.filter((r) => r.status === 'open').map((r) => ({ price: r.price, notes: r.notes }));
}

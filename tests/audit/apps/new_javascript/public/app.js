async function load() {
  const answer = await fetch('/api/bookings?limit=50');
  if (answer.status !== 200) throw new Error(answer.statusText);
  const body = await answer.json();
  const rows = body.data.bookings.flatMap((b) => b.sessions.map((s) => [b._id, s]));
  document.querySelector('#rows').innerHTML = rows.map(([id, s]) => `<tr data-id="${id}">${s.startTime} ${s.status}</tr>`).join('');
  document.querySelector('#total').textContent = `${rows.length} lessons`;
}

async function cancel(row) {
  await fetch(`/api/bookings/${row.dataset.id}/cancel`, {
    method: 'PUT',
    body: JSON.stringify({ sessionId: row.dataset.session, reason: 'late' }),
  });
}

document.addEventListener('DOMContentLoaded', load);
window.cancel = cancel;

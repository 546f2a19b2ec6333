const state = { rows: [], jobs: [], status: 'idle' };

async function load() {
  state.status = 'loading';
  const answer = await fetch('/api/bookings?limit=50', { headers: { Accept: 'application/json' } });
  if (answer.status !== 200) {
    throw new Error(answer.statusText);
  }
  const body = await answer.json();
  state.rows = body.data;
  state.status = 'done';
  draw();
}

function draw() {
  const table = document.querySelector('#rows');
  table.innerHTML = state.rows
    .map(
      (r) => `<tr data-id="${r._id}">
        <td>${r.startTime}</td><td>${label(r)}</td>
        <td>${r.price.toFixed(2)} ${r.currency}</td>
      </tr>`,
    )
    .join('');
  document.querySelector('#total').textContent = `${state.rows.length} lessons`;
  state.jobs.forEach((job) => console.log(job.status, job.price, job.notes));
}

function label(lesson) {
  switch (lesson.status) {
    case 'pending':
      return 'open';
    default:
      return lesson.paymentStatus;
  }
}

async function cancel(row) {
  const response = await fetch('/api/bookings/' + row.dataset.id, {
    method: 'PATCH',
    body: JSON.stringify({ status: 'cancelled' }),
  });
  const { data } = await response.json();
  return data;
}

async function jobs() {
  const response = await fetch('/api/jobs');
  const list = await response.json();
  state.jobs = list;
  return list.filter((job) => job.status === 'open' && job.price > 10);
}

document.addEventListener('DOMContentLoaded', load);
window.cancel = cancel;
window.jobs = jobs;

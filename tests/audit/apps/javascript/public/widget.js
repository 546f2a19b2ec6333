import { load as loadAll } from './store.js';

export async function widget(element) {
  const entries = await loadAll();
  const latest = entries.at(-1);
  element.textContent = latest ? `${latest.startTime} ${latest.notes}` : 'nothing';
  for (const { _id, status } of entries) {
    element.append(`${_id}: ${status}`);
  }
  const groups = Object.groupBy(entries, (entry) => entry.expertId);
  return Object.keys(groups).length;
}

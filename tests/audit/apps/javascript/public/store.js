const cache = new Map();

export const load = async () => {
  if (!cache.has('all')) {
    cache.set('all', fetch('/api/bookings').then((r) => r.json()).then((json) => json.data));
  }
  return cache.get('all');
};

export const settings = () => JSON.parse(localStorage.getItem('settings') ?? '{"status":"new"}').status;

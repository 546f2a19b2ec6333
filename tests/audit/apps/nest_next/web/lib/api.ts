const BASE = process.env.NEXT_PUBLIC_API ?? '';

export async function request<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await fetch(`${BASE}${path}`, { credentials: 'include', ...init });
  if (response.status >= 400) throw new Error(`${response.status}`);
  return (await response.json()) as T;
}

export const endpoints = {
  bookings: '/bookings',
  booking: (id: string) => `/bookings/${id}`,
  products: '/products',
};

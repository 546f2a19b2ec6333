import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { endpoints, request } from '../lib/api';
import type { Page, Product, Session } from '../lib/types';

export function useBookings() {
  return useQuery({
    queryKey: ['bookings'],
    queryFn: () => request<Page<Session>>(endpoints.bookings),
    select: (page) => page.items.filter((entry) => entry.status !== 'cancelled'),
  });
}

export function useBooking(id: string) {
  return useQuery({ queryKey: ['bookings', id], queryFn: () => request<Session>(endpoints.booking(id)) });
}

export function useCancel() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (entry: Session) => request(`/bookings/${entry._id}/cancelled`, { method: 'PATCH' }),
    onSuccess: () => client.invalidateQueries({ queryKey: ['bookings'] }),
  });
}

export function useProducts() {
  return useQuery({ queryKey: ['products'], queryFn: () => request<Product[]>(endpoints.products) });
}

import { create } from 'zustand';
import { request } from '../lib/api';
import type { Page, Session } from '../lib/types';

interface State {
  entries: Session[];
  selected: Session | null;
  load: () => Promise<void>;
}

export const useBookingStore = create<State>((set, get) => ({
  entries: [],
  selected: null,
  load: async () => {
    const page = await request<Page<Session>>('/bookings');
    set({ entries: page.items, selected: page.items.find((each) => each.status === 'confirmed') ?? null });
  },
}));

export const upcomingTitle = () => {
  const { entries, selected } = useBookingStore.getState();
  return selected ? selected.scheduledDate : entries.map((each) => each.startTime).join();
};

export type Page<T> = { items: T[]; total: number };

export type Session = {
  _id: string;
  clientId: string;
  expertId: string;
  sessionType: 'video' | 'chat';
  scheduledDate: string;
  startTime: string;
  duration: number;
  status: string;
  price: number;
};

export type Product = { id: string; price: number; status: string; notes: string };

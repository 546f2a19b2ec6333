export interface Session {
  sessionId: string;
  expertId: string;
  sessionType: string;
  scheduledDate: string;
  startTime: string;
  status: string;
  price: number;
  notes?: string;
}

export interface Booking {
  _id: string;
  clientId: string;
  sessions: Session[];
  totalSessions: number;
  totalSpent: number;
}

export interface NewSession {
  expertId: string;
  sessionType: string;
  duration: number;
  scheduledDate: string;
  startTime: string;
}

export interface Appointment {
  _id: string;
  clientId: string;
  expertId: string;
  sessionType: string;
  duration: number;
  scheduledDate: string;
  startTime: string;
  endTime: string;
  status: string;
  price: number;
  notes?: string;
}

export interface NewAppointment {
  expertId: string;
  sessionType: string;
  duration: number;
  scheduledDate: string;
  startTime: string;
  notes?: string;
}

export interface Parcel {
  id: string;
  status: string;
  price: number;
  notes: string;
}

export interface Envelope<T> {
  success: boolean;
  message?: string;
  data: T;
}

import axios from 'axios';
import { Booking, NewSession, Session } from '../types';

const http = axios.create({ baseURL: '/api' });

export async function create(body: NewSession): Promise<Session> {
  const response = await http.post('/bookings', body);
  return response.data.data.session;
}

export async function list(): Promise<Booking[]> {
  const { data } = await http.get('/bookings');
  return data.data.bookings;
}

export async function untyped() {
  const { data } = await http.get('/bookings/mine');
  return data.data.bookings.flatMap((booking) => booking.sessions.map((session) => ({ ...session, bookingId: booking._id })));
}

export async function cancel(bookingId: string, sessionId: string, reason: string) {
  await http.put(`/bookings/${bookingId}/cancel`, { sessionId, reason });
}

export async function confirm(booking: Booking, session: Session) {
  await http.put(`/bookings/${booking._id}/confirm`, { sessionId: session.sessionId });
}

export async function one(bookingId: string) {
  const { data } = await http.get(`/bookings/${bookingId}`);
  return data.data.booking.sessions.filter((session) => session.status === 'pending');
}

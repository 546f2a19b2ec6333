import { http } from './client';
import { Appointment, Envelope, NewAppointment } from '../types';

class AppointmentsApi {
  async list(page = 1): Promise<Envelope<{ bookings: Appointment[] }>> {
    const response = await http.get<Envelope<{ bookings: Appointment[] }>>(`/bookings?page=${page}`);
    return response.data;
  }

  async create(body: NewAppointment) {
    const response = await http.post('/bookings', body);
    if (response.status !== 201) throw new Error(response.data.message);
    return response.data.data.booking._id;
  }

  async cancel(id: string, reason: string): Promise<void> {
    await http.put(`/bookings/${id}/cancel`, { reason });
  }

  async byId(id: string) {
    const { data } = await http.get(`/bookings/${id}`);
    return data.data.booking;
  }
}

export const appointments = new AppointmentsApi();

import { Injectable, NotFoundException } from '@nestjs/common';
import { InjectModel } from '@nestjs/mongoose';
import { FilterQuery, Model } from 'mongoose';
import { Booking, BookingDocument } from './booking.schema';
import { CreateBookingDto, ListQuery } from './dto';

@Injectable()
export class BookingsService {
  constructor(@InjectModel(Booking.name) private readonly store: Model<BookingDocument>) {}

  async create(clientId: string, dto: CreateBookingDto) {
    const overlapping = await this.store.exists({ expertId: dto.expertId, startTime: dto.startTime });
    if (overlapping) throw new Error('taken');
    const made = new this.store({ ...dto, clientId, status: 'pending' });
    return made.save();
  }

  async list(expertId: string, { status, page, limit }: ListQuery) {
    const filter: FilterQuery<BookingDocument> = { expertId };
    if (status) Object.assign(filter, { status });
    const [rows, total] = await Promise.all([
      this.store.find(filter).sort('-scheduledDate startTime').skip((page - 1) * limit).limit(limit).lean(),
      this.store.countDocuments(filter),
    ]);
    return { rows, total };
  }

  async one(id: string): Promise<BookingDocument> {
    const found = await this.store.findById(id).exec();
    if (!found) throw new NotFoundException();
    return found;
  }

  async setStatus(id: string, status: string) {
    const found = await this.one(id);
    if (found.status === status) return found;
    found.set('status', status);
    found.set({ notes: `set to ${status}` });
    return found.save();
  }

  async expire(before: Date) {
    const stale = await this.store.find().where('status').equals('pending').where('scheduledDate').lt(+before);
    await Promise.all(stale.map((each) => this.setStatus(each.id, 'cancelled')));
    return stale.length;
  }

  stats() {
    return this.store.aggregate<{ _id: string; n: number }>([
      { $group: { _id: { expert: '$expertId', state: '$status' }, n: { $sum: 1 } } },
    ]);
  }
}

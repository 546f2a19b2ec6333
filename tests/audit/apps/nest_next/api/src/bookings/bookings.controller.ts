import { Body, Controller, Get, Param, Patch, Post, Query, Req } from '@nestjs/common';
import { BookingsService } from './bookings.service';
import { CreateBookingDto, ListQuery } from './dto';

@Controller('bookings')
export class BookingsController {
  constructor(private readonly service: BookingsService) {}

  @Post()
  create(@Req() req, @Body() dto: CreateBookingDto) {
    return this.service.create(req.user.id, dto);
  }

  @Get()
  async list(@Req() req, @Query() query: ListQuery) {
    const { rows, total } = await this.service.list(req.user.expert, query);
    return { total, items: rows.map(({ scheduledDate, startTime, ...rest }) => ({ at: [scheduledDate, startTime], ...rest })) };
  }

  @Patch(':id/:status')
  async change(@Param('id') id: string, @Param('status') status: string) {
    const changed = await this.service.setStatus(id, status);
    return { id, price: changed.price, status: changed.get('status') };
  }
}

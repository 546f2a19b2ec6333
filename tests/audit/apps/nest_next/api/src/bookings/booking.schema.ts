import { Prop, Schema, SchemaFactory } from '@nestjs/mongoose';
import { HydratedDocument, Types } from 'mongoose';

export type BookingDocument = HydratedDocument<Booking>;

@Schema({ timestamps: true })
export class Booking {
  @Prop({ type: Types.ObjectId, ref: 'User', required: true })
  clientId: Types.ObjectId;

  @Prop({ type: Types.ObjectId, ref: 'Expert', required: true })
  expertId: Types.ObjectId;

  @Prop({ required: true })
  sessionType: string;

  @Prop({ required: true })
  duration: number;

  @Prop({ required: true })
  scheduledDate: Date;

  @Prop()
  startTime: string;

  @Prop()
  endTime: string;

  @Prop({ default: 'pending' })
  status: string;

  @Prop()
  price: number;
}

export const BookingSchema = SchemaFactory.createForClass(Booking);
BookingSchema.index({ expertId: 1, status: 1 });

import { Schema, model } from 'mongoose';

export interface IOrder {
  customerId: string;
  status: 'open' | 'paid' | 'shipped';
  price: number;
  currency: string;
  notes?: string;
}

const orderSchema = new Schema<IOrder>({
  customerId: String,
  status: String,
  price: Number,
  currency: String,
  notes: String,
});
orderSchema.index({ status: 1, price: -1 });

export const Order = model<IOrder>('Order', orderSchema);

const mongoose = require('mongoose');
const { Schema } = mongoose;

const Booking = new Schema(
  {
    clientId: { type: Schema.ObjectId, ref: 'User' },
    expertId: { type: Schema.ObjectId, ref: 'Expert' },
    sessionType: String,
    duration: Number,
    scheduledDate: Date,
    startTime: String,
    endTime: String,
    status: { type: String, default: 'pending' },
    price: Number,
    paymentStatus: String,
  },
  { timestamps: true, toJSON: { virtuals: true } },
);
Booking.virtual('label').get(function () {
  return `${this.sessionType} at ${this.startTime}`;
});
Booking.statics.openOf = function (expert) {
  return this.find({ expertId: expert, status: 'pending' });
};
Booking.methods.minutes = function minutes() {
  return this.duration;
};
Booking.pre('save', async function (next) {
  if (this.isModified('status') && this.status === 'cancelled') this.cancellationTime = new Date();
  next();
});

const Ticket = new Schema({ title: String, status: String, price: Number, notes: String });

module.exports = {
  Booking: mongoose.model('Booking', Booking),
  Ticket: mongoose.model('Ticket', Ticket),
};

const { MongoClient } = require('mongodb');

let client;

async function collections() {
  if (!client) {
    client = await MongoClient.connect(process.env.MONGODB_URI);
  }
  const db = client.db('shop');
  return { lessons: db.collection('bookings'), invoices: db.collection('invoices') };
}

module.exports = { collections };

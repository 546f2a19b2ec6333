const { collections } = require('./db');

const COLUMNS = ['startTime', 'endTime', 'status'];

function line(record) {
  return [record.startTime, record.endTime, record.status].join(';');
}

exports.toCsv = async () => {
  const { lessons } = await collections();
  const rows = await lessons.find().toArray();
  const ordered = rows.slice().sort((left, right) => left.scheduledDate - right.scheduledDate);
  return [COLUMNS.join(';'), ...ordered.map(line)].join('\n');
};

exports.upcoming = async () => {
  const { lessons } = await collections();
  const stream = lessons.find({ 'status': 'confirmed' }).skip(0).limit(20);
  const result = [];
  while (await stream.hasNext()) {
    const item = await stream.next();
    result.push({ label: item.sessionType, at: item.scheduledDate });
  }
  return result.map((r) => r.label);
};

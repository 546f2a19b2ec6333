import type { Session } from '../../lib/types';

type RowProps = Session & { onCancel: () => void };

export function Row({ sessionType, scheduledDate, price, onCancel }: RowProps) {
  return (
    <div>
      <span title={scheduledDate}>{sessionType}</span> {price}
      <button onClick={onCancel}>×</button>
    </div>
  );
}

import React from 'react';

export const Modal = React.memo(function Modal(props: any) {
  const { item, onClose } = props;
  const tone = { pending: 'gray', confirmed: 'green' }[item.status];
  return (
    <dialog className={tone} onClose={onClose}>
      {props.item.notes ?? 'no notes'}
      <button onClick={props.onRemove}>Delete</button>
    </dialog>
  );
});

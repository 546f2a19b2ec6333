import React from 'react';
import { connect } from 'react-redux';
import { usePaid } from './slice';

export class List extends React.Component {
  state = { open: null, status: 'ready' };

  async componentDidMount() {
    const response = await fetch('/api/bookings');
    const { data } = await response.json();
    this.setState({ rows: data });
  }

  render() {
    const { rows = [], status } = this.state;
    return (
      <table data-status={status}>
        {rows.map((row) => (
          <tr key={row._id}>
            <td>{row.startTime}</td>
          </tr>
        ))}
      </table>
    );
  }
}

export const Paid = () => {
  const visits = usePaid();
  const first = visits[0];
  return <p title={first?.scheduledDate}>{visits.map((v) => v.startTime).join(', ')}</p>;
};

export default connect((state) => ({ status: state.tickets.status }))(List);

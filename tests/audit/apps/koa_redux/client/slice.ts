import { createAsyncThunk, createSlice, PayloadAction } from '@reduxjs/toolkit';
import { useSelector } from 'react-redux';
import axios from 'axios';

export interface Visit {
  _id: string;
  clientId: string;
  expertId: string;
  sessionType: string;
  scheduledDate: string;
  startTime: string;
  status: string;
  price: number;
}

interface VisitsState {
  list: Visit[];
  status: 'idle' | 'loading';
  byId: Record<string, Visit>;
}

const initialState: VisitsState = { list: [], status: 'idle', byId: {} };

export const load = createAsyncThunk('visits/load', async () => {
  const { data } = await axios.get<{ data: Visit[] }>('/api/bookings');
  return data.data;
});

const slice = createSlice({
  name: 'visits',
  initialState,
  reducers: {
    cancelled(state, action: PayloadAction<string>) {
      state.list = state.list.map((v) => (v._id === action.payload ? { ...v, status: 'cancelled' } : v));
      state.status = 'idle';
    },
  },
  extraReducers: (builder) => {
    builder.addCase(load.fulfilled, (state, { payload }) => {
      state.list = payload;
      payload.forEach((v) => {
        state.byId[v._id] = v;
      });
    });
  },
});

export const selectPaid = (state: { visits: VisitsState }) => state.visits.list.filter((v) => v.price > 0);
export const usePaid = () => useSelector(selectPaid);
export default slice.reducer;

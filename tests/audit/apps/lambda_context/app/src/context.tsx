import React, { createContext, useCallback, useContext, useEffect, useReducer } from 'react';

const Bookings = createContext(null);

function reducer(state, action) {
  switch (action.type) {
    case 'loaded':
      return { ...state, status: 'ready', entries: action.entries };
    case 'removed':
      return { ...state, entries: state.entries.filter((e) => e._id !== action.id) };
    default:
      return state;
  }
}

export function Provider({ children }) {
  const [state, dispatch] = useReducer(reducer, { status: 'idle', entries: [] });
  const refresh = useCallback(async () => {
    const response = await fetch('/api/bookings');
    if (!response.ok) return;
    const json = await response.json();
    dispatch({ type: 'loaded', entries: json.items });
  }, []);
  useEffect(() => {
    refresh();
  }, [refresh]);
  const remove = async (id) => {
    await fetch(`/api/bookings/${id}`, { method: 'DELETE' });
    dispatch({ type: 'removed', id });
  };
  return <Bookings.Provider value={{ ...state, refresh, remove }}>{children}</Bookings.Provider>;
}

export const useBookings = () => useContext(Bookings);

"""The fast path: flat bookings of known layouts, column by column on bytes; equal to `domain` by property tests."""

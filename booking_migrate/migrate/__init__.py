"""Migrate side by side: read in client order, convert, group by client, merge with the target, write."""

"""Find application code that still expects the old structure."""

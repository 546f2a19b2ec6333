"""Make a proven target the live collection: fence, catch up, copy, prove, swap."""

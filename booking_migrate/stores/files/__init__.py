"""Files and standard streams as places: JSON lines, JSON arrays and BSON dumps, each also gzipped."""

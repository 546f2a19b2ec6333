"""What stands in the way of each command, found in seconds and without writing; see README.md here."""

"""What prevents each command, found in seconds and without writing; see README.md here."""

"""A look at a database, and the config file that follows from it."""

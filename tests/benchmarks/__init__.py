"""Figures, not tests: ``python -m tests.benchmarks`` measures the program and prints a table (see ``--help``)."""

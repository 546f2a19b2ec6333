"""What ``--help`` says beyond the options. A paragraph that begins with a backspace keeps its lines, for typer."""

from booking_migrate.errors import EXIT_CODE_MEANINGS


def filled(text: str) -> str:
    """A help text whose paragraphs are one line each, for typer to wrap; those that begin with a backspace stay."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(part if part.startswith("\b") else " ".join(part.split()) for part in paragraphs)


PROGRAM = filled("""
Migrate a MongoDB database from one document per booking to one document per client.

\b
[bold]Examples[/bold]
  booking-migrate migrate --source bookings.jsonl --target clients.jsonl
  MONGODB_URI=mongodb://localhost booking-migrate migrate --db shop
  booking-migrate migrate --help
""")

_ROWS = [f"[bold]{code.value:>3}[/bold]  {meaning}" for code, meaning in EXIT_CODE_MEANINGS.items()]
EXIT_STATUS = "\n".join(["\b", "[bold]Exit status[/bold]", *_ROWS])
"""The table of exit codes, under each command's options."""

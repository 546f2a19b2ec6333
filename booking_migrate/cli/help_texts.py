"""What ``--help`` says beyond the options. A paragraph that begins with a backspace keeps its lines, for typer."""

from booking_migrate.errors import ExitCode
from booking_migrate.reports.text import continued

_COMMAND, _CONTINUED = " " * 4, " " * 6
"""How an example and its continuation are set in."""

_WIDTH = 72
"""How many columns a command may have so that help fits 80."""


def filled(text: str) -> str:
    """Return a help text whose paragraphs are one line each, for typer to wrap; those that begin with a backspace stay."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(
        _with_whole_commands(part) if part.startswith("\b") else " ".join(part.split()) for part in paragraphs
    )


def _with_whole_commands(paragraph: str) -> str:
    """Break its commands as a shell does it, before a terminal of the usual width breaks them in its own way."""
    lines = paragraph.replace(f" \\\n{_CONTINUED}", " ").split("\n")
    return "\n".join(
        _COMMAND + f"\n{_CONTINUED}".join(continued(line.strip(), _WIDTH))
        if line.startswith(_COMMAND)
        else line
        for line in lines
    )


PROGRAM = filled("""
Migrate a MongoDB database from one document per booking to one document per client.

\b
[bold]Examples[/bold]
  booking-migrate migrate --source bookings.jsonl --target clients.jsonl
  MONGODB_URI=mongodb://localhost booking-migrate migrate --db shop
  booking-migrate migrate --help
""")

_ROWS = [f"[bold]{code.value:>3}[/bold]  {code.meaning}" for code in ExitCode]
EXIT_STATUS = "\n".join(["\b", "[bold]Exit status[/bold]", *_ROWS])
"""The table of exit codes, under each command's options."""

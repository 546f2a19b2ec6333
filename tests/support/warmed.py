"""What a program does at its first command and never again, done once for all that are forked from the process that imports this.

Commands, the types of their options and the parts of a report are built when they are needed first: half of what a short command takes.
"""

from typer.testing import CliRunner

from booking_migrate.cli.app import app

_COMMANDS = ("migrate", "verify", "status", "dry-run", "cutover", "rollback", "finalize")

for _name in _COMMANDS:
    # Refused before anything is opened: what is forked inherits no connection, and no other thread runs.
    CliRunner().invoke(app, [_name, "--uri", "nowhere", "--db", "none"])

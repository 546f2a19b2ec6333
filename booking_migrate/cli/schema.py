"""The command ``schema``: the JSON Schema of all reports."""

import json

import typer

from booking_migrate.reports.schema import report_schema

HELP = """
Every report of --json and of --report FILE.json is valid under it, also that of a command that failed. Fields are only ever
added to reports; schema_version counts changes of meaning.

\b
[bold]Examples[/bold]
    booking-migrate schema > report.schema.json
"""


def schema() -> None:
    """Print the schema."""
    typer.echo(json.dumps(report_schema(), indent=2))

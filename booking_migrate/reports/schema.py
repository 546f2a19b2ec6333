"""The JSON Schema of all reports, derived from their models.

A report of a kind that a command has of its own is checked against that kind; a command that failed makes the common report.
Fields are only ever added, so the schema lets fields pass that it does not know: a report of a later version fits it, too.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from booking_migrate.reports.audit import AuditReport
from booking_migrate.reports.booking_map import BookingMapReport, KeptIndexReport
from booking_migrate.reports.control import ControlReport
from booking_migrate.reports.init import InitReport
from booking_migrate.reports.lifecycle import IndexesReport, LifeReport
from booking_migrate.reports.model import Report
from booking_migrate.reports.model_dry_run import DryRunReport
from booking_migrate.reports.preflight import PreflightReport
from booking_migrate.reports.references import FindReport
from booking_migrate.reports.rewriting import RewriteReport
from booking_migrate.reports.verified_references import VerifiedReferencesReport

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KINDS: Mapping[str, type[Report]] = {
    "audit-code": AuditReport,
    "dry-run": DryRunReport,
    "init": InitReport,
    "control": ControlReport,
    "preflight": PreflightReport,
    **dict.fromkeys(("status", "cutover", "rollback", "finalize", "view"), LifeReport),
    "service-indexes": IndexesReport,
    "references find": FindReport,
    "references map": BookingMapReport,
    "references keep": KeptIndexReport,
    "references rewrite": RewriteReport,
    "references verify": VerifiedReferencesReport,
}
"""The kind of report that a command makes if it does not fail; those that are not here make the common one."""


def report_schema() -> dict[str, Any]:
    """Return the schema of every report that any command prints with ``--json``."""
    kinds: list[type[BaseModel]] = list(dict.fromkeys((Report, *KINDS.values())))
    references, generated = models_json_schema([(kind, "serialization") for kind in kinds])
    definitions = {name: _open(part) for name, part in generated["$defs"].items()}
    version = Report.model_fields["schema_version"].default
    for kind in kinds:
        del definitions[kind.__name__]["properties"]["tool_version"]["default"]
    schema: dict[str, Any] = references[Report, "serialization"]
    for kind in reversed(kinds[1:]):
        commands = [command for command, made in KINDS.items() if made is kind]
        # A command that failed does not have what its own kind requires.
        done = {"command": {"enum": commands}, "error": {"type": "null"}}
        condition = {"properties": done, "required": list(done)}
        schema = {"if": condition, "then": references[kind, "serialization"], "else": schema}
    return {
        "$schema": DIALECT,
        "title": f"Reports of booking-migrate, schema version {version}",
        **schema,
        "$defs": definitions,
    }


def _open(part: Any) -> Any:
    """Return a part of a schema that lets fields pass that it does not know."""
    if isinstance(part, dict):
        return {
            key: _open(value)
            for key, value in part.items()
            if not (key == "additionalProperties" and value is False)
        }
    return [_open(each) for each in part] if isinstance(part, list) else part

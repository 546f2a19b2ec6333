"""Annotations for GitHub Actions: rejected bookings and mismatches beside the lines of the fixture file that they are in."""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from booking_migrate.reports.model import Report
from booking_migrate.stores.places import SUFFIXES, FileFormat, FilePlace, parse_place, uses_files_only

if TYPE_CHECKING:
    from booking_migrate.reports.audit import AuditReport

_MOST = 50
"""How many annotations are made; GitHub shows ten of each kind a step."""


class _Annotation(NamedTuple):
    kind: str
    """``error`` or ``warning``."""

    booking_id: str
    title: str
    message: str


def annotations(report: Report, environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Yield the workflow commands for a report (docs.github.com: workflow commands); none outside of GitHub Actions."""
    if environment.get("GITHUB_ACTIONS") != "true" or not uses_files_only(report.source):
        return
    place = parse_place(report.source)
    if not isinstance(place, FilePlace):
        return
    found = list(_found(report))[:_MOST]
    lines = _lines_of(Path(place.path), {each.booking_id for each in found})
    for each in found:
        number = lines.get(each.booking_id)
        where = f"file={_property(report.source)}" + (f",line={number}" if number else "")
        yield f"::{each.kind} {where},title={_property(each.title)}::{_data(each.message)}"


def code_annotations(report: "AuditReport") -> Iterator[str]:
    """Yield the workflow commands for the places that an audit found, the surest first."""
    kinds = {"certain": "error", "likely": "warning", "look": "notice"}
    ordered = sorted(report.places, key=lambda place: list(kinds).index(place.confidence))
    for place in ordered[:_MOST]:
        where = f"file={_property(place.path)},line={place.line},col={place.column}"
        title = _property(f"old structure: {place.rule}")
        message = _data(f"{place.old} is {place.new} now: {place.suggestion}")
        yield f"::{kinds[place.confidence]} {where},title={title}::{message}"


def _found(report: Report) -> Iterator[_Annotation]:
    """Yield what deserves an annotation; mismatches come first."""
    for each in report.mismatches:
        booking_id = each.booking_id or ""
        field = f", {each.field}" if each.field else ""
        yield _Annotation(
            "error", booking_id, f"mismatch: {each.kind}", f"booking {booking_id or 'unknown'}{field}"
        )
    if report.command == "verify":
        return
    for rejection in report.rejections:
        for booking_id in rejection.sample_ids:
            message = f"booking {booking_id} is rejected: {rejection.reason}"
            yield _Annotation("warning", booking_id, f"rejected: {rejection.reason}", message)


def _lines_of(path: Path, wanted: Collection[str]) -> Mapping[str, int]:
    """Return the numbers of the lines that hold these bookings, as far as the file has one a line."""
    if SUFFIXES.get(path.suffix) is not FileFormat.JSON_LINES or not wanted:
        return {}
    numbers: dict[str, int] = {}
    # The command is done: a file that cannot be read again costs only the numbers.
    with suppress(OSError, UnicodeDecodeError), path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            booking_id = _id_in(line)
            if booking_id in wanted:
                numbers.setdefault(booking_id, number)
    return numbers


def _id_in(line: str) -> str:
    """Return the `_id` of a line as reports show it; empty if it has none."""
    try:
        document: Any = json.loads(line)
    except ValueError:
        return ""
    value = document.get("_id") if isinstance(document, dict) else None
    while isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    return "" if value is None else str(value)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

"""A map as a file, or on standard output: JSON lines of canonical Extended JSON, or CSV with a header."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any
from uuid import UUID

from bson.binary import Binary
from bson.int64 import Int64
from bson.objectid import ObjectId
from typing_extensions import override

from booking_migrate.bson.document import Opaque, write_fields
from booking_migrate.bson.format import display_id
from booking_migrate.errors import MapExists, TargetHoldsOther, WriteFailed
from booking_migrate.stores.booking_map import NAMES, BookingMap, MapEntry
from booking_migrate.stores.files.atomic import Output
from booking_migrate.stores.files.extended_json import survives_extended_json, to_json
from booking_migrate.stores.files.fast_json import Declined, write_line


class MapFormat(StrEnum):
    """How a file has the entries of a map."""

    JSON_LINES = "jsonl"
    """One document of canonical Extended JSON a line."""

    CSV = "csv"
    """A header, and one line of texts for each entry."""


class MapFile(BookingMap):
    """A file; see `BookingMap` for the promises."""

    def __init__(self, name: str, map_format: MapFormat, open_output: Callable[[], Output]) -> None:
        """Take the parts; nothing is opened before `prepare`."""
        self.name = name
        self.repeated = 0
        self._format = map_format
        self._open_output = open_output
        self._output: Output | None = None

    @override
    def prepare(self) -> None:
        self._output = self._open_output()
        if self._format is MapFormat.CSV:
            self._put(_csv_lines([NAMES]))

    @override
    def write(self, entries: Sequence[MapEntry]) -> None:
        match self._format:
            case MapFormat.CSV:
                self._put(self._csv(entries))
            case MapFormat.JSON_LINES:
                self._put(self._json(entries))

    @override
    def finish(self) -> bool:
        output = self._prepared()
        with self._refusals():
            output.seal()
            return output.publish()

    @override
    def abandon(self) -> None:
        if self._output is not None:
            self._output.abandon()

    def _put(self, text: bytes) -> None:
        with self._refusals():
            self._prepared().write(text)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Name the option of this command by which an existing file may be replaced."""
        try:
            yield
        except TargetHoldsOther:
            raise MapExists(self.name) from None

    def _prepared(self) -> Output:
        if self._output is None:
            raise RuntimeError("prepare comes before everything else")
        return self._output

    def _json(self, entries: Sequence[MapEntry]) -> bytes:
        return b"".join([b"%b\n" % self._json_line(entry) for entry in entries])

    def _json_line(self, entry: MapEntry) -> bytes:
        fields = dict(zip(NAMES, entry, strict=True))
        try:
            return write_line(fields)
        except Declined:
            raw = write_fields(fields)
        if not survives_extended_json(raw):
            raise self._unwritable(entry, "Extended JSON")
        return to_json(raw).encode()

    def _csv(self, entries: Sequence[MapEntry]) -> bytes:
        rows = []
        for entry in entries:
            texts = [csv_text(value) for value in entry]
            if None in texts:
                raise self._unwritable(entry, "CSV")
            rows.append(texts)
        return _csv_lines(rows)

    def _unwritable(self, entry: MapEntry, what: str) -> WriteFailed:
        problem = f"{what} cannot hold the ids of the booking {display_id(entry.legacy_id)}; a collection can"
        return WriteFailed(self.name, problem)


def csv_text(value: Any) -> str | None:
    """Return an id as CSV has it: an ObjectId as 24 hex digits, a UUID in its usual form, a text as it is, others as Extended JSON.

    None: it is a text that is not valid UTF-8, or a value that Extended JSON cannot hold.
    """
    if value is None:
        return ""
    if isinstance(value, Opaque):
        return None
    if isinstance(value, Binary) and value.subtype in _UUIDS and len(value) == _UUID_LENGTH:
        return str(UUID(bytes=bytes(value)))
    if type(value) in _PLAIN:
        return str(value)
    raw = write_fields({"": value})
    return to_json(raw)[len('{"":') : -1] if survives_extended_json(raw) else None


_PLAIN = frozenset({ObjectId, str, int, Int64})
_UUIDS, _UUID_LENGTH = (3, 4), 16


def _csv_lines(rows: Sequence[Sequence[str | None]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()

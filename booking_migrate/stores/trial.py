"""Every client document of a dry-run against the validator and the unique indexes of the collection it would go to.

A sample shows what a condition does to all documents, but not what it does to few. Keys are kept on disk, so that memory does
not grow with the documents.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import Any

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.errors import Refused, UnfitPlace
from booking_migrate.stores.destination import (
    Destination,
    PlaceFinding,
    Verdict,
    enforced_validator,
    equal_values_finding,
    lone_unique_field,
    validator_finding,
)
from booking_migrate.stores.ports import Replacement
from booking_migrate.stores.spool import disk_failures, open_scratch


class Trial:
    """What the server would refuse of the documents of a run."""

    def __init__(self, place: Destination) -> None:
        """Take the collection; its indexes and options are looked at now, and nothing is written.

        Raises:
            ConnectionProblem, NotPermitted: the server does not say.
        """
        facts = place.facts()
        self._place = place
        self._validator = None if facts is None else enforced_validator(facts.options)
        self._verdict: Verdict | None = Verdict()
        indexes = () if facts is None else facts.indexes
        fields = ((index, lone_unique_field(index)) for index in indexes)
        self._keys = [_Keys(place, index, name) for index, name in fields if name is not None]

    def write(self, new: Sequence[bytes], changed: Sequence[Replacement]) -> None:
        """Try out documents that would be written together."""
        documents = [*new, *(change.after for change in changed)]
        if not documents:
            return
        if self._validator is not None and self._verdict is not None:
            matching = self._place.matching(self._validator, documents)
            self._verdict = None if matching is None else self._verdict.after(documents, matching)
        for keys in self._keys:
            keys.write(documents)

    def refusals(self) -> Iterator[Refused]:
        """Yield what a migration would be refused for."""
        findings = [finding for keys in self._keys if (finding := keys.finding()) is not None]
        if self._validator is not None and self._verdict is not None and self._verdict.refused:
            findings.append(validator_finding(self._place.name, self._validator, self._verdict))
        if findings:
            yield UnfitPlace(
                self._place.name,
                tuple(finding.text for finding in findings),
                tuple(dict.fromkeys(finding.remedy for finding in findings)),
            )

    def close(self) -> None:
        """Delete what is on disk."""
        for keys in self._keys:
            keys.close()


@dataclass(slots=True)
class _Keys:
    """The values of one field that is unique, of all documents so far."""

    place: Destination
    index: Mapping[str, Any]
    name: str
    doubled: int = 0
    sample: str = ""
    _database: Connection = field(init=False)

    def __post_init__(self) -> None:
        self._database = open_scratch("CREATE TABLE key (value BLOB PRIMARY KEY) WITHOUT ROWID")

    def write(self, documents: Sequence[bytes]) -> None:
        name = self.name.encode()
        is_sparse = bool(self.index.get("sparse"))
        values = {sort_key(value_in(raw, b"_id")): value_in(raw, name) for raw in documents}
        there = {
            sort_key(value_in(raw, name))
            for raw in self.place.holding(self.name, list(values.values()))
            if sort_key(value_in(raw, b"_id")) not in values
        }
        for value in values.values():
            if value is None and is_sparse:
                continue
            key = sort_key(value)
            with disk_failures():
                inserted = self._database.execute("INSERT OR IGNORE INTO key VALUES (?)", (key,)).rowcount
            if not inserted or key in there:
                self.doubled += 1
                self.sample = self.sample or display_id(value)

    def finding(self) -> PlaceFinding | None:
        """Return what is to be said about the index; None if no value came twice."""
        if not self.doubled:
            return None
        return equal_values_finding(self.place.name, self.index, self.doubled, f"{self.name} {self.sample}")

    def close(self) -> None:
        self._database.close()

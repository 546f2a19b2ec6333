"""The ports of a cut-over and of its way back: the live collection, its successor, and the copy that is kept.

The docstrings are promises.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bson import json_util


@dataclass(frozen=True, slots=True)
class IndexNote:
    """How a cut-over handled one index of the old collection."""

    name: str
    keys: str
    """Its fields and directions, for people: ``expertId 1, status 1``."""

    recreated_as: str | None
    """The fields and directions it has now; None if it was left out."""

    reason: str | None = None
    """Why it was left out."""


@dataclass(frozen=True, slots=True)
class OptionNote:
    """What a cut-over makes of one option of the old collection, or of one that only the new collection has."""

    name: str
    definition: str
    """As Extended JSON."""

    reason: str | None = None
    """Why it is not kept; None if it is."""

    @property
    def is_kept(self) -> bool:
        """Return whether the new live collection has it as the old one had it."""
        return self.reason is None


IMAGES = "changeStreamPreAndPostImages"
_COLLATION = "collation"
_VALIDATION = frozenset({"validator", "validationLevel", "validationAction"})
_CREATION = "only a new collection can be given it: create the target with it, and migrate again"
_REASONS = {
    "capped": "a capped collection cannot be replaced by a cut-over",
    "encryptedFields": "a collection of Queryable Encryption cannot be replaced by a cut-over",
    "validator": "it was written for single bookings; write one for client documents",
    _COLLATION: "only a new collection can be given it: roll back, drop the target, and migrate again",
}


def options_after(source: Mapping[str, Any], target: Mapping[str, Any] | None) -> tuple[OptionNote, ...]:
    """Return which options of a source are kept when a target takes its place (manual, reference/command/collMod).

    Images for change streams can be set on any collection, and are. Everything else the target has already, or never gets.

    Args:
        source: the old collection's options, as the server lists them.
        target: the new one's; None if it is not there yet: then it is created with the source's default collation.
    """
    expected = {_COLLATION: source.get(_COLLATION)} if target is None else target
    notes = []
    for name, value in source.items():
        if name in _VALIDATION - {"validator"} or value in ({}, {"enabled": False}):
            continue
        is_same = comparable(name, value) == comparable(name, expected.get(name))
        reason = None if is_same or name == IMAGES else _REASONS.get(name, _CREATION)
        notes.append(OptionNote(name, _shown(value), reason))
    if expected.get(_COLLATION) and not source.get(_COLLATION):
        reason = "the new collection has it and the old one has not: queries compare text in another way"
        notes.append(OptionNote(_COLLATION, _shown(expected[_COLLATION]), reason))
    return tuple(notes)


def comparable(name: str, value: Any) -> Any:
    """Return an option's value without the version of the library behind it."""
    if name == _COLLATION and isinstance(value, Mapping):
        return {key: each for key, each in value.items() if key != "version"}
    return value


def _shown(value: Any) -> str:
    return json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS)


class LiveCollections(Protocol):
    """The source, which is live, and the target, which is to take its name; both in one database.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it (any method).
    """

    def unfit(self) -> str | None:
        """Return why the source cannot be replaced by a rename: it is a view, capped, a time series, or bears a fence already.

        None if it can.

        Raises:
            UnfitPlace: an index or option of the target conflicts with client documents.
            WritesNotBlockable: all users' writes were to be refused, and that cannot be done.
        """

    def settings(self) -> str:
        """Return the source's identity, options and indexes as Extended JSON."""

    def raise_fence(self) -> None:
        """Make the source refuse inserts and updates; when it returns, all that were taken are durable.

        It is a validator that no document meets. Deletes are not refused by validators (manual,
        core/schema-validation), but by the server's own block of all writes, where that was asked for.
        """

    def lift_fence(self, settings: str) -> None:
        """Restore the source's own validator, if it has the fence's, and end a block of all writes. May be repeated.

        After the swap the fence's validator no longer exists, but the block may.
        """

    def refuses_writes(self, settings: str) -> bool:
        """Return whether the source refuses writes at this moment because of `raise_fence`.

        Args:
            settings: what `settings` returned before. Where the user may not read whether all writes are blocked, a block
                that the settings speak of counts as standing.
        """

    def copy(self, legacy: str) -> None:
        """Copy the source, on the server, to a collection that is replaced if it is there."""

    def is_same(self, legacy: str) -> bool:
        """Return whether the copy holds exactly the source's documents: as many, and of one hash."""

    def count(self) -> int:
        """Return how many documents the source has; takes no time."""

    def has_same_count(self, legacy: str) -> bool:
        """Return whether both have as many documents; takes no time."""

    def drop(self, legacy: str) -> None:
        """Drop the copy, if it is there."""

    def carry(self, bookings: Iterable[bytes]) -> int:
        """Insert old bookings beside the client documents of the target; return how many.

        The unique index on `clientId` then counts for client documents only, and another one serves queries for all.
        """

    def take_back_carried(self, bookings: Iterable[bytes]) -> None:
        """Undo `carry` of these bookings, however far it came; documents that others put there stay."""

    def swap(self) -> None:
        """Replace the source by the target in one atomic rename.

        Before that it gets the source's images for change streams, and that is read again.
        """

    def is_swapped(self, settings: str) -> bool:
        """Return whether `swap` has happened: what has the source's name is not the collection of these settings any more."""

    def options(self, settings: str) -> Sequence[OptionNote]:
        """Return which of the old collection's options are kept, according to the options that the server lists for the live one."""

    def recreate_indexes(self, settings: str) -> Sequence[IndexNote]:
        """Create on the live collection those of the old one's indexes that are useful for client documents."""


class RestoredCollection(Protocol):
    """The collection in which the old bookings come together again, until it takes the live one's name.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it (any method).
    """

    @property
    def name(self) -> str:
        """Return the collection's name."""

    def begin(self, settings: str) -> None:
        """Create it again, empty, with the options of the old collection (see `LiveCollections.settings`).

        Its validator has to wait until everything is in: documents of the new shape may stand beside the old bookings.
        """

    def insert(self, documents: Sequence[bytes]) -> None:
        """Insert documents durably. One that exists already with the same bytes is accepted: an earlier reply may have been lost."""

    def complete(self, settings: str) -> Sequence[IndexNote]:
        """Create the old collection's indexes and validator. An index that the data does not allow is left out and named."""

    def count(self) -> int:
        """Return the number of documents it holds."""

    def is_same(self, other: str) -> bool:
        """Return whether another collection holds exactly its documents, by the server's hash of them."""

    def swap(self) -> None:
        """Take the live collection's place and name in one atomic rename. The live collection is gone then."""

    def drop(self) -> None:
        """Drop it, if it is there."""

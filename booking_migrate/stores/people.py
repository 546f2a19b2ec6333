"""Where users and experts are looked up: it must hold each of them once, and it says so if it does not exist."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from typing_extensions import override

from booking_migrate.bson.document import read_fields
from booking_migrate.bson.format import display_id
from booking_migrate.errors import AmbiguousPeople
from booking_migrate.events import Listener, Warned
from booking_migrate.stores.blocks import Chunk
from booking_migrate.stores.ports import DocumentReader, ScannedDocument

_SHOWN = 5
_CONSEQUENCE = "bookings that lack client or expert fields are rejected"


class Kind(Enum):
    """What is looked up; the value is the option that names the place."""

    USERS = "--users"
    EXPERTS = "--experts"

    @property
    def noun(self) -> str:
        """Return what to call them."""
        return self.value.removeprefix("--")


@dataclass(frozen=True, slots=True)
class Absence:
    """Why people cannot be looked up."""

    kind: Kind
    collection: str | None
    """The collection that does not exist, with its database; None: no place was given at all."""

    @property
    def problem(self) -> str:
        """Return what is missing, in one sentence without a full stop."""
        if self.collection is None:
            return f"no {self.kind.noun} were given: {self.kind.value}"
        return f"no {self.kind.noun} were given: {self.collection} does not exist, and {self.kind.value} names no other"

    @property
    def advice(self) -> str:
        """Return what to do about it, in one sentence."""
        return (
            f"Run the same command again with {self.kind.value} FILE or {self.kind.value} COLLECTION, so that "
            "the bookings that lack client and expert fields can be completed."
        )


class HoldsPeople(DocumentReader, Protocol):
    """A place in which users or experts are looked up."""

    def conflicting(self) -> Iterator[bytes]:
        """Yield one document of each `_id` that several documents with other bytes have, in no particular order.

        Raises:
            PlaceNotFound, UnusablePlace, BrokenDocument, ConnectionProblem, NotPermitted: it cannot be read.
        """

    def missing(self) -> str | None:
        """Return what to call the collection that is read and does not exist; None if it exists, or is a file."""


class PeopleReader(DocumentReader):
    """Looks users or experts up; see `DocumentReader` for the promises."""

    def __init__(self, place: HoldsPeople | None, kind: Kind, listener: Listener) -> None:
        """Take the parts; nothing is read yet.

        Args:
            place: where to look; None: no place was given.
            kind: what is looked up.
            listener: notified, once, that people are needed and their place does not exist.
        """
        self._place = place
        self._kind = kind
        self._listener = listener
        self._is_checked = False
        self._is_asked = False
        self.absence: Absence | None = None
        """Why people could not be looked up; None before the first look-up, or if the place exists."""

    @property
    def name(self) -> str:
        """Return the place's name."""
        return self._kind.noun if self._place is None else self._place.name

    @override
    def check(self) -> None:
        """Check that the place can be read, and that its `_id` values are unambiguous.

        Raises:
            AmbiguousPeople: several documents with other content have one `_id`.
        """
        if self._place is None or self._is_checked:
            return
        self._place.check()
        shown: list[str] = []
        count = 0
        for raw in self._place.conflicting():
            count += 1
            if len(shown) < _SHOWN:
                shown.append(display_id(read_fields(raw)["_id"]))
        if count:
            raise AmbiguousPeople(self.name, self._kind.noun, tuple(shown), count)
        self._is_checked = True

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        if not ids:
            return
        self.check()
        if not self._is_asked:
            self._is_asked = True
            self._say_if_absent()
        if self._place is not None:
            yield from self._place.find(ids)

    def _say_if_absent(self) -> None:
        collection = None if self._place is None else self._place.missing()
        if self._place is None or collection is not None:
            self.absence = Absence(self._kind, collection)
            self._listener.notify(Warned(f"{self.absence.problem}; {_CONSEQUENCE}"))

    @override
    def estimate_count(self) -> int | None:
        return 0 if self._place is None else self._place.estimate_count()

    @override
    def scan_by_client(self) -> Iterator[ScannedDocument]:
        return iter(()) if self._place is None else self._place.scan_by_client()

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        return iter(()) if self._place is None else self._place.scan_chunks(documents, apart=apart)

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        return iter(()) if self._place is None else self._place.scan_client_documents()

    @override
    def close(self) -> None:
        if self._place is not None:
            self._place.close()

"""Readers in front of other readers: where people are looked up, a sample of whole clients, a place that does not exist.

Where people are looked up must hold each of them once. A sample has whole clients, chosen by a hash of their ids: each client has
the same chance, whatever its type and however many bookings it has, and the same clients are chosen every time. A collection's
server chooses and sends nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol
from zlib import crc32

from typing_extensions import override

from booking_migrate.bson.document import read_fields
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.errors import AmbiguousPeople
from booking_migrate.events import Listener, Warned
from booking_migrate.stores.chunks import Chunk, pack, whole_clients
from booking_migrate.stores.ports import ComparedReader, DocumentReader, ScannedDocument

_SHOWN = 5
_CONSEQUENCE = "bookings that lack client or expert fields are rejected"

_RANGE = 1 << 32
"""One more than the greatest CRC-32."""

_WIDER = 4
"""By how much the share of clients grows if none of them is in the sample."""


class _FrontReader(DocumentReader):
    """Passes everything on to another reader."""

    def __init__(self, whole: DocumentReader) -> None:
        self._whole = whole
        self.name = self._whole.name

    @override
    def check(self) -> None:
        self._whole.check()

    @override
    def estimate_count(self) -> int | None:
        return self._whole.estimate_count()

    @override
    def scan_by_client(self) -> Iterator[ScannedDocument]:
        return self._whole.scan_by_client()

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        return self._whole.scan_chunks(documents, apart=apart)

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        return self._whole.scan_client_documents()

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        return self._whole.find(ids)

    @override
    def close(self) -> None:
        self._whole.close()


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


class AbsentReader(ComparedReader, HoldsPeople):
    """A place that does not exist and need not: it has no documents."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_live = False

    def check(self) -> None:
        """Do nothing: an absent place is accepted."""

    @override
    def estimate_count(self) -> int | None:
        return 0

    @override
    def scan_by_client(self) -> Iterator[ScannedDocument]:
        return iter(())

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        return iter(())

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        return iter(())

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        return iter(())

    @override
    def conflicting(self) -> Iterator[bytes]:
        return iter(())

    def missing(self) -> None:
        """Return None: no collection was named that could be missing."""

    def partition(self) -> None:
        """Return None: an absent place has no ranges of clients."""

    @override
    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        """Do nothing: no resource is open."""


class PeopleReader(_FrontReader):
    """Looks users or experts up; see `DocumentReader` for the promises."""

    def __init__(self, place: HoldsPeople | None, kind: Kind, listener: Listener) -> None:
        """Take the parts; nothing is read yet.

        Args:
            place: where to look; None: no place was given.
            kind: what is looked up.
            listener: notified, once, that people are needed and their place does not exist.
        """
        self._is_given = place is not None
        self._place = place or AbsentReader(kind.noun)
        super().__init__(self._place)
        self.kind = kind
        self._listener = listener
        self._is_checked = False
        self.is_needed = False
        """Whether people were looked up, by this process or by one that works for it."""
        self.absence: Absence | None = None
        """Why people could not be looked up; None before the first look-up, or if the place exists."""

    @override
    def check(self) -> None:
        """Check that the place can be read, and that its `_id` values are unambiguous.

        Raises:
            AmbiguousPeople: several documents with other content have one `_id`.
        """
        if self._is_checked:
            return
        self._place.check()
        shown: list[str] = []
        count = 0
        for raw in self._place.conflicting():
            count += 1
            if len(shown) < _SHOWN:
                shown.append(display_id(read_fields(raw)["_id"]))
        if count:
            raise AmbiguousPeople(self.name, self.kind.noun, tuple(shown), count)
        self._is_checked = True

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        if not ids:
            return
        self.check()
        self.need()
        yield from self._place.find(ids)

    def need(self) -> None:
        """Remember that people are looked up; if their place does not exist, say so the first time."""
        if self.is_needed:
            return
        self.is_needed = True
        collection = self._place.missing()
        if not self._is_given or collection is not None:
            self.absence = Absence(self.kind, collection)
            self._listener.notify(Warned(f"{self.absence.problem}; {_CONSEQUENCE}"))


class SampledReader(_FrontReader):
    """A `DocumentReader` whose scan by client yields about this number of documents; everything else is as in the whole."""

    def __init__(
        self, whole: DocumentReader, size: int, scan: Callable[[float], Iterator[ScannedDocument]]
    ) -> None:
        """Take the place, about how many documents to yield, and what yields those of a share of the clients, in client order."""
        super().__init__(whole)
        self._size = size
        self._scan = scan
        self.seen = 0
        """How many documents the last scan yielded."""

    def total(self) -> int:
        """Return how many documents the whole has."""
        return self._whole.estimate_count() or 0

    @override
    def estimate_count(self) -> int | None:
        return min(self._size, self.total())

    def scan_by_client(self) -> Iterator[ScannedDocument]:
        """Yield a part of what `DocumentReader.scan_by_client` promises: some clients, each whole; at least one if the place has any."""
        self.seen = 0
        share = min(1.0, self._size / max(self.total(), 1))
        while not self.seen:
            for document in self._scan(share):
                self.seen += 1
                yield document
            if share >= 1:
                return
            # Chance has chosen no client at all, which it does where few documents are asked for.
            share = min(1.0, share * _WIDER)

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        return whole_clients(pack(self.scan_by_client()), documents)


def scan_share(whole: DocumentReader, share: float) -> Iterator[ScannedDocument]:
    """Yield the documents of a share of a place's clients, chosen by a hash of their ids, in client order."""
    limit = share * _RANGE
    for document in whole.scan_by_client():
        if crc32(sort_key(read_fields(document.raw).get("clientId"))) < limit:
            yield document

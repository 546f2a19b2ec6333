"""The client documents that a target already holds, their provenance, and what replaces them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import read_booking
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.rejection import Fault
from booking_migrate.errors import TargetInOldShape
from booking_migrate.runs.provenance import TargetHistory
from booking_migrate.stores.ports import Replacement, TargetWriter


class StandingDocument(NamedTuple):
    """A client's document in the target; without one, `raw`, `found` and `baseline` stay None."""

    key: bytes
    """The sort key of `clientId`."""

    raw: bytes | None
    """The current document."""

    found: bytes | None
    """The document before the current run; None if it did not exist."""

    baseline: bytes | None
    """The document before any run of this tool; None if it did not exist."""

    is_created: bool = False
    """Whether a run of this tool created it."""

    @property
    def remainder(self) -> bytes | None:
        """Return what is left of it when its client has no bookings any more; None: nothing.

        A document that a run created and that others have emptied since holds nothing of theirs.
        """
        before = parsed(self.baseline)
        is_empty = before is not None and not before.sessions
        return None if self.is_created and is_empty else self.baseline


class Effects(NamedTuple):
    """How many client documents differ from those before the run."""

    written: int = 0
    changed: int = 0
    removed: int = 0

    def plus(self, other: "Effects") -> "Effects":
        """Return the sums of both."""
        return Effects(*(one + more for one, more in zip(self, other, strict=True)))


@dataclass(slots=True)
class Changes:
    """What is to be written for some clients, each part in client order."""

    new: list[bytes] = field(default_factory=list)
    changed: list[Replacement] = field(default_factory=list)
    removed: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    """The sort keys of all the clients."""

    effects: Effects = field(default_factory=Effects)
    """Against what stood there before the run, also if an interrupted run has written some of it already."""

    def add(
        self, key: bytes, there: StandingDocument, document: bytes | None, *, is_adopted: bool = False
    ) -> None:
        """Add one client.

        Args:
            key: the sort key of `clientId`.
            there: what stands in the target.
            document: what must stand there; None if the client gets no document.
            is_adopted: whether a document that others changed is kept by a decision. It is written unchanged, so that the
                journal has it as a document that the migration keeps.
        """
        self.keys.append(key)
        if document != there.found:
            self.effects = self.effects.plus(
                Effects(
                    written=there.found is None,
                    changed=document is not None and there.found is not None,
                    removed=document is None,
                )
            )
        if document == there.raw and not (is_adopted and there.baseline is there.raw):
            return
        if there.raw is None and document is not None:
            self.new.append(document)
        elif there.raw is not None and document is None:
            self.removed.append(there.raw)
        elif there.raw is not None and document is not None:
            self.changed.append(Replacement(there.raw, document))


def find_standing(
    target: TargetWriter, history: TargetHistory, client_ids: Sequence[Any]
) -> Iterator[StandingDocument]:
    """Find the documents of clients in the target.

    Raises:
        TargetInOldShape: one of the documents is not a client document.
    """
    documents = list(target.find_client_documents(client_ids))
    for raw, trace in zip(documents, history.trace(documents), strict=True):
        document = read_client_document(raw)
        if isinstance(document, Fault):
            raise TargetInOldShape(target.name, display_id(read_booking(raw).document_id))
        yield StandingDocument(
            sort_key(document.client_id), raw, trace.found, trace.baseline, trace.is_created
        )


def parsed(raw: bytes | None) -> ClientDocument | None:
    """Return a client document that was in the target; None if it was not, or is not a valid one."""
    document = None if raw is None else read_client_document(raw)
    return document if isinstance(document, ClientDocument) else None

"""Settling what a killed run has left in doubt: ranges that the server was at work on when nobody could note it down.

A document of such a range is the run's if it was not there before and says of itself what only a run can have written: it
is, byte for byte, what becomes of the bookings that it names. That proof needs these bookings as they were; if one was
edited or removed since, the document counts as somebody else's and stays, and a rollback names it among those kept.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any

from booking_migrate.domain.booking import read_booking
from booking_migrate.domain.client_document import ClientDocument, compose, read_client_document
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.conversion import Converter, Session
from booking_migrate.domain.people import People
from booking_migrate.domain.rejection import WAIVABLE
from booking_migrate.stores.base import DocumentReader
from booking_migrate.stores.journal import (
    UNKNOWN,
    DocumentNote,
    NoteKind,
    RangeNote,
    RunJournal,
    UndoableTarget,
    identity_of,
)

_AT_ONCE = 500
_NOBODY = People()


class DoubtfulRanges:
    """The ranges of one run that were begun and not ended."""

    def __init__(
        self, journal: RunJournal, target: UndoableTarget, bookings: DocumentReader | None, run_id: str
    ) -> None:
        """Take the parts.

        Args:
            journal: where the run is noted down.
            target: what it wrote to.
            bookings: its source; None if it was no collection, and then nothing is ever in doubt.
            run_id: the run.
        """
        self._journal = journal
        self._target = target
        self._bookings = bookings
        self._run_id = run_id
        # What a booking may be was checked when it was grouped, and is no question here.
        self._converter = Converter(Contract(), WAIVABLE)

    def settle(self, token: int) -> None:
        """Note down which documents of these ranges are the run's. Can be cut off anywhere, and taken again.

        Args:
            token: the fencing token of whoever holds the lock.
        """
        if self._bookings is None:
            return
        ended = Counter(_span(noted) for noted in self._journal.ranges(self._run_id, NoteKind.GROUPED))
        begun = [
            noted
            for noted in self._journal.ranges(self._run_id, NoteKind.GROUPING)
            if not _takes(ended, noted)
        ]
        if begun:
            self._target.stop_grouping(self._run_id)
        for noted in begun:
            self._settle(noted, token)

    def _settle(self, noted: RangeNote, token: int) -> None:
        there_before = {note.identity for note in noted.notes}
        found = self._target.find_clients(noted.first, noted.last)
        doubtful = (raw for raw in found if identity_of(raw) not in there_before)
        while some := list(islice(doubtful, _AT_ONCE)):
            notes = [DocumentNote(identity_of(raw), self._digest(raw), None) for raw in some]
            self._journal.note(
                self._run_id, token, RangeNote(NoteKind.DOCUMENTS, noted.first, noted.last, notes)
            )
        self._journal.note(self._run_id, token, RangeNote(NoteKind.GROUPED, noted.first, noted.last, ()))

    def _digest(self, raw: bytes) -> bytes:
        """The digest of a document if it is the run's; else one that no document has, so that it counts as changed."""
        return sha256(raw).digest() if self._is_ours(raw) else UNKNOWN

    def _is_ours(self, raw: bytes) -> bool:
        """Whether a document is what becomes of the bookings that it names."""
        document = read_client_document(raw)
        if not isinstance(document, ClientDocument):
            return False
        names = [session.fields.get("legacyBookingId") for session in document.sessions]
        sessions = [session for session in self._sessions(names) if isinstance(session, Session)]
        if len(sessions) != len(names) or not sessions:
            return False
        ordered = sorted(sessions, key=Session.order)
        return compose(None, ordered) == raw

    def _sessions(self, names: Sequence[Any]) -> Iterator[object]:
        for raw in self._found(names):
            yield self._converter.convert(read_booking(raw), _NOBODY)

    def _found(self, names: Sequence[Any]) -> Iterable[bytes]:
        if self._bookings is not None:
            for start in range(0, len(names), _AT_ONCE):
                yield from self._bookings.find(names[start : start + _AT_ONCE])


def _span(noted: RangeNote) -> tuple[bytes, bytes]:
    return noted.first, noted.last


def _takes(ended: "Counter[tuple[bytes, bytes]]", noted: RangeNote) -> bool:
    """Whether a range that was begun was ended, too; a run may have begun with the same one several times."""
    ended[_span(noted)] -= 1
    return ended[_span(noted)] >= 0

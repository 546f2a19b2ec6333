"""A command's cursor as raw BSON, without an object for each document: for changes and for snapshots, of which there may be many.

The driver has raw batches of plain queries and aggregations only.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Any, Self

from bson.int64 import Int64
from pymongo.errors import PyMongoError

from booking_migrate.bson.document import Element, elements, read_value
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.raw import RAW_OPTIONS

_LENGTH = struct.Struct("<i")
_FIRST_NAME, _BATCHES = 4, frozenset({b"firstBatch", b"nextBatch"})


class RawCursor:
    """A cursor of the server, batch by batch; any trouble ends it, and is the driver's."""

    def __init__(
        self,
        collection: DriverCollection,
        command: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Send the command; the first batch is there then.

        Args:
            collection: a collection of the database.
            command: a command that returns a cursor.
            options: what is asked of the server with each further batch.
        """
        self._database = collection.database
        self._options = options or {}
        self._id = 0
        self._name: Any = collection.name
        self._ahead: Future[Any] | None = None
        self.resume_token: bytes | None = None
        """The place behind the last batch, of a change stream; BSON."""

        # All parts of a cursor belong to one session. A causal one would refuse a snapshot's own time.
        self._session = collection.database.client.start_session(causal_consistency=False)
        try:
            # An empty first batch says nothing: that of a change stream is empty, whatever there is.
            self._batch: Sequence[bytes] | None = self._take(self._answer(command)) or None
        except BaseException:
            self._session.end_session()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Return whether the server has more batches."""
        return self._batch is not None or self._ahead is not None or self._id != 0

    def next(self, **options: Any) -> Sequence[bytes]:
        """Return the next batch, BSON; it may be empty while the cursor is open.

        Args:
            options: what is asked of the server with this batch, instead of the same with each.
        """
        batch, self._batch = self._batch, None
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            return self._take(ahead.result())
        return self._take(self._more(options)) if batch is None else batch

    def ask_ahead(self, **options: Any) -> None:
        """Ask for the batch that `next` returns, with options of its own; the server makes it meanwhile."""
        if self._batch is not None or self._ahead is not None:
            return
        ahead = self._ahead = Future[Any]()

        def ask() -> None:
            try:
                ahead.set_result(self._more(options))
            except BaseException as error:  # noqa: BLE001 - raised again by `next`
                ahead.set_exception(error)

        Thread(target=ask, name="cursor", daemon=True).start()

    def __iter__(self) -> Iterator[Sequence[bytes]]:
        """Yield the batches that are left."""
        while self.is_open:
            yield self.next()

    def _more(self, options: Mapping[str, Any]) -> Any:
        """Return the answer with the next batch. If that fails, the cursor has ended."""
        number, self._id = self._id, 0
        return self._answer({"getMore": Int64(number), "collection": self._name, **self._options, **options})

    def _answer(self, command: Mapping[str, Any]) -> Any:
        return self._database.command(dict(command), codec_options=RAW_OPTIONS, session=self._session)

    def _take(self, answer: Any) -> Sequence[bytes]:
        """Return the documents of an answer; from then on the cursor is behind them."""
        parts = {part.name: part for part in elements(bytes(answer["cursor"].raw))}
        self._id = read_value(parts[b"id"])
        self._name = read_value(parts[b"ns"]).partition(".")[2]
        token = parts.get(b"postBatchResumeToken")
        self.resume_token = None if token is None else token.value
        return _documents(next(part for name, part in parts.items() if name in _BATCHES))

    def close(self) -> None:
        """Let the server forget the cursor. May be called twice."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            with suppress(PyMongoError):
                self._take(ahead.result())
        number, self._id, self._batch = self._id, 0, None
        if number:
            with suppress(PyMongoError):
                # The server closes it after a while.
                self._database.command(
                    {"killCursors": self._name, "cursors": [Int64(number)]}, session=self._session
                )
        self._session.end_session()


def _documents(array: Element) -> list[bytes]:
    """Return the documents of an array."""
    raw, position, found = array.value, _FIRST_NAME, []
    end, length_at, find = len(raw) - 1, _LENGTH.unpack_from, raw.index
    while position < end:
        start = find(0, position) + 1
        position = start + length_at(raw, start)[0]
        found.append(raw[start:position])
    return found

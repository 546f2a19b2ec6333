"""Writing documents as JSON: a pool of workers turns them into text where they are many; this process writes, in order."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from booking_migrate.stores.chunks import by_size
from booking_migrate.stores.files.extended_json import to_json
from booking_migrate.stores.ports import StartPool

_WORTH_IT = 4 << 20
"""Fewer bytes of documents are text before workers have started."""

_MOST_WAITING = 4 << 20
"""While documents of more bytes than this wait to be written, no others are taken."""


_PIECE = 1 << 19
"""About how many bytes of documents are turned into text at a time."""


def text_of(documents: Sequence[bytes], between: bytes) -> bytes:
    """Return documents as canonical Extended JSON; a worker process may do this."""
    return between.join([to_json(raw).encode() for raw in documents])


class TextWriter:
    """Writes documents in the order in which they come."""

    def __init__(
        self, write: Callable[[bytes], None], between: bytes, start_pool: StartPool | None = None
    ) -> None:
        """Take what writes text, the text between two documents, and what starts a pool for many; None: this process does everything."""
        self._write = write
        self._between = between
        self._start_pool = start_pool
        self._size = 0
        self._waiting: deque[tuple[Future[bytes], int]] = deque()
        self._waiting_size = 0
        self._is_first = True

    def add(self, documents: Sequence[bytes]) -> None:
        """Write documents, some of them only when more come, or with `flush`."""
        if not documents:
            return
        self._size += sum(map(len, documents))
        if self._start_pool is None or self._size < _WORTH_IT:
            self._put(text_of(documents, self._between))
            return
        pool = self._start_pool()
        for some in by_size(documents, len, _PIECE):
            size = sum(map(len, some))
            self._waiting.append((pool.submit(text_of, some, self._between), size))
            self._waiting_size += size
            while self._waiting and (self._waiting[0][0].done() or self._waiting_size > _MOST_WAITING):
                self._put_next()

    def flush(self) -> None:
        """Write everything.

        Raises:
            WorkerLost: a worker ended before it had finished.
        """
        while self._waiting:
            self._put_next()

    def _put_next(self) -> None:
        text, size = self._waiting.popleft()
        self._waiting_size -= size
        self._put(text.result())

    def _put(self, text: bytes) -> None:
        if not self._is_first:
            self._write(self._between)
        self._is_first = False
        self._write(text)

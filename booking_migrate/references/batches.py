"""The documents of a scan in batches: larger than the server's, and the next one while this one is written."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future

from booking_migrate.runs.background import in_background

BATCH_BYTES = 4 * 1024 * 1024
"""A batch has no more documents than this, or one that is larger."""


def regrouped(batches: Iterable[list[bytes]], size: int) -> Iterator[list[bytes]]:
    """Yield the same documents in batches of at most `size`, and of at most `BATCH_BYTES`."""
    group: list[bytes] = []
    total = 0
    for batch in batches:
        for raw in batch:
            if group and (len(group) >= size or total + len(raw) > BATCH_BYTES):
                yield group
                group, total = [], 0
            group.append(raw)
            total += len(raw)
    if group:
        yield group


def ahead(batches: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
    """Yield the same batches, of which the next is read on another thread while the caller works on one."""

    def take() -> list[bytes] | None:
        return next(batches, None)

    coming: Future[list[bytes] | None] = in_background(take, name="references")
    while (batch := coming.result()) is not None:
        coming = in_background(take, name="references")
        yield batch

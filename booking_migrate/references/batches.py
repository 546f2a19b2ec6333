"""The documents of a scan in batches: larger than the server's, and the next one while this one is written."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from booking_migrate.runs.background import in_background

Item = TypeVar("Item")

BATCH_BYTES = 4 * 1024 * 1024
"""A batch has no more documents than this, or one that is larger."""


def regrouped(batches: Iterable[list[bytes]], size: Callable[[], int]) -> Iterator[list[bytes]]:
    """Yield the same documents in batches of at most `size`, which may change, and of at most `BATCH_BYTES`."""
    group: list[bytes] = []
    total = 0
    for batch in batches:
        for raw in batch:
            if group and (len(group) >= size() or total + len(raw) > BATCH_BYTES):
                yield group
                group, total = [], 0
            group.append(raw)
            total += len(raw)
    if group:
        yield group


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items, such as batches, of which the next is read on another thread while the caller works on one."""

    def take() -> Item | None:
        return next(items, None)

    coming: Future[Item | None] = in_background(take, name="references")
    while (item := coming.result()) is not None:
        coming = in_background(take, name="references")
        yield item

"""Both sides read side by side: for each client what the source and what the target hold, in one pass."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from booking_migrate.stores.baseline import Baseline
from booking_migrate.stores.ports import ScannedDocument
from booking_migrate.verify.documents import SourceDocument, TargetDocument

Side = TypeVar("Side", SourceDocument, TargetDocument)


@dataclass(slots=True)
class ClientPair:
    """All that both sides hold of one client, or one document that belongs to no client."""

    source: list[SourceDocument] = field(default_factory=list)
    target: list[TargetDocument] = field(default_factory=list)
    baseline: Baseline | None = None
    """What the target held of the client before the migration, if that is known."""

    @property
    def source_bytes(self) -> Sequence[bytes]:
        """The documents of the first side, BSON."""
        return tuple(document.raw for document in self.source)

    @property
    def target_bytes(self) -> Sequence[bytes]:
        """The documents of the second side, BSON."""
        return tuple(document.raw for document in self.target)

    @property
    def client_id(self) -> Any:
        """The `clientId` of any of the documents as decoded, or None."""
        return self._any.client_id

    @property
    def key(self) -> bytes | None:
        """What is the same for all documents of the client; None if there is no client."""
        return self._any.client_key

    @property
    def is_client(self) -> bool:
        """Whether this is a client, and not a document that belongs to none."""
        return self.key is not None

    @property
    def _any(self) -> SourceDocument | TargetDocument:
        return self.source[0] if self.source else self.target[0]


def pair_clients(
    source: Iterable[ScannedDocument], target: Iterable[ScannedDocument]
) -> Iterator[ClientPair]:
    """Pair what two scans in client order hold of each client.

    A document without a client that could be one is a pair of its own, at any place. Memory does not grow beyond the
    largest client.
    """
    ours = _grouped(map(SourceDocument.of, source))
    theirs = _grouped(map(TargetDocument.of, target))
    left, right = next(ours, None), next(theirs, None)
    while left is not None or right is not None:
        if left is not None and left[0] is None:
            yield ClientPair(source=left[1])
            left = next(ours, None)
        elif right is not None and right[0] is None:
            yield ClientPair(target=right[1])
            right = next(theirs, None)
        elif right is None or (left is not None and _key(left) < _key(right)):
            yield ClientPair(source=left[1] if left else [])
            left = next(ours, None)
        elif left is None or _key(right) < _key(left):
            yield ClientPair(target=right[1])
            right = next(theirs, None)
        else:
            yield ClientPair(source=left[1], target=right[1])
            left, right = next(ours, None), next(theirs, None)


def _key(group: tuple[bytes | None, object]) -> bytes:
    return group[0] or b""


def _grouped(documents: Iterable[Side]) -> Iterator[tuple[bytes | None, list[Side]]]:
    """The documents of each client together; those that belong to none come singly and split no group."""
    current: bytes | None = None
    group: list[Side] = []
    for document in documents:
        key = document.client_key
        if key is None:
            yield None, [document]
            continue
        if key != current and group:
            yield current, group
            group = []
        current = key
        group.append(document)
    if group:
        yield current, group


def watched(
    documents: Iterable[ScannedDocument], notice: Callable[[bytes], None]
) -> Iterator[ScannedDocument]:
    """The same documents, with the first one shown to somebody before it is used."""
    iterator = iter(documents)
    first = next(iterator, None)
    if first is None:
        return
    notice(first.raw)
    yield first
    yield from iterator

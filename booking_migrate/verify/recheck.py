"""A difference on a collection in use may be one of time only: such clients are read again before they are reported."""

from collections import deque
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any, NamedTuple

from booking_migrate.stores.ports import ComparedReader
from booking_migrate.verify.batches import check_batch
from booking_migrate.verify.client_check import ClientResult
from booking_migrate.verify.documents import SourceDocument, TargetDocument
from booking_migrate.verify.join import ClientPair
from booking_migrate.verify.people import PeopleLookup, needs
from booking_migrate.verify.plan import VerificationPlan

_TOGETHER = 200
"""How many clients are read again together."""

_HELD_BYTES = 64 * 1024 * 1024
"""How much waits for its second reading at most, so that memory does not grow with the differences."""

_COPIES = 4
"""How often about a client's documents are in memory while it waits: as bytes, decoded, and in what was found."""

_HELD_FOR_A_CLIENT = 1000
"""How many bytes a client takes beside its documents."""

_LOOKED_UP = ("clientUserId", "clientEmail", "expertUserId", "expertEmail")


class _Deferred(NamedTuple):
    """A client that is read again, and what its first reading came to."""

    pair: ClientPair
    result: ClientResult
    due: float
    """When it may be read again, by the monotonic clock."""

    held: int
    """About how many bytes of memory it takes."""


class Recheck:
    """The clients that were not right at the first reading.

    They wait while the others are checked, so that very many of them cost one wait and not one for every few clients.
    """

    def __init__(
        self,
        plan: VerificationPlan,
        source: ComparedReader,
        target: ComparedReader,
        lookup: PeopleLookup,
    ) -> None:
        self._plan = plan
        self._source = source
        self._target = target
        self._lookup = lookup
        self._deferred: deque[_Deferred] = deque()
        self._held = 0

    def is_wanted(self, pair: ClientPair) -> bool:
        """Whether a client would be read again if it is not right."""
        return self._plan.recheck_seconds > 0 and pair.is_client

    def defer(self, pair: ClientPair, result: ClientResult) -> None:
        """Put a client off."""
        documents = sum(map(len, (*pair.source_bytes, *pair.target_bytes)))
        before = 0 if pair.baseline is None else len(pair.baseline.document)
        held = _COPIES * (documents + before) + _HELD_FOR_A_CLIENT
        self._deferred.append(_Deferred(pair, result, monotonic() + self._plan.recheck_seconds, held))
        self._held += held

    def due(self) -> Iterator[list[ClientResult]]:
        """Check the clients again that have waited long enough, many at a time; whatever comes out now counts."""
        while self._held > _HELD_BYTES or (
            len(self._deferred) >= _TOGETHER and self._deferred[_TOGETHER - 1].due <= monotonic()
        ):
            yield self._check_next()

    def rest(self) -> Iterator[list[ClientResult]]:
        """Check all others again, each when its time has come."""
        while self._deferred:
            yield self._check_next()

    def _check_next(self) -> list[ClientResult]:
        count = min(_TOGETHER, len(self._deferred))
        deferred = [self._deferred.popleft() for _ in range(count)]
        self._held -= sum(each.held for each in deferred)
        sleep(max(0.0, deferred[-1].due - monotonic()))
        again = list(self._read_again([each.pair for each in deferred]))
        kept = [
            before.result if _is_same(pair, before.pair) else None
            for pair, before in zip(again, deferred, strict=True)
        ]
        # A client that is gone from both sides meanwhile is as it must be.
        changed = [
            pair
            for pair, result in zip(again, kept, strict=True)
            if result is None and (pair.source or pair.target)
        ]
        people = self._lookup.people_for(document for pair in changed for document in pair.source)
        results = iter(check_batch(self._plan.rules, changed, people))
        return [
            next(results) if result is None else result
            for pair, result in zip(again, kept, strict=True)
            if pair.source or pair.target
        ]

    def _read_again(self, pairs: list[ClientPair]) -> Iterator[ClientPair]:
        ids = [pair.client_id for pair in pairs]
        sources, targets = _by_client(self._source, ids), _by_client(self._target, ids)
        for pair in pairs:
            key = pair.key
            yield ClientPair(
                # A file does not change, and only its scan knows which of its documents have one `_id`.
                source=[SourceDocument(raw) for raw in sources.get(key, ())]
                if self._source.is_live
                else pair.source,
                target=[TargetDocument(raw) for raw in targets.get(key, ())]
                if self._target.is_live
                else pair.target,
                baseline=pair.baseline,
            )


def _is_same(pair: ClientPair, before: ClientPair) -> bool:
    """Whether both sides hold what they held; then the result is the same, unless people had to be looked up.

    The bytes are the same, so the documents of before are asked, which are decoded already.
    """
    return (
        sorted(pair.source_bytes) == sorted(before.source_bytes)
        and sorted(pair.target_bytes) == sorted(before.target_bytes)
        and not any(needs(document, *_LOOKED_UP) for document in before.source)
    )


def _by_client(reader: ComparedReader, ids: list[Any]) -> dict[bytes | None, list[bytes]]:
    found: dict[bytes | None, list[bytes]] = {}
    if reader.is_live:
        for raw in reader.find_by_client(ids):
            found.setdefault(TargetDocument(raw).client_key, []).append(raw)
    return found

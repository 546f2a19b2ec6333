"""A difference on a collection in use may be one of time only: such clients are read again before they are reported."""

from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

from booking_migrate.engine.verify.client_check import ClientResult
from booking_migrate.engine.verify.documents import SourceDocument, TargetDocument
from booking_migrate.engine.verify.pairs import ClientPair
from booking_migrate.engine.verify.people import PeopleLookup
from booking_migrate.engine.verify.plan import VerificationPlan
from booking_migrate.engine.verify.work import check_batch
from booking_migrate.stores.base import ComparedReader

_HELD = 200
"""How many clients wait for their second reading at most, so that memory does not grow."""


class Recheck:
    """The clients that were not right at the first reading."""

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
        self._deferred: list[ClientPair] = []
        self._noticed = 0.0

    def is_wanted(self, pair: ClientPair) -> bool:
        """Whether a client would be read again if it is not right."""
        return self._plan.recheck_seconds > 0 and pair.is_client

    def defer(self, pair: ClientPair) -> bool:
        """Put a client off; whether it is time for `results`."""
        self._deferred.append(pair)
        self._noticed = monotonic()
        return len(self._deferred) >= _HELD

    def results(self) -> list[ClientResult]:
        """Wait, read the clients again, and check them; whatever comes out now counts."""
        deferred, self._deferred = self._deferred, []
        if not deferred:
            return []
        sleep(max(0.0, self._noticed + self._plan.recheck_seconds - monotonic()))
        # A client that is gone from both sides meanwhile is as it must be.
        again = [pair for pair in self._read_again(deferred) if pair.source or pair.target]
        people = self._lookup.people_for(document for pair in again for document in pair.source)
        return check_batch(self._plan.rules, again, people)

    def _read_again(self, deferred: list[ClientPair]) -> Iterator[ClientPair]:
        ids = [pair.client_id for pair in deferred]
        sources, targets = _by_client(self._source, ids), _by_client(self._target, ids)
        for pair in deferred:
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


def _by_client(reader: ComparedReader, ids: list[Any]) -> dict[bytes | None, list[bytes]]:
    found: dict[bytes | None, list[bytes]] = {}
    if reader.is_live:
        for raw in reader.find_by_client(ids):
            found.setdefault(TargetDocument(raw).client_key, []).append(raw)
    return found

"""Clients in batches, checked here or in other processes; the results come in the order of the clients."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import lru_cache
from secrets import SystemRandom

from booking_migrate.runs.workers import WorkerPool
from booking_migrate.stores.journal import identity_of
from booking_migrate.verify.client_check import ClientCheck, ClientResult
from booking_migrate.verify.fastpath import FastPath
from booking_migrate.verify.join import ClientPair
from booking_migrate.verify.people import People, PeopleLookup
from booking_migrate.verify.plan import VerificationPlan, VerificationRules

_AHEAD = 2
"""How many batches are on their way for each worker: enough to keep it busy, and no more in memory."""

Batch = list[ClientPair]
_Results = list[ClientResult | None]


def batches(pairs: Iterable[ClientPair], size: int) -> Iterator[Batch]:
    """Pairs together that hold about so many documents of the source."""
    batch: Batch = []
    documents = 0
    for pair in pairs:
        batch.append(pair)
        documents += len(pair.source) + len(pair.target)
        if documents >= size:
            yield batch
            batch, documents = [], 0
    if batch:
        yield batch


def chosen_by_chance(pairs: Iterable[ClientPair], count: int) -> tuple[list[ClientPair], int]:
    """So many clients, each as likely as any other, in their order; and how many there are in all."""
    chance = SystemRandom()
    kept: list[tuple[int, ClientPair]] = []
    seen = 0
    for pair in pairs:
        if not pair.is_client:
            continue
        # Reservoir sampling: the n-th client is kept with probability count / n, in the place of any other.
        if len(kept) < count:
            kept.append((seen, pair))
        elif (place := chance.randrange(seen + 1)) < count:
            kept[place] = (seen, pair)
        seen += 1
    return [pair for _position, pair in sorted(kept, key=lambda item: item[0])], seen


def check_batch(rules: VerificationRules, batch: Batch, people: People) -> list[ClientResult]:
    """Check the clients of a batch; runs in a worker process as well."""
    check = _check_of(rules)
    return [check.check(pair, people) for pair in batch]


@lru_cache(maxsize=1)
def _check_of(rules: VerificationRules) -> ClientCheck:
    return ClientCheck(rules)


def check_all(
    plan: VerificationPlan, parts: Iterable[Batch], lookup: PeopleLookup, pool: WorkerPool
) -> Iterator[tuple[Batch, list[ClientResult]]]:
    """Check batch after batch; each comes back with its results, in order.

    Looking up and the first glance stay in this process, and so does reading, unless it was done in ranges before.

    Args:
        plan: what must hold, and what is known of the target before the migration.
        parts: the batches.
        lookup: finds users and experts.
        pool: who checks what is unusual.
    """
    rules = plan.rules
    glance = FastPath(rules)
    under_way: deque[tuple[Batch, _Results, Future[list[ClientResult]]]] = deque()
    for batch in parts:
        results, unusual = _fast_checked(glance, batch)
        _set_baselines(plan, unusual)
        checked = pool.submit(check_batch, rules, unusual, _people(lookup, unusual))
        under_way.append((batch, results, checked))
        if pool.workers == 1 or len(under_way) >= pool.workers * _AHEAD:
            done, results, checked = under_way.popleft()
            yield done, _filled(results, checked.result())
    while under_way:
        done, results, checked = under_way.popleft()
        yield done, _filled(results, checked.result())


def _set_baselines(plan: VerificationPlan, batch: Batch) -> None:
    """Look up what the target held of these clients before the migration."""
    clients = [pair for pair in batch if pair.is_client and pair.target]
    documents = [document.raw for pair in clients for document in pair.target if document.has_sessions]
    known = plan.baselines(documents)
    for pair in clients if known else ():
        found = (known.get(identity_of(document.raw)) for document in pair.target if document.has_sessions)
        pair.baseline = next((each for each in found if each is not None), None)


def _fast_checked(glance: FastPath, batch: Batch) -> tuple[_Results, Batch]:
    """What a glance at each client comes to, and the clients for whom it is not enough."""
    results = glance.check(batch)
    return results, [pair for pair, result in zip(batch, results, strict=True) if result is None]


def _filled(results: _Results, others: list[ClientResult]) -> list[ClientResult]:
    """All results in the order of the clients."""
    remaining = iter(others)
    return [next(remaining) if result is None else result for result in results]


def _people(lookup: PeopleLookup, batch: Batch) -> People:
    return lookup.people_for(document for pair in batch for document in pair.source)

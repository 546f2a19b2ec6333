"""Derive and verify dirty clients, some at a time as of one cluster time, by the pipeline of `migrate` and by the verifier."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from booking_migrate.bson.document import value_in, write_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.ids import client_of_document
from booking_migrate.events import Listener
from booking_migrate.follow.followed_target import FollowedTarget
from booking_migrate.follow.part import Kept, Part
from booking_migrate.follow.proven import ProvenDocuments
from booking_migrate.follow.selection import Selection, groups, select
from booking_migrate.migrate.batches import BatchReader
from booking_migrate.migrate.counts import MigrationCounts, NullObserver
from booking_migrate.migrate.journaled_target import ProgressCounter
from booking_migrate.migrate.lookup import Directory
from booking_migrate.migrate.merge import Changes, TargetMerge, find_existing
from booking_migrate.runs.background import in_background
from booking_migrate.runs.finished import FinishedRun
from booking_migrate.runs.held_history import HeldHistory
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import Authorship
from booking_migrate.runs.regulator import Unregulated
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.workers import WorkerPool
from booking_migrate.stores.changes import Change, Dirty, Links, Role
from booking_migrate.stores.ports import ComparedReader, DocumentReader, TargetWriter
from booking_migrate.stores.rejects import RejectedRecords

if TYPE_CHECKING:
    from booking_migrate.verify import Mismatch, VerificationOutcome, VerificationPlan

_CLIENTS_AT_ONCE = 500
"""How many clients are derived and verified at a time; it bounds memory."""


class TimedPlaces(Protocol):
    """The places of a run, read as they were at one cluster time.

    Raises:
        ConnectionProblem, NotPermitted: they cannot be read (any method).
    """

    @property
    def source(self) -> ComparedReader:
        """Return the old bookings."""

    @property
    def users(self) -> DocumentReader | None:
        """Return where users are looked up; None if they are not."""

    @property
    def experts(self) -> DocumentReader | None:
        """Return where experts are looked up; None if they are not."""

    @property
    def links(self) -> Links:
        """Return the lookup of the clients that a change concerns."""

    @property
    def target(self) -> TargetWriter:
        """Return where client documents are written; it is read as it is."""

    @property
    def written(self) -> ComparedReader:
        """Return the same collection to be read, as it is."""

    def written_at(self, time: Timestamp) -> ComparedReader:
        """Return the same for the verifier, at this cluster time or at a later one that is asked for before it is read."""

    def read_at(self, time: Timestamp) -> None:
        """Read everything except the target as of this cluster time from now on, with read concern snapshot."""

    def now(self) -> Timestamp:
        """Return the cluster time of the newest write that the primary has taken."""

    def select(self, booking_ids: Iterable[Any]) -> None:
        """Name the bookings whose rejected records the target's `finish` replaces by those that were written since."""

    def rejected_of(self, booking_ids: Iterable[Any]) -> RejectedRecords:
        """Return the rejected records of these bookings."""


@dataclass(frozen=True, slots=True)
class Handled:
    """The outcome of handling dirty entries."""

    clients: frozenset[bytes] = frozenset()
    """The sort keys of the clients that were derived."""

    written: int = 0
    verification: "VerificationOutcome | None" = None
    """The outcome of verifying these clients; None if they were not verified."""

    differing: tuple[Any, ...] = ()
    """The `_id` values under which the kept copy differs from the source after it was brought up to date."""

    suspects: tuple[Any, ...] = ()
    """The `_id` values of documents of the kept copy that were written and differ from the source, which may have changed since."""

    foreign: tuple[Any, ...] = ()
    """The `_id` values of documents of the target that others wrote, changed or deleted."""

    @property
    def is_wrong(self) -> bool:
        """Return whether the target or the kept copy has a fault."""
        mismatches = 0 if self.verification is None else self.verification.mismatch_count
        return bool(mismatches or self.differing or self.foreign)

    def plus(self, other: "Handled") -> "Handled":
        """Return both outcomes together."""
        return Handled(
            self.clients | other.clients,
            self.written + other.written,
            _both(self.verification, other.verification),
            self.differing + other.differing,
            self.suspects + other.suspects,
            self.foreign + other.foreign,
        )


def _both(
    one: "VerificationOutcome | None", other: "VerificationOutcome | None"
) -> "VerificationOutcome | None":
    """Return the outcome of two verifications: how many clients they checked, and the first one's mismatches."""
    if one is None or other is None:
        return one or other
    shown = one if one.mismatch_count else other
    return replace(shown, clients_checked=one.clients_checked + other.clients_checked)


class Engine:
    """Handles dirty entries: selects their clients, derives, writes and verifies these."""

    def __init__(
        self,
        plan: MigrationPlan,
        places: TimedPlaces,
        run: FinishedRun[HeldHistory],
        *,
        verification: "Callable[[], VerificationPlan]",
        listener: Listener,
        signal_guard: SignalGuard,
        is_watched: bool = False,
    ) -> None:
        """Take the parts.

        Args:
            plan: the rules of the run.
            places: what is read and written.
            run: the run, whose lock is held.
            verification: returns the rules for the verifier, which is imported when it is needed.
            listener: notified of warnings.
            signal_guard: defers a signal while a batch is written.
            is_watched: whether a document of the target that others changed ends `handle` before it is derived again.
        """
        self._is_watched = is_watched
        self._plan = plan
        self._places = places
        self._run = run
        self._verification = verification
        self._listener = listener
        self._signal_guard = signal_guard
        self._proven, self._copied = ProvenDocuments(Role.TARGET), ProvenDocuments(Role.COPY)

    def is_settled(self, change: Change) -> bool:
        """Return whether the document of a change was verified after it (`ProvenDocuments.covers`)."""
        return self._proven.covers(change) or self._copied.covers(change)

    def foreign(self, dirty: Dirty) -> tuple[Dirty, list[Any]]:
        """Examine the documents of the target that were written.

        Returns:
            The entries without these documents, but with the clients whose document is an earlier version of this tool's;
            and the `_id` values of those that others wrote, changed or deleted.
        """
        dirty = replace(dirty, clients=dict(dirty.clients))
        others: list[Any] = []
        gone: list[Any] = []
        for some in groups(dirty.documents.values()):
            raws = {sort_key(value_in(raw, b"_id")): raw for raw in self._places.written.find(some)}
            found = {write_fields({"_id": value}): raws.get(sort_key(value)) for value in some}
            authors = self._run.history.authorship(found)
            for value, (identity, raw) in zip(some, found.items(), strict=True):
                match authors[identity]:
                    case Authorship.OTHERS:
                        (gone if raw is None else others).append(value)
                    case Authorship.EARLIER if raw or isinstance(value, ObjectId):
                        # Missing, and its creation noted after its removal: never written, or removed by others.
                        client_id = value_in(raw, b"clientId") if raw else client_of_document(value)
                        dirty.clients[sort_key(client_id)] = client_id
                    case Authorship.EARLIER | Authorship.LATEST:
                        pass
        return replace(dirty, documents={}), [*others, *self._not_taken_back(gone)]

    def _not_taken_back(self, document_ids: Sequence[Any]) -> list[Any]:
        """Return the `_id` values of absent documents without those of bookings.

        An attempt at a cut-over carried these and removed them again.
        """
        lost: list[Any] = []
        for some in groups(document_ids):
            bookings = {sort_key(value_in(raw, b"_id")) for raw in self._places.source.find(some)}
            with closing(self._places.rejected_of(some)) as records:
                bookings |= {sort_key(record.booking_id) for record in records.unclaimed()}
            lost += [value for value in some if sort_key(value) not in bookings]
        return lost

    def handle(self, dirty: Dirty, time: Timestamp, *, verified: bool, kept: Kept | None = None) -> Handled:
        """Derive the clients of dirty entries as of one cluster time, and update the target; idempotent, durable when it returns.

        Args:
            dirty: what changed.
            time: at which time source and people are read; not before the newest of the changes.
            verified: whether the clients are verified afterwards.
            kept: the kept copy, which is brought up to date too; None before it exists.

        Raises:
            BookingMigrateError: as `migrate.pipeline.migrate` and `verify.verify`.
        """
        places = self._places
        places.read_at(time)
        dirty, others = self.foreign(dirty)
        if others:
            # A change of others would be lost from then on, mistaken for this program's own, if it were overwritten.
            return Handled(foreign=tuple(others))
        selection = select(dirty, places.source, places.links)
        copies = [value for key, value in dirty.copies.items() if key not in selection.bookings]
        suspects = in_background(lambda: tuple(self._suspects(kept, copies)), name="suspects")
        done = self._made(selection, verified=verified, kept=kept)
        return done if done.foreign else replace(done, suspects=suspects.result())

    def _suspects(self, kept: Kept | None, copies: Sequence[Any]) -> Iterator[Any]:
        """Yield the `_id` values of those documents of the kept copy that differ from the source."""
        for some in groups(copies):
            if kept is not None:
                yield from kept.differing(some, list(self._places.source.find(some)))

    def _made(self, selection: Selection, *, verified: bool, kept: Kept | None) -> Handled:
        """Derive the clients and settle them, some at a time, up to a document of the target that others changed.

        Some are converted while those before are written, and those before these, which are durable, are read back.
        """
        done = Handled()
        durable: Part | None = None
        writing: Part | None = None
        deriving: Part | None = None
        try:  # Only these parts are held: their documents are most of the memory that following takes.
            for deriving in self._loaded(selection):
                if kept is not None:
                    deriving.keep(kept, self._places.now)
                self._derive(deriving, writing)
                if durable is not None:
                    done = done.plus(self._settled(durable, verified=verified))
                durable, writing = writing, deriving
                if deriving.foreign:
                    break
                if durable is not None and verified:
                    durable.read_back(self._places)
            for part in filter(None, (durable, writing)):
                if part.foreign:
                    return done.plus(Handled(foreign=tuple(part.foreign)))
                part.finish(self._places if verified else None)
                done = done.plus(self._settled(part, verified=verified))
        finally:
            for part in filter(None, (durable, writing, deriving)):
                part.abandon()
        return done

    def _loaded(self, selection: Selection) -> "Iterator[Part]":
        """Yield the clients and bookings, some at a time with all their documents; the next ones are prefetched."""
        reading: Future[Part] | None = None
        for following in chain(selection.parts(_CLIENTS_AT_ONCE), [None]):
            loaded = None if reading is None else reading.result()
            if following is not None:
                load = partial(Part, following, self._places.source, self._places.target)
                reading = in_background(load, name="reader")
            if loaded is not None:
                yield loaded

    def _settled(self, part: "Part", *, verified: bool) -> Handled:
        """Verify what was derived; return when the kept copy is up to date, too."""
        outcome = self._verify(part) if verified else None
        if outcome is not None and not outcome.mismatch_count:
            time, found = part.read_back(self._places).result()
            self._proven.add(found.keys(), time)
        kept = part.kept()
        if kept is not None and not kept.differing:
            self._copied.add(part.selection.bookings, kept.time)
        differing = () if kept is None else tuple(kept.differing)
        return Handled(frozenset(part.selection.clients), part.written, outcome, differing)

    def mismatched(self, bookings: Mapping[bytes, Any], time: Timestamp) -> list[Any]:
        """Return those of some bookings whose session is not what they make; changes by a new application do not count.

        Args:
            bookings: the `_id` values, by sort key.
            time: at which time the bookings are read.
        """
        self._places.read_at(time)
        selection = select(Dirty(bookings=dict(bookings)), self._places.source, self._places.links)
        part = Part(selection, self._places.source)
        found: dict[bytes, Any] = {}

        def take(mismatch: "Mismatch") -> None:
            key = sort_key(mismatch.booking_id)
            if key in bookings:
                found[key] = bookings[key]

        self._verify(part, sink=take, is_in_use=True)
        return list(found.values())

    def _derive(self, part: "Part", before: "Part | None") -> None:
        """Begin to write the documents of some clients, up to a document that others changed.

        Args:
            part: the clients.
            before: those that are being written; they are durable when the first of these is written.
        """
        places, plan = self._places, self._plan

        def begin() -> None:
            if before is not None:
                before.finish()
            places.select(part.booking_ids)

        target = part.target = FollowedTarget(
            places.target,
            self._run,
            self._signal_guard,
            ProgressCounter(self._listener),
            Unregulated(),
            existing=part.existing,
            is_watched=self._is_watched,
            begin=begin,
        )
        counts, observer = MigrationCounts(), NullObserver()
        directory = Directory(places.users, places.experts, plan.people)
        reader = BatchReader(plan, directory, target, counts=counts, observer=observer)
        merge = TargetMerge(plan, reader, target, target, counts=counts, observer=observer).merge
        derived: set[bytes] = set()
        with WorkerPool(1) as pool:
            for batch in reader.batches(part.loaded, pool):
                changes = merge(batch)
                if target.foreign:
                    return
                derived.update(changes.keys)
                target.write(changes.new, changes.changed, batch.rejected, changes.removed)
        self._depart(target, [value for key, value in part.selection.clients.items() if key not in derived])
        if not target.foreign:
            counts.check()
            target.begin()

    @staticmethod
    def _depart(target: FollowedTarget, gone: Sequence[Any]) -> None:
        """Remove the documents of clients without bookings, or restore the earlier document."""
        changes = Changes()
        for some in groups(gone):
            for there in find_existing(target, target, some):
                changes.add(there.key, there, there.remainder)
        if not target.foreign and (changes.changed or changes.removed):
            target.write([], changes.changed, [], changes.removed)

    def _verify(
        self,
        part: "Part",
        *,
        sink: "Callable[[Mismatch], None] | None" = None,
        is_in_use: bool = False,
    ) -> "VerificationOutcome":
        from booking_migrate.verify.run import verify  # noqa: PLC0415

        places, plan = self._places, self._verification()
        result = part.read_back(places)
        rules = plan.rules
        plan = replace(
            plan,
            rules=replace(rules, allow_later=True, allow_changed=True) if is_in_use else rules,
            baselines=self._run.history.baselines,
            recheck_seconds=0.0,
            workers=1,
        )
        return verify(
            plan,
            part.loaded,
            result.result()[1],
            places.rejected_of(part.booking_ids),
            users=places.users,
            experts=places.experts,
            sink=sink or (lambda _mismatch: None),
        )

"""What the server says about a migration: what it needs, and what indexes and options do to client documents.

It needs a server that can do it, privileges, indexes, disk, and an oplog that reaches far enough.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from booking_migrate.dry_run.outcome import (
    Blocker,
    CutoverNeeds,
    Gains,
    MissingPrivilege,
    Mode,
    Needs,
    TimeEstimate,
)
from booking_migrate.dry_run.risk_kinds import OPLOG_TIMES, risk
from booking_migrate.errors import Refused, UnfitPlace
from booking_migrate.migrate.lookup import Directory
from booking_migrate.migrate.preflight import SAMPLE, findings_of, sample_documents
from booking_migrate.quantities import agreed, size
from booking_migrate.runs.plan import FENCE_SECONDS, Finding, Limits, MigrationPlan
from booking_migrate.stores.cutover import OptionNote, options_after
from booking_migrate.stores.destination import (
    CollectionFacts,
    PlaceFinding,
    ServerFacts,
    Topology,
    examine,
    refusal_of,
)
from booking_migrate.stores.own_collections import JOURNAL, REJECTS_COLLECTION
from booking_migrate.stores.privilege import Privilege

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoInspector


_WRITING = ("find", "insert", "update", "remove")

_TIMES_AT_REST = 4
"""How many times as long as `migrate` a cut-over refuses writes that reads everything behind the fence."""

_SECONDS_PER_RATE = 0.0001
"""What a change a second adds: those of a tenth of a second are derived and verified, about a thousand a second."""

DISK_TOO_SMALL = "DiskTooSmall"
"""The kind of the blocker that the server has less room than the target takes."""

_COLLECTION = "collection"


@dataclass(frozen=True, slots=True)
class ServerSurroundings:
    """What the server reports about the places of a migration; empty without a server."""

    inspector: "MongoInspector | None" = None
    source: CollectionFacts | None = None
    """None if the source is not a collection."""

    target: CollectionFacts | None = None
    """None if the target is not a collection, or does not exist yet."""

    source_name: str | None = None
    """None if the source is not a collection."""

    target_name: str | None = None
    people: tuple[str, ...] = ()
    """The collections of users and experts."""

    @property
    def known(self) -> tuple[str, ...]:
        """Return the names of all collections of the migration."""
        names = (self.source_name, self.target_name, *self.people, REJECTS_COLLECTION)
        return tuple(name for name in names if name is not None)


def inspect_surroundings(
    inspector: "MongoInspector", source: str | None, target: str | None, people: Sequence[str]
) -> ServerSurroundings:
    """Ask the server about the collections of a migration.

    Args:
        inspector: of the database.
        source: the source collection; None if it is a file.
        target: the target collection; None if it is a file.
        people: the collections of users and experts.
    """
    ours, theirs = (None if name is None else inspector.collection(name) for name in (source, target))
    return ServerSurroundings(inspector, ours, theirs, source, target, tuple(people))


class Examined(NamedTuple):
    """What indexes and options do to client documents; empty where no collection is involved."""

    in_place_refusal: UnfitPlace | None = None
    """Why the source cannot be migrated in place; None if it can."""

    blockers: tuple[Blocker, ...] = ()
    """The reasons for which a migration into the target would be refused."""

    findings: tuple[Finding, ...] = ()
    """What is only reported, and what prevents a migration in place."""


def examine_places(plan: MigrationPlan, around: ServerSurroundings, directory: Directory) -> Examined:
    """Examine the collections of a migration. Nothing is written.

    Args:
        plan: what a migration would do.
        around: what the server says about the places.
        directory: where people are looked up.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: the server does not say.
    """
    inspector = around.inspector
    if inspector is None:
        return Examined()
    source, target = (
        facts if facts is not None and facts.kind == _COLLECTION else None
        for facts in (around.source, around.target)
    )
    documents: tuple[bytes, ...] = ()
    in_place: tuple[PlaceFinding, ...] = ()
    options: tuple[OptionNote, ...] = ()
    if source is not None:
        documents = sample_documents(plan, inspector.ends(source.name, SAMPLE), directory)
        in_place = examine(inspector.destination(source.name), documents, in_place=True)
        if around.target_name is not None:
            options = options_after(source.options, None if target is None else target.options)
    found = () if target is None else examine(inspector.destination(target.name), documents, in_place=False)
    # The target's validator is tried out with every document, elsewhere.
    found = tuple(each for each in found if each.kind != "validator" or not each.is_refused)
    refusal = refusal_of(around.target_name or "", found)
    in_place_refusal = refusal_of(around.source_name or "", in_place, in_place=True)
    findings = [*findings_of(around.target_name or "", found)]
    if in_place_refusal is not None:
        title = f"migrate --in-place would be refused: {in_place_refusal.message}"
        names = tuple(finding.name for finding in in_place if finding.is_refused)
        place = quote(around.source_name or "")
        advice = f"What helps is said by: booking-migrate preflight migrate --in-place --source {place}"
        findings.append(Finding("in-place-refused", title, len(in_place_refusal.problems), names, advice))
    return Examined(
        in_place_refusal,
        () if refusal is None else (blocker_of(refusal),),
        (*findings, *_lost_options(options)),
    )


def _lost_options(options: Sequence[OptionNote]) -> Iterator[Finding]:
    """Yield the finding of what a cut-over makes of the source's options; its validator has a finding of its own."""
    left_out = [note for note in options if not note.is_kept and note.name != "validator"]
    if left_out:
        reasons = "; ".join(f"{note.name}: {note.reason}" for note in left_out)
        yield Finding(
            kind="options-lost",
            title=agreed("{option|options} of the source that a cut-over does not keep", len(left_out)),
            count=len(left_out),
            sample_ids=tuple(note.name for note in left_out),
            advice=f"{reasons}. Where they matter, set them on the target before the cut-over.",
        )


def blocker_of(refusal: Refused) -> Blocker:
    """Return the blocker for which `migrate` would be refused."""
    return Blocker(type(refusal).__name__, refusal.message, refusal.hint)


def find_needs(
    around: ServerSurroundings, gains: Gains, seconds: float, in_place_refusal: UnfitPlace | None
) -> Needs:
    """Find out what a migration needs and what of it is there.

    Args:
        around: what the server says about the places.
        gains: what the target will take.
        seconds: what the migration will take.
        in_place_refusal: why indexes or options do not allow a migration in place; None if they do.
    """
    inspector = around.inspector
    if inspector is None:
        return Needs()
    server = inspector.server()
    wanted = list(_wanted(around))
    lacking = inspector.missing([one.privilege for one in wanted])
    return Needs(
        database=inspector.database,
        server=server,
        modes=tuple(_modes(server, around, in_place_refusal)),
        missing_privileges=None
        if lacking is None
        else tuple(one for one in wanted if one.privilege in lacking),
        has_source_index=any(
            each.keys[:1] == ("clientId",) and not each.is_partial and not each.collates
            for each in around.source.indexes
        )
        if around.source
        else None,
        has_unique_index=any(
            each.keys == ("clientId",) and each.unique and not each.is_partial and not each.collates
            for each in (around.target.indexes if around.target else ())
        )
        if around.target_name
        else None,
        disk=inspector.disk(),
        target_bytes=(gains.storage_bytes_after or gains.data_bytes_after) + (gains.index_bytes_after or 0)
        if around.target_name
        else None,
        archive_bytes=None
        if around.source is None or around.source.storage_bytes is None
        else around.source.storage_bytes + (around.source.id_index_bytes or 0),
        oplog_seconds=inspector.oplog_seconds(),
        cutover=_cutover(inspector, around, seconds),
    )


def _cutover(inspector: "MongoInspector", around: ServerSurroundings, seconds: float) -> CutoverNeeds | None:
    """Return how a cut-over would go; the figures behind it are in tests/benchmarks/README.md."""
    if around.source is None or around.target_name is None:
        return None
    reason = inspector.not_followed(around.source.name)
    rate = inspector.changes_per_second(around.source.name)
    if reason is not None:
        basis = (
            "everything is read and proven again while writes are refused, which took two to nine times as long as "
            f"`migrate` when measured; the estimate is {_TIMES_AT_REST} times"
        )
        return CutoverNeeds(False, reason, rate, _TIMES_AT_REST * seconds, basis)
    longest = Limits().outage
    limit = f"it depends on the rate of changes, not on the amount of data, and `--max-outage` limits it ({longest} s)"
    if rate is None:
        return CutoverNeeds(True, None, None, longest, f"the rate of changes is unknown; {limit}")
    outage = min(FENCE_SECONDS + rate * _SECONDS_PER_RATE, longest)
    return CutoverNeeds(
        True, None, rate, outage, f"the source has about {rate:.3g} changes a second; {limit}"
    )


def need_findings(needs: Needs, around: ServerSurroundings, estimate: TimeEstimate) -> Iterator[Finding]:
    """Yield the risks that lie in what is needed and not there, and in what the source has and the target will not."""
    if around.source:
        yield from _lost(around.source)
    if needs.missing_privileges:
        named = dict.fromkeys(f"{one.command}: {one.privilege.action}" for one in needs.missing_privileges)
        yield risk("privileges-missing", tuple(named), len(needs.missing_privileges))
    members = around.inspector.members_without_majority() if around.inspector else ()
    if members:
        yield risk("no-majority", members, most=None)
    reach = needs.oplog_seconds
    if reach is not None and reach < OPLOG_TIMES * estimate.seconds:
        yield risk("oplog-window-short", (), int(reach))


def need_blockers(needs: Needs) -> Iterator[Blocker]:
    """Yield what is needed and certainly not there."""
    if needs.disk is not None and needs.target_bytes is not None and needs.target_bytes > needs.disk.free:
        yield Blocker(
            kind=DISK_TOO_SMALL,
            message=f"The target will take about {size(needs.target_bytes)}, and the server's disk has {size(needs.disk.free)} free",
            hint="Free space on the server's disk, or enlarge it. Or migrate into a file, if the result is for another server.",
        )


def _modes(
    server: ServerFacts, around: ServerSurroundings, in_place_refusal: UnfitPlace | None
) -> Iterator[Mode]:
    yield Mode("side by side", possible=True, note="any server, any place")
    if around.source_name is None:
        return
    has_transactions = server.topology is not Topology.STANDALONE
    kind = around.source.kind if around.source else _COLLECTION
    if kind != _COLLECTION:
        yield Mode("in place", possible=False, note=f"the source is a {kind}")
    elif around.source is not None and around.source.options.get("capped"):
        yield Mode("in place", possible=False, note="the source is a capped collection")
    elif in_place_refusal is not None:
        yield Mode("in place", possible=False, note="; ".join(in_place_refusal.problems))
    else:
        note = (
            "transactions are there"
            if has_transactions
            else "needs a replica set, or a stopped application (--without-transactions)"
        )
        yield Mode("in place", possible=has_transactions, note=note)


def _wanted(around: ServerSurroundings) -> Iterator[MissingPrivilege]:
    """Yield everything that later commands need (MongoDB manual, reference/privilege-actions)."""
    source, target = around.source_name, around.target_name
    if target is None:
        return
    reads = [Privilege("find", name) for name in (source, *around.people) if name is not None]
    writes = [
        Privilege(action, name) for name in (target, REJECTS_COLLECTION, *JOURNAL) for action in _WRITING
    ]
    own = [Privilege("createIndex", target), Privilege("listIndexes", target)]
    needed = {"migrate": [*reads, *writes, *own, Privilege("listCollections", "")]}
    undo = [*writes, *(Privilege(action, target) for action in ("dropCollection", "dropIndex"))]
    if source is not None:
        fence = [Privilege("collMod", source), Privilege("listIndexes", source)]
        keep = [Privilege(action, "") for action in ("insert", "createIndex")]
        swap = [Privilege("dbHash", ""), Privilege("dropCollection", source), Privilege("dropIndex", target)]
        needed["cutover"] = [*fence, *keep, *swap]
        undo += [Privilege("collMod", source), Privilege("dbHash", "")]
    for command, privileges in (needed | {"rollback": undo}).items():
        yield from (MissingPrivilege(command, privilege) for privilege in privileges)


def _lost(source: CollectionFacts) -> Iterator[Finding]:
    """Yield what the source has besides its documents, and the new shape does not have."""
    indexes = [index.name for index in source.indexes if index.keys != ("_id",)]
    if indexes:
        yield risk("indexes-lost", indexes)
    if source.options.get("validator"):
        yield risk("validator-lost", (source.name,))
    expiring = [index.name for index in source.indexes if index.expires]
    if expiring:
        yield risk("ttl-index", expiring)

"""What a migration needs: a server that can do it, privileges, indexes, disk, and an oplog that reaches far enough."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from booking_migrate.dry_run.outcome import Blocker, Gains, MissingPrivilege, Mode, Needs, TimeEstimate
from booking_migrate.errors import UnfitPlace
from booking_migrate.runs.outcome import Finding
from booking_migrate.stores.inspection import (
    CollectionFacts,
    DatabaseInspector,
    Privilege,
    ServerFacts,
    Topology,
)

REJECTED = "booking_migrate_rejected"
"""The collection of rejected bookings."""

STATE = (
    "booking_migrate_runs",
    "booking_migrate_ranges",
    "booking_migrate_before",
    "booking_migrate_locks",
)
"""The collections in which runs are kept."""

_WRITING = ("find", "insert", "update", "remove")

_SAFETY = 2
"""The oplog must reach this many times as far back as the migration takes."""

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ServerSurroundings:
    """What the server reports about the places of a migration; empty without a server."""

    inspector: DatabaseInspector | None = None
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
        names = (self.source_name, self.target_name, *self.people, REJECTED)
        return tuple(name for name in names if name is not None)


def inspect_surroundings(
    inspector: DatabaseInspector | None, source: str | None, target: str | None, people: Sequence[str]
) -> ServerSurroundings:
    """Ask the server about the collections of a migration.

    Args:
        inspector: of the database; None if only files are involved.
        source: the source collection; None if it is a file.
        target: the target collection; None if it is a file.
        people: the collections of users and experts.
    """
    if inspector is None:
        return ServerSurroundings()
    return ServerSurroundings(
        inspector=inspector,
        source=inspector.collection(source) if source is not None else None,
        target=inspector.collection(target) if target is not None else None,
        source_name=source,
        target_name=target,
        people=tuple(people),
    )


def find_needs(around: ServerSurroundings, gains: Gains, in_place_refusal: UnfitPlace | None = None) -> Needs:
    """Find out what a migration needs and what of it is there.

    Args:
        around: what the server says about the places.
        gains: what the target will take.
        in_place_refusal: why indexes or options do not allow a migration in place; None if they do.
    """
    inspector = around.inspector
    if inspector is None:
        return Needs()
    server = inspector.server()
    return Needs(
        database=inspector.database,
        server=server,
        modes=tuple(_modes(server, around, in_place_refusal)),
        missing_privileges=_missing(inspector, around),
        has_source_index=_has_client_index(around.source) if around.source else None,
        has_unique_index=_has_unique_index(around.target) if around.target_name else None,
        disk=inspector.disk(),
        target_bytes=_target_bytes(gains) if around.target_name else None,
        archive_bytes=_archive_bytes(around.source),
        oplog_seconds=inspector.oplog_seconds(),
    )


def need_findings(needs: Needs, around: ServerSurroundings, estimate: TimeEstimate) -> Iterator[Finding]:
    """Yield the risks that lie in what is needed and not there, and in what the source has and the target will not."""
    if around.source:
        yield from _lost(around.source)
    if needs.missing_privileges:
        named = dict.fromkeys(f"{one.command}: {one.privilege.action}" for one in needs.missing_privileges)
        yield Finding(
            kind="privileges-missing",
            title="privileges that migrate, cutover or rollback need and this user lacks",
            count=len(needs.missing_privileges),
            sample_ids=tuple(named)[:_SHOWN],
            advice="Run those commands as a user who has them; the built-in roles readWrite and dbAdmin do.",
        )
    members = around.inspector.members_without_majority() if around.inspector else ()
    if members:
        yield Finding(
            kind="no-majority",
            title="too few members of the replica set are up to acknowledge writes; its members",
            count=len(members),
            sample_ids=tuple(members),
            advice="Start the members that are down first: until then every command that writes or verifies ends with exit "
            "code 10, and changes that the application makes are not counted here.",
        )
    reach = needs.oplog_seconds
    if reach is not None and reach < _SAFETY * estimate.seconds:
        yield Finding(
            kind="oplog-window-short",
            title="the oplog reaches back less than twice the time estimated, in seconds",
            count=int(reach),
            sample_ids=(),
            advice="Changes made meanwhile could be lost to change streams and secondaries. Enlarge the oplog first.",
        )


def need_blockers(needs: Needs) -> Iterator[Blocker]:
    """Yield what is needed and certainly not there."""
    if needs.disk is not None and needs.target_bytes is not None and needs.target_bytes > needs.disk.free:
        yield Blocker(
            kind="DiskTooSmall",
            message=f"the target will take about {needs.target_bytes:,} bytes, and the server's disk has {needs.disk.free:,}",
            hint="Enlarge the disk, or migrate into another database.",
        )


def _modes(
    server: ServerFacts, around: ServerSurroundings, in_place_refusal: UnfitPlace | None
) -> Iterator[Mode]:
    yield Mode("side by side", possible=True, note="any server, any place")
    if around.source_name is None:
        return
    has_transactions = server.topology is not Topology.STANDALONE
    kind = around.source.kind if around.source else "collection"
    if kind != "collection":
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


def _missing(inspector: DatabaseInspector, around: ServerSurroundings) -> tuple[MissingPrivilege, ...] | None:
    wanted = list(_wanted(around))
    lacking = inspector.missing([one.privilege for one in wanted])
    return None if lacking is None else tuple(one for one in wanted if one.privilege in lacking)


def _wanted(around: ServerSurroundings) -> Iterator[MissingPrivilege]:
    """Yield everything that later commands need (MongoDB manual, reference/privilege-actions)."""
    source, target = around.source_name, around.target_name
    if target is None:
        return
    reads = [Privilege("find", name) for name in (source, *around.people) if name is not None]
    writes = [Privilege(action, name) for name in (target, REJECTED, *STATE) for action in _WRITING]
    own = [Privilege("createIndex", target), Privilege("listIndexes", target)]
    yield from _each("migrate", [*reads, *writes, *own, Privilege("listCollections", "")])
    if source is not None:
        fence = [Privilege("collMod", source), Privilege("listIndexes", source)]
        keep = [Privilege(action, "") for action in ("insert", "createIndex")]
        swap = [Privilege("dbHash", ""), Privilege("dropCollection", source), Privilege("dropIndex", target)]
        yield from _each("cutover", [*fence, *keep, *swap])
    undoing = [Privilege(action, target) for action in ("dropCollection", "dropIndex")]
    yield from _each("rollback", [*writes, *undoing])
    if source is not None:
        yield from _each("rollback", [Privilege("collMod", source), Privilege("dbHash", "")])


def _each(command: str, privileges: Sequence[Privilege]) -> Iterator[MissingPrivilege]:
    for privilege in privileges:
        yield MissingPrivilege(command, privilege)


def _has_client_index(facts: CollectionFacts) -> bool:
    return any(index.keys[:1] == ("clientId",) and not index.is_partial for index in facts.indexes)


def _has_unique_index(facts: CollectionFacts | None) -> bool:
    return facts is not None and any(
        index.keys == ("clientId",) and index.unique and not index.is_partial for index in facts.indexes
    )


def _target_bytes(gains: Gains) -> int:
    return (gains.storage_bytes_after or gains.data_bytes_after) + (gains.index_bytes_after or 0)


def _archive_bytes(source: CollectionFacts | None) -> int | None:
    if source is None or source.storage_bytes is None:
        return None
    return source.storage_bytes + (source.id_index_bytes or 0)


def _lost(source: CollectionFacts) -> Iterator[Finding]:
    """Yield what the source has besides its documents, and the new shape does not have."""
    indexes = [index.name for index in source.indexes if index.keys != ("_id",)]
    if indexes:
        yield Finding(
            kind="indexes-lost",
            title="indexes of the source that the new shape does not have",
            count=len(indexes),
            sample_ids=tuple(indexes[:_SHOWN]),
            advice="Create them on sessions.FIELD where queries still need them. A unique index does not apply between the "
            "sessions of one document.",
        )
    if source.has_validator:
        yield Finding(
            kind="validator-lost",
            title="validator of the source that the new shape does not have",
            count=1,
            sample_ids=(source.name,),
            advice="Write one for client documents and set it on the target, after the migration.",
        )
    expiring = [index.name for index in source.indexes if index.expires]
    if expiring:
        yield Finding(
            kind="ttl-index",
            title="indexes that make the server delete bookings while the migration runs",
            count=len(expiring),
            sample_ids=tuple(expiring[:_SHOWN]),
            advice="Drop them before migrating; afterwards nothing expires by itself any more.",
        )

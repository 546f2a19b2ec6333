"""What README.md says about privileges: with exactly these every command works, with fewer it does not."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import bson
import pytest
from pymongo.database import Database

from booking_migrate.runs.privileges import BEHIND_GUARD, CLUSTER_ROLES, READS, TASKS, Task
from tests.cli.conftest import Run
from tests.support.readme import ROOT
from tests.support.server import Server, guarded_server

Db = Database[dict[str, Any]]

_BOOKING = "the _id of a booking"
_RUN = "the id of the run"
_PLACES = ("--source", "bookings", "--target", "clients")
_CUTOVER = ("cutover", *_PLACES, "--rejected", "carry", "--yes")
_OTHERS = ("--source", "others", "--target", "other_clients")
_LIFE: Sequence[tuple[str, tuple[str, ...]]] = (
    ("init", ("init", "--output", "-")),
    ("dry-run", ("dry-run", *_PLACES)),
    ("migrate", ("migrate", *_PLACES)),
    ("migrate --max-lag", ("migrate", *_PLACES, "--max-lag", "10")),
    ("verify", ("verify", *_PLACES)),
    ("explain", ("explain", _BOOKING, *_PLACES)),
    ("status", ("status",)),
    ("references find", ("references", "find", *_PLACES)),
    ("references map", ("references", "map", *_PLACES, "--out", "map.csv", "--overwrite")),
    ("references map --out COLLECTION", ("references", "map", *_PLACES, "--out", "ids", "--overwrite")),
    ("control", ("control", "resume", "--run", _RUN)),
    ("rollback", ("rollback", "--target", "clients", "--yes")),
    ("migrate", ("migrate", *_PLACES)),
    ("verify", ("verify", *_PLACES)),
    ("cutover", (*_CUTOVER, "--reverse-window", "1s", "--keep-index")),
    ("rollback after a cut-over", ("rollback", "--target", "clients", "--yes")),
    ("migrate", ("migrate", *_PLACES)),
    ("verify", ("verify", *_PLACES)),
    ("cutover --block-all-writes", (*_CUTOVER, "--block-all-writes")),
    ("rollback after a cut-over", ("rollback", "--target", "clients", "--yes")),
    ("migrate --in-place", ("migrate", "--in-place", "--source", "bookings")),
    ("verify", ("verify", "--in-place", "--source", "bookings")),
    ("references keep", ("references", "keep", "--source", "bookings")),
    ("references rewrite", ("references", "rewrite", "--field", "payments.bookingId", "--yes")),
    ("references verify", ("references", "verify")),
    ("rollback --references", ("rollback", "--references", "--yes")),
    ("view", ("view", "create", "--source", "bookings", "--name", "flat")),
    ("view", ("view", "drop", "--name", "flat")),
    ("rollback", ("rollback", "--target", "bookings", "--yes")),
    ("migrate --in-place", ("migrate", "--in-place", "--source", "bookings")),
    ("finalize", ("finalize", "--source", "bookings", "--yes")),
    ("service-indexes", ("service-indexes", "--source", "bookings")),
    ("migrate", ("migrate", *_OTHERS)),
    ("verify", ("verify", *_OTHERS)),
    ("cutover", ("cutover", *_OTHERS, "--rejected", "carry", "--yes")),
    ("migrate --in-place", ("migrate", "--in-place", "--source", "others", "--accept", "duration-too-short")),
    (BEHIND_GUARD, ("rollback", "--target", "others", "--yes")),
    ("finalize after a cut-over", ("finalize", "--source", "others", "--yes")),
)
_DONE = (0, 3)
_SEEN_WITH_MORE = ("applications", "disk", "oplog")
"""What a user with the privileges of `migrate` alone cannot see."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A replica set of one with access control, and a user whose role each test sets."""
    with guarded_server(in_replica_set=True) as guarded:
        admin = guarded.client().admin
        admin.command("createRole", "operator", privileges=[], roles=[])
        admin.command("createUser", "operator", pwd="secret", roles=["operator"])
        yield guarded


@pytest.fixture
def database(server: Server) -> Iterator[Db]:
    """At most sixty documents of each of the example collections, in a database of its own."""
    database = server.client()["platform"]
    for name in ("bookings", "users", "experts"):
        database[name].insert_many(bson.decode_all((ROOT / "examples" / f"{name}.bson").read_bytes())[:60])
    database.others.insert_many(database.bookings.find())
    database.payments.insert_many({"bookingId": each["_id"]} for each in database.bookings.find())
    yield database
    server.client().drop_database(database.name)


@pytest.fixture
def command(server: Server, run: Run) -> Callable[..., tuple[int, str]]:
    """A function that runs the program as the operator, and returns exit code and standard error."""
    uri = server.uri.replace("admin:secret", f"operator:{quote_plus('secret')}")

    def execute(*arguments: str) -> tuple[int, str]:
        done = run(*arguments, env={"MONGODB_URI": uri, "BOOKING_MIGRATE_DB": "platform"})
        return done.exit_code, done.stderr

    return execute


def allow(
    server: Server, *, roles: Sequence[str] = (), actions: Sequence[str] = (), cluster: Sequence[str] = ()
) -> None:
    """Let the operator do this and nothing else."""
    privileges = [
        *([{"resource": {"db": "platform", "collection": ""}, "actions": list(actions)}] if actions else []),
        *([{"resource": {"cluster": True}, "actions": list(cluster)}] if cluster else []),
    ]
    granted = [{"role": role, "db": "admin" if role in CLUSTER_ROLES else "platform"} for role in roles]
    server.client().admin.command("updateRole", "operator", privileges=privileges, roles=granted)


def paused_run(database: Db) -> str:
    """The id of the only run, after a pause was asked for; it has ended meanwhile."""
    pause = {"value": True, "by": "ann@machine", "at": datetime.now(UTC)}
    run = database.booking_migrate_runs.find_one_and_update(
        {"state": "done"}, {"$set": {"control.migrate.pause": pause}}
    )
    return str((run or {})["_id"])


def task_of(name: str) -> Task:
    """The row of the table that has a command."""
    return next(task for task in TASKS if name in task.names)


def test_the_life_of_a_migration_needs_every_row() -> None:
    """Each command of the table is run."""
    assert {name for task in TASKS for name in task.names} == {name for name, _ in _LIFE}


@pytest.mark.parametrize("by", ["roles", "actions"])
def test_the_listed_privileges_suffice(
    server: Server, database: Db, command: Callable[..., tuple[int, str]], by: str
) -> None:
    """From dry-run to finalize, each command works with the roles of its row alone, and with its actions alone."""
    booking = database["bookings"].find_one({}, {"_id": 1}) or {}
    for name, arguments in _LIFE:
        task = task_of(name)
        if by == "roles":
            allow(server, roles=task.roles)
        else:
            allow(server, actions=task.actions, cluster=task.cluster_actions)
        words = {_BOOKING: str(booking["_id"])}
        if name == "control":
            words[_RUN] = paused_run(database)
        code, errors = command(*(words.get(word, word) for word in arguments))

        assert code in _DONE, (name, errors)
        assert "not authorized" not in errors
        assert "cannot be followed" not in errors


@pytest.mark.parametrize(
    ("name", "arguments", "missing"),
    [
        ("migrate", ("migrate", *_PLACES), "createIndex"),
        ("migrate", ("migrate", *_PLACES), "insert"),
        ("migrate --max-lag", ("migrate", *_PLACES, "--max-lag", "10"), "replSetGetStatus"),
        ("migrate --in-place", ("migrate", "--in-place", "--source", "bookings"), "remove"),
        ("dry-run", ("dry-run", *_PLACES), "listCollections"),
        ("view", ("view", "create", "--source", "bookings", "--name", "flat"), "createCollection"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("database")
def test_one_privilege_less_is_refused(
    server: Server,
    command: Callable[..., tuple[int, str]],
    name: str,
    arguments: tuple[str, ...],
    missing: str,
) -> None:
    """Without one of the listed actions the command ends with exit code 5."""
    task = task_of(name)
    allow(
        server,
        actions=[action for action in task.actions if action != missing],
        cluster=[action for action in task.cluster_actions if action != missing],
    )

    assert command(*arguments)[0] == 5


@pytest.mark.parametrize(
    ("name", "options", "missing"),
    [
        ("cutover", (), "collMod"),
        ("cutover", ("--at-rest",), "dbHash"),
        ("cutover --block-all-writes", ("--block-all-writes",), "serverStatus"),
    ],
    ids=["collMod", "dbHash", "serverStatus"],
)
@pytest.mark.usefixtures("database")
def test_a_cutover_without_one_privilege_is_refused(
    server: Server, command: Callable[..., tuple[int, str]], name: str, options: tuple[str, ...], missing: str
) -> None:
    """It ends with exit code 5, and the source is live as it was and takes writes."""
    allow(server, roles=("readWrite",))
    assert command("migrate", *_PLACES)[0] in _DONE
    assert command("verify", *_PLACES)[0] == 0
    task = task_of(name)
    allow(
        server,
        actions=[action for action in task.actions if action != missing],
        cluster=[action for action in task.cluster_actions if action != missing],
    )

    assert command(*_CUTOVER, *options)[0] == 5
    assert server.client()["platform"]["bookings"].insert_one({}).acknowledged


@pytest.mark.parametrize(
    ("name", "is_cut_over", "missing"),
    [
        ("finalize after a cut-over", True, "collMod"),
        ("finalize after a cut-over", True, "dropCollection"),
        ("finalize", False, "dropCollection"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_finalize_without_one_privilege_changes_nothing(
    server: Server,
    database: Db,
    command: Callable[..., tuple[int, str]],
    name: str,
    is_cut_over: bool,
    missing: str,
) -> None:
    """It ends with exit code 5 before anything is dropped, and a rollback gives every booking back."""
    before = sorted(each["_id"] for each in database.bookings.find())
    allow(server, roles=("readWrite", "dbAdmin"))
    if is_cut_over:
        assert command("migrate", *_PLACES)[0] in _DONE
        assert command("verify", *_PLACES)[0] == 0
        assert command(*_CUTOVER)[0] in _DONE
    else:
        assert command("migrate", "--in-place", "--source", "bookings")[0] in _DONE
    task = task_of(name)
    allow(server, actions=[action for action in task.actions if action != missing])
    code, errors = command("finalize", "--source", "bookings", "--yes")
    (run,) = database.booking_migrate_runs.find()
    allow(server, roles=("readWrite", "dbAdmin"))
    back = command("rollback", "--target", "clients" if is_cut_over else "bookings", "--yes")

    assert 5 == code
    assert f"is not ready: this user lacks on platform: {missing}" in " ".join(errors.split())
    assert "booking-migrate preflight finalize --role" in errors
    assert ("cut-over" if is_cut_over else "done") == run["state"]
    assert back[0] in _DONE, back[1]
    assert before == sorted(each["_id"] for each in database.bookings.find())


def test_a_kept_index_takes_its_privilege(
    server: Server, database: Db, command: Callable[..., tuple[int, str]]
) -> None:
    """Finalize --keep-index of a user who may not create it is refused before anything is dropped."""
    allow(server, roles=("readWrite",))
    assert command("migrate", "--in-place", "--source", "bookings")[0] in _DONE
    allow(server, actions=task_of("finalize").actions)
    code, errors = command("finalize", "--source", "bookings", "--yes", "--keep-index")
    archive = database.bookings_legacy.count_documents({})
    allow(server, actions=(*task_of("finalize").actions, "createIndex"))

    assert 5 == code
    assert "is not ready: this user lacks on platform: createIndex" in " ".join(errors.split())
    assert archive
    assert command("finalize", "--source", "bookings", "--yes", "--keep-index")[0] in _DONE


@pytest.mark.parametrize("name", ["migrate", "cutover"])
@pytest.mark.usefixtures("database")
def test_preflight_names_what_is_lacking_and_makes_the_role(
    server: Server, command: Callable[..., tuple[int, str]], run: Run, name: str
) -> None:
    """A user who may only read is told which actions are lacking; the role that is printed is the one that suffices."""
    allow(server, roles=("readWrite", "dbAdmin"))
    assert command("migrate", *_PLACES)[0] in _DONE
    assert command("verify", *_PLACES)[0] == 0
    allow(server, roles=("read",))
    uri = server.uri.replace("admin:secret", "operator:secret")
    environment = {"MONGODB_URI": uri, "BOOKING_MIGRATE_DB": "platform"}

    def looked() -> tuple[int, Mapping[str, Any]]:
        done = run("preflight", name, *_PLACES, "--rejected", "leave", "--role", "--json", env=environment)
        return done.exit_code, json.loads(done.stdout)

    code, before = looked()
    checks = {each["subject"]: each for each in before["verdicts"][0]["checks"]}
    role = json.loads(before["role"].partition("runCommand(")[2].removesuffix(")"))
    lacking = set(task_of(name).actions) - {*READS, "changeStream", "dbHash"}

    assert (5, "obstacle") == (code, checks["privileges"]["state"])
    assert lacking <= set(checks["privileges"]["found"].rpartition(": ")[2].split(", "))
    assert "grantRolesToUser" in "".join(checks["privileges"]["hint"])

    server.client().admin.command("updateRole", "operator", privileges=role["privileges"], roles=[])

    code, after = looked()
    assert (0, []) == (code, [each for each in after["verdicts"][0]["checks"] if each["state"] == "obstacle"])
    arguments = _CUTOVER if name == "cutover" else ("migrate", *_PLACES)
    assert command(*arguments)[0] in _DONE


@pytest.mark.usefixtures("database")
def test_preflight_names_the_role_that_shows_more(server: Server, run: Run) -> None:
    """What a minimal user cannot see is named, with the command that grants it; with that, it is seen."""
    admin = server.client().admin
    allow(server, actions=task_of("migrate").actions)
    uri = server.uri.replace("admin:secret", "operator:secret")
    environment = {"MONGODB_URI": uri, "BOOKING_MIGRATE_DB": "platform"}

    def looked() -> dict[str, Mapping[str, Any]]:
        report = json.loads(run("preflight", "migrate", *_PLACES, "--json", env=environment).stdout)
        checks = [*report["server"], *report["verdicts"][0]["checks"]]
        return {each["subject"]: each for each in checks if each["subject"] in _SEEN_WITH_MORE}

    before = looked()
    grants = ["".join(each["hint"]).partition("grantRolesToUser(")[2] for each in before.values()]
    roles = [role for each in grants for role in json.loads(f"[{each.removesuffix(')')}]")[1]]
    admin.command("grantRolesToUser", "operator", roles=roles)
    after = looked()
    admin.command("revokeRolesFromUser", "operator", roles=roles)

    assert dict.fromkeys(_SEEN_WITH_MORE, "unknown") == {name: each["state"] for name, each in before.items()}
    assert "this user lacks dbStats and collStats on platform" in before["disk"]["found"]
    assert "local.oplog.rs" in before["oplog"]["found"]
    assert "unknown" not in {each["state"] for each in after.values()}


@pytest.mark.parametrize("name", ["rollback", "finalize"])
@pytest.mark.usefixtures("database")
def test_preflight_knows_what_a_cutover_has_changed(
    server: Server, command: Callable[..., tuple[int, str]], name: str
) -> None:
    """Behind a cut-over, its rollback and its end take privileges that they do not take before."""
    allow(server, roles=("readWrite", "dbAdmin"))
    assert command("migrate", *_PLACES)[0] in _DONE
    assert command("verify", *_PLACES)[0] == 0
    allow(server, roles=("readWrite",))
    before = command("preflight", "rollback", *_PLACES)[0]
    allow(server, roles=("readWrite", "dbAdmin"))
    assert command(*_CUTOVER)[0] in _DONE
    ready = command("preflight", name, *_PLACES)[0]
    allow(server, roles=("readWrite",))

    assert (0, 0, 5) == (before, ready, command("preflight", name, *_PLACES)[0])


@pytest.mark.parametrize(
    ("name", "arguments", "missing"),
    [
        ("migrate", ("migrate", *_PLACES), "insert"),
        ("migrate --in-place", ("migrate", "--in-place", "--source", "bookings"), "remove"),
        ("cutover", _CUTOVER, "collMod"),
        ("rollback", ("rollback", "--target", "clients", "--yes"), "dropCollection"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_is_refused_before_anything_is_written(
    server: Server,
    database: Db,
    command: Callable[..., tuple[int, str]],
    name: str,
    arguments: tuple[str, ...],
    missing: str,
) -> None:
    """The command refuses by the finding of preflight, with the grant, and has not even taken a lock."""
    if name in ("cutover", "rollback"):
        allow(server, roles=("readWrite", "dbAdmin"))
        assert command("migrate", *_PLACES)[0] in _DONE
        assert command("verify", *_PLACES)[0] == 0
    before = database.command("dbHash")["collections"]
    allow(server, actions=[action for action in task_of(name).actions if action != missing])
    code, errors = command(*arguments)
    said = " ".join(errors.split())

    assert 5 == code
    assert f"{name} is not ready: this user lacks on platform: {missing}" in said
    assert "Nothing was changed." in said
    assert 'db.getSiblingDB("admin").grantRolesToUser("operator"' in said
    assert before == database.command("dbHash")["collections"]


def test_without_changes_to_follow_it_is_not_refused(
    server: Server, database: Db, command: Callable[..., tuple[int, str]]
) -> None:
    """What only makes a command slower, or lets it do less, is named by preflight and prevents nothing."""
    actions = task_of("migrate").actions
    allow(server, actions=[action for action in actions if action != "changeStream"])

    assert 0 == command("preflight", "migrate", *_PLACES)[0]
    assert command("migrate", *_PLACES)[0] in _DONE
    assert database.clients.count_documents({})

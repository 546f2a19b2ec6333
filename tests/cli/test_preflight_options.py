"""What options of a command take beside what it takes: named by `preflight`, and in the role that it prints."""

import json
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.cli.conftest import Run
from tests.support.booking_lines import booking
from tests.support.server import Server, guarded_server

_DONE = (0, 3)
_PLACES = ("--source", "bookings", "--target", "clients")
_LEAVING = ("--rejected", "leave")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A replica set of one with access control, and a user whose roles each test sets."""
    with guarded_server(in_replica_set=True) as guarded:
        guarded.client().admin.command("createUser", "operator", pwd="secret", roles=[])
        yield guarded


@pytest.fixture
def command(server: Server, run: Run) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """A function that runs the program as the operator, and returns exit code, standard output and standard error."""
    server.client().platform.bookings.insert_many(map(booking, range(8)))
    uri = server.uri.replace("admin:secret", "operator:secret")

    def execute(*arguments: str) -> tuple[int, str, str]:
        done = run(*arguments, env={"MONGODB_URI": uri, "BOOKING_MIGRATE_DB": "platform"})
        return done.exit_code, done.stdout, done.stderr

    yield execute
    server.client().drop_database("platform")


def allow(server: Server, roles: Sequence[str]) -> None:
    """Let the operator have these roles on the database and no other ones."""
    granted = [{"role": role, "db": "platform"} for role in roles]
    server.client().admin.command("updateUser", "operator", roles=granted)


def test_options_that_take_a_privilege_more(
    server: Server, command: Callable[..., tuple[int, str, str]]
) -> None:
    """Without replSetGetStatus, migrate is ready and migrate --max-lag is not; so with --block-all-writes and cutover."""
    allow(server, ("readWrite", "dbAdmin"))
    asked = ("preflight", "migrate", *_PLACES)

    assert (0, 5) == (command(*asked)[0], command(*asked, "--max-lag", "10")[0])

    assert command("migrate", *_PLACES)[0] in _DONE
    assert command("verify", *_PLACES)[0] == 0
    going_live = ("preflight", "cutover", *_PLACES, *_LEAVING)

    assert (0, 5) == (command(*going_live)[0], command(*going_live, "--block-all-writes")[0])


def test_a_limit_of_the_lag_is_refused_with_both_ways(
    server: Server, command: Callable[..., tuple[int, str, str]]
) -> None:
    """Migrate --max-lag names the grant first, prints itself again, and without the option only under its condition."""
    allow(server, ("readWrite",))
    code, _, said = command("migrate", *_PLACES, "--max-lag", "10")
    lines = said.splitlines()

    assert 5 == code
    assert "this user may not run replSetGetStatus" in lines[0]
    assert "Nothing was changed." == lines[1]
    assert '"role": "clusterMonitor", "db": "admin"' in lines[3]
    assert "  booking-migrate preflight migrate --max-lag 10 --role" == lines[5]
    assert '[{"role": "booking_migrate_migrate_max_lag", "db": "admin"}]' in lines[7]
    assert "  booking-migrate migrate --source bookings --target clients --max-lag 10" == lines[9]
    assert "Or, if secondaries may fall behind, leave out --max-lag:" == lines[10]
    assert "  booking-migrate migrate --source bookings --target clients" == lines[11]
    assert [] == list(server.client().platform.booking_migrate_runs.find())


def test_the_role_for_a_kept_index(server: Server, command: Callable[..., tuple[int, str, str]]) -> None:
    """With --keep-index, the role for finalize may create an index, and a user who may not is told so; otherwise neither."""
    allow(server, ("readWrite", "dbAdmin"))
    assert command("migrate", "--in-place", "--source", "bookings")[0] in _DONE
    asked = ("preflight", "finalize", "--source", "bookings", "--role", "--json")
    roles = {more: json.loads(command(*asked, *more)[1])["role"] for more in ((), ("--keep-index",))}
    allow(server, ("read",))
    checks = json.loads(command(*asked, "--keep-index")[1])["verdicts"][0]["checks"]
    (lacking,) = (each for each in checks if each["subject"] == "privileges")

    assert "createIndex" not in roles[()]
    assert "createIndex" in roles[("--keep-index",)]
    assert "createIndex" in lacking["found"]
    assert "booking-migrate preflight finalize --keep-index --role" in "".join(lacking["hint"])


def test_each_role_can_be_created_beside_the_others(
    server: Server, command: Callable[..., tuple[int, str, str]]
) -> None:
    """The role of a command has a name of its own, also with an option that takes more: none is refused because another is there."""
    allow(server, ("readWrite", "dbAdmin"))
    options = {"migrate": ["--max-lag=10"], "cutover": ["--block-all-writes"], "finalize": ["--keep-index"]}
    asked = [(name, *more) for name, takes in options.items() for more in ([], takes)]
    places = (*_PLACES, *_LEAVING, "--role", "--json")
    shown = [json.loads(command("preflight", *each, *places)[1])["role"] for each in ((), *asked)]
    created = set()
    for each in shown:
        place, _, role = each.removeprefix("db.getSiblingDB(").partition(").runCommand(")
        database = server.client().get_database(json.loads(place))
        created.add(database.command(json.loads(role.removesuffix(")")))["ok"])

    assert {1.0} == created

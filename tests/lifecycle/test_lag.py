"""A lag of secondaries that cannot be measured is refused before anything is written."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from typer.testing import CliRunner

from booking_migrate.cli.app import app
from tests.support.booking_lines import booking
from tests.support.server import Server, environment_of, guarded_server

UNMEASURABLE = {
    "alone": "not running with --replSet",
    "unprivileged": "this user may not run replSetGetStatus",
}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """A server that stands alone, and a replica set whose user lacks the privilege; each by its connection string."""
    with ExitStack() as stack:
        alone = stack.enter_context(guarded_server())
        grouped = stack.enter_context(guarded_server(in_replica_set=True))
        for server in (alone, grouped):
            database = server.client()["shop"]
            database.bookings.insert_many(map(booking, range(8)))
            database.command("createUser", "writer", pwd="secret", roles=["readWrite"])
        yield {"alone": alone.uri, "unprivileged": _as_writer(grouped)}


def _as_writer(server: Server) -> str:
    return server.uri.replace("admin:secret", "writer:secret").replace("authSource=admin", "authSource=shop")


@pytest.mark.parametrize("target", ["clients.jsonl", "-"])
def test_a_file_has_no_lag(target: str) -> None:
    """With a target that is a file or a stream, the option is refused as a mistake, before anything is read."""
    arguments = ["migrate", "--source", "absent.jsonl", "--target", target, "--max-lag", "5"]
    ended = CliRunner().invoke(app, arguments)

    assert 2 == ended.exit_code
    assert "--max-lag: only a collection has secondaries that may lag behind" in ended.stderr


@pytest.mark.each_value
@pytest.mark.parametrize(
    "mode", [(), ("--in-place",), ("--in-place", "--without-transactions")], ids=" ".join
)
@pytest.mark.parametrize("kind", list(UNMEASURABLE))
def test_it_is_refused(servers: dict[str, str], kind: str, mode: tuple[str, ...]) -> None:
    """Side by side and in place, exit code 5 names the reason, the privilege and the option to leave out; nothing is written."""
    environment = environment_of(servers[kind], "shop")
    refused = CliRunner().invoke(app, ["migrate", *mode, "--max-lag", "5"], env=environment)
    status = CliRunner().invoke(app, ["status"], env=environment)

    assert 5 == refused.exit_code, refused.stderr
    assert UNMEASURABLE[kind] in refused.stderr
    assert "role clusterMonitor" in refused.stderr
    assert "leave out --max-lag" in refused.stderr
    assert "no run" in status.stdout.lower()


def test_without_the_option_nothing_is_measured(servers: dict[str, str]) -> None:
    """The same user may migrate without --max-lag."""
    environment = environment_of(servers["unprivileged"], "shop")
    done = CliRunner().invoke(app, ["migrate", "--target", "others"], env=environment)

    assert 0 == done.exit_code, done.stderr

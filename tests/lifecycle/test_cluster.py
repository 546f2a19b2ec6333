"""Chunks that the workers of a Dask cluster handle: the same bytes and counts, whoever ends, and no connection string in sight."""

import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from pymongo.database import Database

from booking_migrate.cli import open as opening
from booking_migrate.runs import cluster as pool
from tests.lifecycle.conftest import Command, Ended, comparable, contents
from tests.support.booking_lines import booking, client
from tests.support.bookings import ABSENT
from tests.support.cluster import Cluster, running_cluster
from tests.support.crews import kill_workers, main_with_workers, take_for_many
from tests.support.failpoints import Step
from tests.support.killed import killed_at

Db = Database[dict[str, Any]]
Run = Command

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "20", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
SECRET = "hide-and-seek"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for the tests that leave it as it is, and for the last one, which ends it."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster for one test, which ends a part of it."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with running_cluster(folder) as running:
        yield running


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The variables of a test, with something in the connection string that can be looked for."""
    uri = environment["MONGODB_URI"]
    path = "" if "?" in uri or uri.count("/") > 2 else "/"
    return {**environment, "MONGODB_URI": f"{uri}{path}{'&' if '?' in uri else '?'}appName={SECRET}"}


@pytest.fixture
def platform(database: Db) -> Db:
    """Plain clients, some whose people are looked up, rejected bookings, and a document that others wrote to the target."""
    database.bookings.insert_many(
        [
            *(booking(number, clientId=client(number % 20)) for number in range(200)),
            *(booking(300 + number, clientId=client(3 * number), currency="usd") for number in range(5)),
            *(booking(310 + number, clientId=client(4 * number), expertEmail=ABSENT) for number in range(4)),
            booking(320, clientId=None),
        ]
    )
    database.bookings.create_index("clientId")
    database.clients.insert_one({"_id": 1, "clientId": client(2), "sessions": []})
    return database


def told(ended: Ended) -> Mapping[str, Any]:
    """A report without what depends on the run and the time."""
    # Its commands repeat the options of the run.
    return comparable(ended.stdout, "next_steps")


def error_of(ended: Ended) -> tuple[int, str]:
    """Exit code and kind of an error."""
    return ended.returncode, json.loads(ended.stdout)["error"]["kind"]


def test_a_cluster_is_one_process(platform: Db, command: Run, cluster: Cluster) -> None:
    """Target, rejects and report are those of one process; a second time nothing is left to do; the way back leads home."""
    before = contents(platform)
    alone, expected = command.undisturbed(*MIGRATE, "--workers", "1")
    together = command(*MIGRATE, "--executor", cluster.executor)
    written = contents(platform)
    again = command(*MIGRATE, "--executor", cluster.executor)

    assert (3, 3, 3) == (alone.returncode, together.returncode, again.returncode), together.stderr
    assert told(alone) == told(together)
    assert (expected, expected) == (written, contents(platform))
    assert (False, 0) == (told(again)["changed"], told(again)["counts"]["migrated"])
    command(*ROLLBACK)
    assert before == contents(platform)


def test_nobody_sees_the_connection_string(platform: Db, command: Run, cluster: Cluster) -> None:
    """It is in no log, on no page of the scheduler, in no task, and in the end the scheduler has nothing of it left."""
    platform.bookings.insert_one(booking(400, clientId=client(30), notes=SECRET[::-1]))
    seen: list[str] = []
    submit = pool.ClusterPool.submit

    def look_around(self: Any, *arguments: Any, **named: Any) -> Any:
        result = submit(self, *arguments, **named)
        key = self._client.futures and next(iter(self._client.futures))
        seen.extend(cluster.page(path) for path in (*_PAGES, f"/info/task/{key}.html"))
        seen.append(repr(self._client.run_on_scheduler(_tasks)))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool.ClusterPool, "submit", look_around)
        ended = command(*MIGRATE, "--executor", cluster.executor)
    with Client(cluster.known["address"], set_as_default=False) as other:  # type: ignore[no-untyped-call]
        held = other.run_on_scheduler(_held)

    assert 3 == ended.returncode, ended.stderr
    assert any("booking-migrate-" in text for text in seen)
    assert any("<html" in text and cluster.executor.removeprefix("dask") in text for text in seen)
    for text in (*seen, cluster.logs(), ended.stderr, ended.stdout):
        assert SECRET not in text
        assert "mongodb://" not in text
    assert [] == [name for name in held if "booking-migrate" in name]


_PAGES = ("/info/main/workers.html", "/info/main/logs.html", "/json/counts.json", "/json/identity.json")


def _tasks(dask_scheduler: Any) -> list[Any]:
    """What the scheduler has of each task: its key, its description, and its arguments as they came."""
    return [
        (task.key, repr(task), task.group_key, pickle.dumps(task.run_spec))
        for task in dask_scheduler.tasks.values()
    ]


def _held(dask_scheduler: Any) -> list[str]:
    return [str(name) for name in (*dask_scheduler.worker_plugins, *dask_scheduler.tasks)]


@pytest.mark.parametrize("moment", ["half-written", pytest.param("handled", marks=pytest.mark.slow)])
def test_a_killed_worker_of_a_cluster(
    platform: Db,
    command: Run,
    own_cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    moment: str,
) -> None:
    """The chunk of a worker that is killed is handled by the other one."""
    alone, expected = command.undisturbed(*MIGRATE, "--workers", "1")
    kill_workers(monkeypatch, moment, tmp_path / "signs")
    together = command(*MIGRATE, "--executor", own_cluster.executor)

    assert 3 == together.returncode, together.stderr
    assert 1 == sum(worker.poll() is not None for worker in own_cluster.workers)
    assert told(alone) == told(together)
    assert expected == contents(platform)


def test_the_coordinating_process_of_a_cluster_is_killed(
    platform: Db,
    command: Run,
    cluster: Cluster,
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers that are still at it write nothing any more once another run has the lock, which completes the first one."""
    take_for_many(monkeypatch)
    alone, expected = command.undisturbed(*MIGRATE, "--workers", "1")
    executor = ("--executor", cluster.executor)
    code = killed_at(Step.CHUNK_TAKEN, 2, environment, *MIGRATE, *executor, main=main_with_workers)
    resumed = command(*MIGRATE, "--workers", "2")

    assert (-9, 3) == (code, resumed.returncode), resumed.stderr
    assert told(alone) == told(resumed)
    assert expected == contents(platform)


@pytest.mark.usefixtures("platform")
def test_what_is_refused(
    command: Run, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Workers of another version, no scheduler, a file, no packages: each refused with what helps, and nothing is written."""
    monkeypatch.setattr(pool, "_CONNECT_SECONDS", 1)
    absent = command(*MIGRATE, "--executor", "dask://127.0.0.1:9")
    to_file = command(*MIGRATE, "--executor", cluster.executor, "--rejects", str(tmp_path / "rejects.jsonl"))
    no_address = command(*MIGRATE, "--executor", "tcp://host")
    with monkeypatch.context() as patch:
        patch.setattr(pool, "__version__", "0.0.1")
        other = command(*MIGRATE, "--executor", cluster.executor)
    with monkeypatch.context() as patch:
        patch.setattr(opening, "find_spec", lambda _name: None)
        lacking = command(*MIGRATE, "--executor", cluster.executor)

    assert (10, "ClusterUnreachable") == error_of(absent)
    assert (5, "ClusterUnfit") == error_of(other)
    assert "and not 0.0.1" in other.stderr
    assert (2, "BadConfiguration") == error_of(to_file)
    assert 2 == no_address.returncode
    assert (2, "MissingExtra") == error_of(lacking)
    assert "pip install 'booking-migrate[distributed]'" in lacking.stderr


def test_a_killed_scheduler(
    platform: Db, command: Run, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails with an error that says so, and the same command completes it with local processes."""
    alone, expected = command.undisturbed(*MIGRATE, "--workers", "1")
    with monkeypatch.context() as patch:
        patch.setattr(pool, "_CONNECT_SECONDS", 2)
        submit = pool.ClusterPool.submit

        def kill_first(self: Any, *arguments: Any, **named: Any) -> Any:
            if next(self._numbers) == 2:
                cluster.scheduler.kill()
            return submit(self, *arguments, **named)

        patch.setattr(pool.ClusterPool, "submit", kill_first)
        failed = command(*MIGRATE, "--executor", cluster.executor)
    resumed = command(*MIGRATE)

    assert (1, "ClusterLost") == error_of(failed), failed.stderr
    assert 3 == resumed.returncode, resumed.stderr
    assert told(alone) == told(resumed)
    assert expected == contents(platform)

"""What the screen says in bad moments: from it alone, the next right command has to be clear."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
from pymongo.database import Database

from tests.support.forked import prepare_forking
from tests.support.scenes import Scene
from tests.support.server import (
    Server,
    free_port,
    guarded_server,
    start_mongod,
    temporary_folder,
)
from tests.support.situations import SITUATIONS
from tests.support.situations_access import GUARDED, STANDALONE
from tests.support.situations_config import CONFIGURED
from tests.support.situations_control import CONTROL
from tests.support.situations_references import REFERENCES

Check = Callable[[str, str], None]
Db = Database[dict[str, Any]]

prepare_forking()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A replica set with access control."""
    with guarded_server(in_replica_set=True) as running:
        yield running


@pytest.fixture(scope="module")
def alone() -> Iterator[Server]:
    """A server that is no replica set."""
    with temporary_folder() as folder:
        port = free_port()
        process = start_mongod(Path(folder), port, "--noauth")
        running = Server(f"mongodb://127.0.0.1:{port}/")
        try:
            yield running
        finally:
            running.close()
            process.kill()
            process.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: commands that name a file in it are wrapped at the same places every time."""
    with TemporaryDirectory(prefix="s") as name:
        yield Path(name)


def shown(name: str, scene: Scene, situations: Any, check: Check) -> None:
    """Compare what a situation shows with its golden file."""
    situations[name](scene)
    scene.server.client().drop_database(scene.database.name)
    check(f"situations/{name}.txt", scene.settled())


def scene_on(server: Server, folder: Path) -> Scene:
    """A scene in a database of its own."""
    return Scene(server, server.client()[f"test_{uuid4().hex[:16]}"], folder, server.uri)


@pytest.mark.parametrize("name", [*SITUATIONS, *CONFIGURED])
def test_on_a_replica_set(name: str, server: Server, folder: Path, check_golden: Check) -> None:
    """What happened, where, and the next command."""
    shown(name, scene_on(server, folder), {**SITUATIONS, **CONFIGURED}, check_golden)


@pytest.mark.parametrize("name", REFERENCES)
def test_with_references(name: str, server: Server, folder: Path, check_golden: Check) -> None:
    """What references to bookings forbid, and what comes first."""
    shown(name, scene_on(server, folder), REFERENCES, check_golden)


@pytest.mark.parametrize("name", CONTROL)
def test_around_a_running_command(name: str, server: Server, folder: Path, check_golden: Check) -> None:
    """What holds it back, and the command that ends that."""
    shown(name, scene_on(server, folder), CONTROL, check_golden)


@pytest.mark.parametrize("name", GUARDED)
def test_with_access_control(name: str, guarded: Server, folder: Path, check_golden: Check) -> None:
    """What the user may not do, and what is to be granted."""
    shown(name, scene_on(guarded, folder), GUARDED, check_golden)


@pytest.mark.parametrize("name", STANDALONE)
def test_on_a_standalone_server(name: str, alone: Server, folder: Path, check_golden: Check) -> None:
    """What such a server cannot do."""
    shown(name, scene_on(alone, folder), STANDALONE, check_golden)

"""What all tests share: a real MongoDB server, and a database of one's own in it."""

import gc
import os
import signal
import sys
import uuid
import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants
from pymongo.database import Database

from tests.support.server import Server, running_server

# No test depends on how fast the machine is, and the default run is the same every time. To search further:
# pytest --hypothesis-profile=thorough
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile("repeatable")

# Hypothesis also tries constants that it finds in the modules of the program which are loaded by then. A test that is run alone, or
# in another process, would have other examples; so these are for the search that goes further.
_constants_of_loaded_modules = providers._get_local_constants
providers._get_local_constants = lambda: (
    Constants() if settings().derandomize else _constants_of_loaded_modules()
)

# A process of the tests holds hundreds of thousands of objects of modules and collected tests. Looking for cycles among them, as
# often as Python does, took a tenth of its time.
_COLLECTED_AFTER = 20_000
gc.set_threshold(_COLLECTED_AFTER)

# Tests start thousands of programs. A shell that keeps Python from storing bytecode would have each of them compile the package
# anew, which took a fifth of a second each.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# It takes as long as all that would come behind it: one process would work on it in the end, and the others wait.
_LONGEST = ("simulation", "test_model.py")

# Tests send these to programs that they start, which inherit what a shell has ignored for a command in the background.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files of tests/golden anew"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest file first; mark as slow what `each_value` leaves out: enough of a matrix stays for every value of every axis."""
    items.sort(key=lambda item: item.path.parts[-2:] != _LONGEST)
    matrices: defaultdict[str, list[pytest.Function]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("each_value"):
            matrices[item.nodeid.partition("[")[0]].append(item)
    for cases in matrices.values():
        # In an order that is the same in every process and looks like chance, so that values meet others.
        left = {
            case: {(axis, id(value)) for axis, value in case.callspec.params.items()}
            for case in sorted(cases, key=lambda each: (zlib.crc32(each.name.encode()), each.name))
        }
        unseen = set().union(*left.values())
        while unseen:
            # Of those that have the most values that no other one has yet, the first.
            unseen -= left.pop(max(left, key=lambda each: len(left[each] & unseen)))
        for case in left:
            case.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Let the garbage collector never look at what stays until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A real server, started when the first test asks for it and stopped at the end of the run."""
    with running_server(is_journal_awaited=False) as running:
        yield running


@pytest.fixture
def database(server: Server) -> Iterator[Database[dict[str, Any]]]:
    """A database that nobody else uses; dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    client = server.client()
    yield client[name]
    client.drop_database(name)
    answer = client.admin.command({"getParameter": 1, "failpoint.failCommand": 1})
    assert 0 == answer["failpoint.failCommand"]["mode"], "a fail point is left, and would break another test"


@pytest.fixture
def server_uri(server: Server) -> str:
    """The connection string of the real server."""
    return server.uri

"""The workers of a Dask cluster, in the place of local processes. The scheduler is an existing one; only its client is here.

What all tasks have in common, with the connection string, goes to the workers in a plugin, which the scheduler passes on to workers
that join later. So it is in no task, in no key and in no log. Task keys have the run and a number, and nothing else.

The scheduler gives a task again whose worker it has lost, perhaps while that one still works on it: tasks must allow for both.
"""

import logging
import platform
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, Generic, NamedTuple, ParamSpec, Self, TypeVar

import dask
import distributed
from distributed import KilledWorker, WorkerPlugin
from distributed.comm.core import CommClosedError
from typing_extensions import override

from booking_migrate import __version__
from booking_migrate.errors import ClusterLost, ClusterUnfit, ClusterUnreachable, WorkerLost
from booking_migrate.events import Event
from booking_migrate.runs.workers import Pool, Preparation
from booking_migrate.stores.waits import WAITS

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_UNTYPED: Any = distributed
"""Most of Dask has no types."""

_CONNECT_SECONDS = 10
_LOGGERS = ("distributed", "distributed.client", "distributed.core", "distributed.worker")


class Identity(NamedTuple):
    """What must be equal in all processes of a run."""

    version: str
    python: str
    driver: str
    code: str
    """A digest of the program's source: different builds may have the same version."""

    def differences(self, other: "Identity") -> list[str]:
        """Return the differences to another process, each in a few words."""
        return [
            f"{name} {theirs} and not {ours}"
            for name, ours, theirs in zip(
                ("booking-migrate", "Python", "pymongo", "code"), self, other, strict=True
            )
            if ours != theirs
        ]


def identity() -> Identity:
    """Return the identity of this process."""
    root = Path(__file__).parents[1]
    digest = sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    driver: str = import_module("pymongo").version
    python = ".".join(platform.python_version_tuple()[:2])
    return Identity(__version__, python, driver, digest.hexdigest()[:12])


class _Prepared(WorkerPlugin):
    """Prepares each worker, and cleans up at the end."""

    def __init__(self, expected: Identity, preparation: Preparation) -> None:
        self._expected = expected
        self._preparation = preparation

    def setup(self, worker: object) -> None:  # noqa: ARG002 - the signature of Dask
        """Prepare this worker if it is fit: it may have joined after the check at the start."""
        if identity() == self._expected:
            self._preparation.work()

    def teardown(self, worker: object) -> None:  # noqa: ARG002 - the signature of Dask
        """Clean up."""
        self._preparation.undo()


class ClusterPool(Pool):
    """Submits tasks to the workers of a cluster."""

    def __init__(self, address: str) -> None:
        """Connect to a scheduler, and check its workers.

        Raises:
            ClusterUnreachable: the scheduler does not answer.
            ClusterUnfit: it has no workers, or they run another version.
        """
        for name in _LOGGERS:
            # What Dask would say to standard error comes as an error of our own.
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._address = address
        scheme = "tls" if dask.config.get("distributed.comm.require-encryption") else "tcp"
        place = address.replace("dask", scheme, 1)
        try:
            self._client: Any = _UNTYPED.Client(place, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterUnreachable(address, str(error).partition("\n")[0] or type(error).__name__) from None
        try:
            self.workers = self._check()
        except BaseException:
            self._client.close()
            raise
        self._prepared: list[str] = []
        self._numbers = count()

    def _check(self) -> int:
        """Check each worker; return how many threads they have together."""
        threads: Mapping[str, int] = self._client.nthreads()
        if not threads:
            raise ClusterUnfit(self._address, "it has no workers")
        ours = identity()
        found: Mapping[str, Any] = self._client.run(identity, on_error="return")
        for worker, theirs in sorted(found.items()):
            if isinstance(theirs, BaseException):
                problem = f"{worker} cannot import this program: {type(theirs).__name__}: {theirs}"
                raise ClusterUnfit(self._address, problem)
            if differences := ours.differences(Identity(*theirs)):
                raise ClusterUnfit(self._address, f"{worker} has {', '.join(differences)}")
        return sum(threads.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Have the workers forget what they were prepared with, and leave the cluster."""
        if not isinstance(error, ClusterLost):
            # Tasks in progress are completed before that returns; queued tasks are not begun.
            with suppress(OSError, TimeoutError, CommClosedError, CancelledError):
                for name in self._prepared:
                    self._client.unregister_worker_plugin(name)
        self._client.close(timeout=_CONNECT_SECONDS)

    @property
    @override
    def is_ready(self) -> bool:
        return True

    @override
    def prepare(self, preparation: Preparation) -> None:
        self._prepared.append(preparation.name)
        self._client.register_plugin(_Prepared(identity(), preparation), name=preparation.name)

    @override
    def submit(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> "ClusterResult[Result]":
        # Every user of the cluster sees the key.
        key = f"{self._prepared[-1]}-{next(self._numbers):06d}"
        future = self._client.submit(with_events, work, *args, key=key, pure=False, **kwargs)
        return ClusterResult(future, self._address)


def with_events(
    work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> tuple[Result, tuple[Event, ...]]:
    """Return the result of some work in a worker, and what stores have noted in that process since the last one."""
    result = work(*args, **kwargs)
    return result, tuple(WAITS.take_events())


class ClusterResult(Generic[Result]):
    """The result of a task, in the manner of `concurrent.futures.Future`."""

    def __init__(self, future: Any, address: str) -> None:
        """Take the cluster's own future, of `with_events`."""
        self._future = future
        self._address = address

    def done(self) -> bool:
        return bool(self._future.done())

    def result(self) -> Result:
        """Wait for the result, and note what the worker has noted.

        Raises:
            WorkerLost: the workers that had the task have ended.
            ClusterLost: the scheduler does not answer any more.
        """
        try:
            outcome: tuple[Result, tuple[Event, ...]] = self._future.result()
        except KilledWorker:
            raise WorkerLost from None
        except (CommClosedError, CancelledError, OSError, TimeoutError) as error:
            raise ClusterLost(self._address, type(error).__name__) from None
        result, events = outcome
        for event in events:
            WAITS.note(event)
        return result

    def exception(self) -> BaseException | None:
        try:
            self.result()
        except Exception as error:  # noqa: BLE001 - it is returned
            return error
        return None

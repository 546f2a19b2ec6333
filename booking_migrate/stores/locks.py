"""The port of the locks, one a target: who works on it, for how long, and the fencing token. The docstrings are promises."""

from datetime import datetime
from typing import NamedTuple, Protocol


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


class LockStore(Protocol):
    """Locks with an expiry by the server's clock, one a target.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server cannot be asked (any method).
    """

    def acquire(self, name: str, holder: Holder, seconds: float) -> Lease:
        """Take a lock that is free, or whose holder is dead or has not renewed it for longer than its lease.

        Raises:
            TargetBusy: another process holds it.
        """

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Prolong a lease; return False if it was taken over. Not durable by itself: what is written after it is."""

    def holds(self, lease: Lease) -> bool:
        """Return whether a lease was neither taken over nor released, for a process that works for its holder. Only reads (majority)."""

    def request_hand_over(self, name: str, holder: Holder | None) -> None:
        """Ask the holder of a lock to release it; whether it does is up to it. None withdraws the request."""

    def requested_by(self, lease: Lease) -> Holder | None:
        """Return who asked for a lock since it was taken; None without a request."""

    def look(self, name: str) -> HeldLockView | None:
        """Return who holds a lock, or held it last; None if it was never held. Only reads."""

    def release(self, lease: Lease, *, waits: bool = True) -> None:
        """Free a lock, unless another process has taken it over.

        Args:
            lease: what `acquire` returned.
            waits: whether to wait until that is durable.
        """

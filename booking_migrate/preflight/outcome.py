"""What a preflight found: checks, and a verdict on each command."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What a check means for its command. The values are an API."""

    FINE = "fine"
    UNKNOWN = "unknown"
    """The server does not say; that alone stops nothing."""

    CAUTION = "caution"
    OBSTACLE = "obstacle"
    """The command would be refused, or would fail."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    subject: str
    """A stable name."""

    state: State
    found: str
    hint: str = ""
    """What helps; empty if nothing has to be done."""


@dataclass(frozen=True, slots=True)
class CommandVerdict:
    """Whether a command can run."""

    command: str
    checks: tuple[Check, ...]
    row: str
    """Its row in the table of privileges (`runs.privileges.TASKS`)."""

    @property
    def ready(self) -> bool:
        """Return whether nothing prevents it."""
        return all(check.state is not State.OBSTACLE for check in self.checks)


@dataclass(frozen=True, slots=True)
class PreflightOutcome:
    """What was found."""

    server: tuple[Check, ...]
    """What holds for all commands."""

    verdicts: tuple[CommandVerdict, ...]

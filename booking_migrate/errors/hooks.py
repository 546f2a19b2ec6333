"""A hook of the user's said no, or failed: exit code 5 before a step, 1 after it."""

from dataclasses import dataclass

from booking_migrate.errors.base import Refused, Unexpected


@dataclass(eq=False)
class StoppedByHook(Refused):
    """The hook that runs before a step failed, so the step was not taken."""

    hook: str
    problem: str

    @property
    def message(self) -> str:
        return f"the hook {self.hook} failed: {self.problem}"

    @property
    def hint(self) -> str:
        return "Nothing was changed. See to what the hook asks for, and run the same command again."


@dataclass(eq=False)
class HookFailed(Unexpected):
    """The hook that runs after a step failed; the step itself is done."""

    command: str
    hook: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.command} is done, but its hook {self.hook} failed: {self.problem}"

    @property
    def hint(self) -> str:
        return f"What {self.command} did stands; only what the hook does is missing."

"""A step is done, but what it says about itself could not be written: exit code 6."""

from dataclasses import dataclass

from booking_migrate.errors.base import OutputProblem


@dataclass(eq=False)
class OutputFailed(OutputProblem):
    """A report or another output of a command cannot be written; what the command did stands."""

    command: str
    output: str
    """What is missing: ``report``, ``plan``."""

    place: str
    problem: str
    is_done: bool = True
    """Whether the command itself did what it was asked for."""

    @property
    def message(self) -> str:
        ended = "is done" if self.is_done else "ended with an error"
        return (
            f"{self.command} {ended}; its {self.output} could not be written to {self.place}: {self.problem}"
        )

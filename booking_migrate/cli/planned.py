"""``migrate --plan``: keep to what ``dry-run --plan`` has saved."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer
from pydantic import ValidationError

from booking_migrate.cli.next_steps import similar_command
from booking_migrate.cli.options import RULES
from booking_migrate.cli.parameters import Group, option
from booking_migrate.errors import BadConfiguration, PlanDiffers
from booking_migrate.events import Announced, Listener, Warned
from booking_migrate.runs.plan import ExpectedCounts, SavedPlan


@dataclass(frozen=True, slots=True)
class PlanOptions(Group, panel=RULES):
    """A plan to keep to."""

    plan: Path | None = option(
        None,
        "Refuse unless options and files are still those of this plan, which dry-run --plan saved.",
        metavar="FILE",
    )
    plan_tolerance: float | None = option(
        None,
        "With --plan: refuse, too, if the source has more or fewer documents than planned, by more than this percentage.",
        metavar="PERCENT",
        min=0,
        show_default="changes are only reported",
    )

    def check(
        self, current: Callable[[], SavedPlan], listener: Listener, ctx: typer.Context
    ) -> ExpectedCounts | None:
        """Refuse to migrate other than planned, and warn of what has changed in the collections since.

        Args:
            current: returns what would be migrated now.
            listener: is notified of what was expected, and of what has changed.
            ctx: has the options that a new plan takes, too.

        Returns:
            What the plan expects; None without a plan, or if it was made of a sample.

        Raises:
            PlanDiffers: options, contract or files are no longer those of the plan, or a collection has changed too much.
            BadConfiguration: the file is not a plan, or a tolerance was set without one.
        """
        if self.plan is None:
            if self.plan_tolerance is not None:
                raise BadConfiguration("--plan-tolerance", "it needs --plan")
            return None
        saved = _read(self.plan)
        now = current()
        if differences := saved.differences(now, self.plan_tolerance):
            command = similar_command(ctx, "dry-run", "--plan", shlex.quote(str(self.plan)))
            raise PlanDiffers(str(self.plan), differences, command)
        if saved.expected is not None:
            listener.notify(Announced(f"{self.plan} expects {saved.expected}"))
        for change in saved.changes(now):
            listener.notify(Warned(f"since {self.plan} was made, {change}"))
        return saved.expected


def _read(path: Path) -> SavedPlan:
    try:
        return SavedPlan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadConfiguration("--plan", f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        problem = f"{path} is not a plan of this version: {where}: {first['msg']}"
        raise BadConfiguration("--plan", problem) from error

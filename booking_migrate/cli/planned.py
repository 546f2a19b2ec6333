"""``migrate --plan``: keep to what ``dry-run --plan`` has saved."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer
from pydantic import ValidationError

from booking_migrate.cli.next_steps import same_command, similar_command
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
            as_planned = _as_planned(saved, now, ctx, only=len(differences))
            raise PlanDiffers(str(self.plan), differences, command, as_planned)
        if saved.expected is not None:
            listener.notify(Announced(f"{self.plan} expects {saved.expected}"))
        for change in saved.changes(now):
            listener.notify(Warned(f"since {self.plan} was made, {change}"))
        return saved.expected


def _as_planned(saved: SavedPlan, now: SavedPlan, ctx: typer.Context, *, only: int) -> str:
    """Return the same command with the options of a plan; empty if more has changed than options with one value each.

    Args:
        saved: the plan.
        now: what would be migrated.
        ctx: has the words of the command.
        only: how many differences there are.
    """
    mine, others = saved.facts(), now.facts()
    unlike = {
        f"--{name}": mine.get(name) for name in {**mine, **others} if mine.get(name) != others.get(name)
    }
    known = {option for parameter in ctx.command.params for option in parameter.opts}
    is_plain = all(type(value) in (str, int) and value != "" for value in unlike.values())
    if len(unlike) != only or not is_plain or not unlike.keys() <= known:
        return ""
    return same_command(ctx, shlex.join(str(word) for pair in unlike.items() for word in pair)) or ""


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

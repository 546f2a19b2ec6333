"""The command ``view``: a collection in the other shape, for readers that expect it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from booking_migrate.cli import run
from booking_migrate.cli.options import (
    PLACES,
    RULES,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    source_option,
)
from booking_migrate.cli.parameters import Group, option
from booking_migrate.reports.lifecycle_outcomes import report_of_view
from booking_migrate.reports.model import Report
from booking_migrate.stores.connection import PeopleNames, Shape, open_views
from booking_migrate.stores.places import DEFAULT_EXPERTS, DEFAULT_USERS

HELP = """
No document is written. By default the view shows client documents in the old shape: one document per booking, with its
old _id and its old fields, so that readers that have not been changed yet keep working; old bookings that are not
migrated yet pass as they are. With --new-shape it shows old bookings in the new shape, one document per client, so that
a new frontend can be tried before anything is written.

A view checks no contract, and the server works it out at each query, from the whole collection.

\b
[bold]Examples[/bold]
  For readers of the old shape, from before a cut-over on, or in place:
    MONGODB_URI=mongodb://localhost booking-migrate view create --name bookings_flat --db shop
  For a new frontend, before anything is migrated:
    booking-migrate view create --new-shape --name clients_preview --source bookings
  When it is not needed any more:
    booking-migrate view drop --name bookings_flat
"""


class Action(StrEnum):
    """What is to be done about the view."""

    CREATE = "create"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class ViewOptions(Group, panel=PLACES):
    """Which view is meant."""

    name: str = option(..., "The name of the view.", metavar="NAME")
    source: str = source_option()
    new_shape: bool = option(
        False,
        "Show old bookings in the new shape, instead of client documents in the old one.",
        panel=RULES,
    )


def view(
    ctx: typer.Context,
    action: Annotated[Action, typer.Argument(help="What to do.", show_default=False)],
    *,
    given: ViewOptions,
    connection: ConnectionOptions,
    people: PeopleOptions,
    output: OutputOptions,
) -> None:
    source, name = given.source, given.name
    fields = PeopleNames(people.users or DEFAULT_USERS, people.experts or DEFAULT_EXPERTS, people.fields)
    shape = Shape.NEW if given.new_shape else Shape.OLD

    def body(context: run.RunContext) -> Report:
        with connection.open() as opened:
            views = open_views(opened, source=source, name=name)
            match action:
                case Action.CREATE:
                    changed = views.create(name, shape, fields)
                case Action.DROP:
                    changed = views.drop(name)
        return report_of_view(
            run_id=context.run_id,
            source=source,
            name=name,
            shape=None if action is Action.DROP else shape,
            changed=changed,
            seconds=context.seconds,
        )

    run.execute(run.Invocation(ctx, output, connection.uri, source, name, (source, name)), body)

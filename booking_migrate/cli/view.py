"""The command ``view``: a collection in the other shape, for readers that expect it."""

from contextlib import closing
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from booking_migrate.cli import options, run
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.printed_commands import GivenOptions
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.views import PeopleNames, Shape

if TYPE_CHECKING:
    from booking_migrate.events import Listener
    from booking_migrate.reports.model import Report

HELP = filled("""
Create or drop a read-only view that shows a collection in the other shape. No document is written.

By default it shows client documents in the old shape: one document per booking, with its old _id and its old fields, so
that readers that have not been changed yet keep working; old bookings that are not migrated yet pass as they are. With --new-shape
it shows old bookings in the new shape, one document per client, so that a new frontend can be tried before anything is written.

A view checks no contract, and the server works it out at each query, from the whole collection.

\b
[bold]Examples[/bold]
  For readers of the old shape, after or during migrate --in-place:
    MONGODB_URI=mongodb://localhost booking-migrate view create --name bookings_flat --db shop
  For a new frontend, before anything is migrated:
    booking-migrate view create --new-shape --name clients_preview --source bookings
  When nobody needs it any more:
    booking-migrate view drop --name bookings_flat
""")


class Action(StrEnum):
    """What is to be done about the view."""

    CREATE = "create"
    DROP = "drop"


Name = Annotated[str, options.option("--name", panel="Places", metavar="NAME", help="The name of the view.")]
NewShape = Annotated[
    bool,
    options.option(
        "--new-shape",
        panel="What may pass",
        help="Show old bookings in the new shape, instead of client documents in the old one.",
    ),
]
ActionArgument = Annotated[Action, typer.Argument(help="What to do.", show_default=False)]


def view(
    ctx: typer.Context,
    action: ActionArgument,
    *,
    name: Name,
    source: options.Source = "bookings",
    new_shape: NewShape = False,
    uri: options.Uri = None,
    db: options.Db = None,
    users: options.Users = None,
    experts: options.Experts = None,
    user_id_field: options.UserIdField = "user_id",
    user_email_field: options.UserEmailField = "email",
    expert_user_field: options.ExpertUserField = "userId",
    json: options.Json = False,
    report: options.Reports = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to the views' store."""
    asked = run.Invocation(
        command="view",
        source=source,
        target=name,
        places=[str(place) for place in (source, name, config) if place is not None],
        uri=uri,
        json=json,
        reports=tuple(report or ()),
        quiet=quiet,
        verbose=verbose,
        given=GivenOptions.of(ctx),
    )
    people = PeopleNames(
        users or "users", experts or "experts", user_id_field, user_email_field, expert_user_field
    )
    shape = Shape.NEW if new_shape else Shape.OLD

    def body(run_id: str, _listener: "Listener") -> "Report":
        # Here and not above: stores and engine are not needed to print help.
        from booking_migrate.reports.life.model import report_of_view  # noqa: PLC0415
        from booking_migrate.stores.open_views import open_views  # noqa: PLC0415

        began = monotonic()
        with closing(Connection(uri, db)) as connection:
            views = open_views(connection, source=source, name=name)
            is_dropped = action is Action.DROP
            changed = views.drop(name) if is_dropped else views.create(name, shape, people)
        return report_of_view(
            run_id=run_id,
            source=source,
            name=name,
            shape=None if is_dropped else shape,
            changed=changed,
            seconds=monotonic() - began,
        )

    run.execute(asked, body)

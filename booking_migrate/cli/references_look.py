"""What `cutover` and `finalize` look at before they continue: other collections that hold ids of old bookings."""

import shlex
from collections.abc import Iterator, Sequence

import typer

from booking_migrate.cli.references_config import references_of
from booking_migrate.errors import NotPermitted, OldIdsNotIndexed, ReferencesRemain
from booking_migrate.events import Listener, Warned
from booking_migrate.references.remaining import RemainingField, remaining_references, sampled_fields
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open_references import open_references

_SHOWN = 10


def warn_of_references(connection: Connection, *, source: str, target: str, listener: Listener) -> None:
    """Name the fields of other collections whose ids find no document any more after the cut-over, as samples show."""
    opened = open_references(connection, source=source, target=target)
    try:
        fields = sampled_fields(opened.others, opened.referring, opened.ids, listener)
    except NotPermitted as error:
        listener.notify(Warned(f"references from other collections were not looked for: {error.message}"))
        return
    if not fields:
        return
    places = shlex.join(["--source", source, "--target", target])
    listener.notify(
        Warned(
            f"other collections hold ids of bookings, which find no document after the cut-over: {_named(fields)} (seen in samples); "
            f"to find all of them: booking-migrate references find {places}"
        )
    )


def refuse_remaining(
    ctx: typer.Context, connection: Connection, *, source: str, target: str, listener: Listener
) -> None:
    """Refuse to remove `legacyBookingId` while references need it.

    Raises:
        ReferencesRemain: fields still hold ids of old bookings.
        BadConfiguration: a table of the config file is wrong.
        ConnectionProblem, NotPermitted: a field that the config file names cannot be read.
    """
    opened = open_references(connection, source=source, target=target)
    try:
        found = remaining_references(
            references_of(ctx), opened.others, opened.referring, opened.ids, listener=listener
        )
    except OldIdsNotIndexed as error:
        # Only behind the drop of the old bookings: an earlier finalize has looked, and is continued.
        listener.notify(Warned(f"references from other collections were not looked for: {error.message}"))
        return
    if found:
        run_id = None if opened.run is None else opened.run.run_id
        raise ReferencesRemain([each.full_name for each in found], list(_rewrites(found, run_id)))


def _rewrites(found: Sequence[RemainingField], run_id: str | None) -> Iterator[str]:
    """Yield the commands that rewrite fields: those of the config file, and those that it does not name."""
    words = ["booking-migrate", "references", "rewrite", *([] if run_id is None else ["--run", run_id])]
    if any(each.is_named for each in found):
        yield shlex.join(words)
    others = [each.full_name for each in found if not each.is_named]
    if others:
        yield shlex.join([*words, *(word for name in others for word in ("--field", name))])


def _named(fields: Sequence[str]) -> str:
    more = len(fields) - _SHOWN
    return ", ".join(fields[:_SHOWN]) + (f" and {more} more" if more > 0 else "")

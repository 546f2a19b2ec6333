"""What `cutover` and `finalize` look at before they continue: other collections that hold ids of old bookings."""

import shlex
from collections.abc import Iterator, Sequence

import typer

from booking_migrate.cli.references_config import references_of
from booking_migrate.errors import NotPermitted, OldIdsNotIndexed, ReferencesRemain
from booking_migrate.events import Listener, Warned
from booking_migrate.references.remaining import (
    RemainingField,
    Unseen,
    Why,
    remaining_references,
    sampled_fields,
)
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open_references import open_references

_SHOWN = 10


def warn_of_references(
    connection: Connection, *, source: str, target: str, keeps_index: bool, listener: Listener
) -> tuple[str, ...]:
    """Name the fields of other collections whose ids find no document by `_id` any more after the cut-over, and return them."""
    fields = look_for_references(connection, source=source, target=target, listener=listener)
    if not fields:
        return ()
    places = shlex.join(["--source", source, "--target", target])
    then = (
        "their sessions by sessions.legacyBookingId, whose index is kept"
        if keeps_index
        else "their sessions by sessions.legacyBookingId only (--keep-index makes sure of an index)"
    )
    listener.notify(
        Warned(
            f"other collections hold ids of bookings, which after the cut-over find no document by _id, but {then}: "
            f"{_named(fields)} (seen in samples); to find all of them: booking-migrate references find {places}"
        )
    )
    return fields


def look_for_references(
    connection: Connection, *, source: str, target: str, listener: Listener
) -> tuple[str, ...]:
    """Return the fields of other collections that hold ids of bookings, as samples show; why they were not looked for is said."""
    opened = open_references(connection, source=source, target=target)
    try:
        return sampled_fields(opened.others, opened.referring, opened.ids, listener).fields
    except (NotPermitted, OldIdsNotIndexed) as error:
        listener.notify(Warned(f"references from other collections were not looked for: {error.message}"))
        return ()


def refuse_remaining(
    ctx: typer.Context, connection: Connection, *, source: str, target: str, listener: Listener
) -> tuple[Unseen, ...]:
    """Refuse to remove `legacyBookingId` while references need it; return, and say, where they were not looked for.

    Raises:
        ReferencesRemain: fields still hold ids of old bookings.
        BadConfiguration: a table of the config file is wrong.
        ConnectionProblem, NotPermitted: a field that the config file names cannot be read.
    """
    opened = open_references(connection, source=source, target=target)
    try:
        found = remaining_references(
            references_of(ctx),
            opened.others,
            opened.inspector.time_series(),
            opened.referring,
            opened.ids,
            listener=listener,
        )
    except OldIdsNotIndexed as error:
        # Only behind the drop of the old bookings: an earlier finalize has looked, and is continued.
        listener.notify(Warned(f"references from other collections were not looked for: {error.message}"))
        return (Unseen(Why.NO_INDEX),)
    listener.notify(Warned(f"not looked at for old ids: {unseen_in_words(found.unseen)}"))
    if found.fields:
        run_id = None if opened.run is None else opened.run.run_id
        names = [each.full_name for each in found.fields]
        is_all = {each.why for each in found.unseen} == {Why.FIELD_NAMES}
        unsure = "field names" if is_all else "the places that it names"
        raise ReferencesRemain(names, list(_rewrites(found.fields, run_id)), unsure)
    return found.unseen


def unseen_in_words(unseen: Sequence[Unseen]) -> str:
    """Return where ids of old bookings were not looked for."""
    return "; ".join(map(str, unseen))


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

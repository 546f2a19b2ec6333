"""The tables ``[[references]]`` of the config file, made of what a search found."""

from collections.abc import Iterator

from booking_migrate.bson.format import one_line
from booking_migrate.init.config_text import quoted
from booking_migrate.quantities import grouped
from booking_migrate.references.outcome import FindOutcome, FoundField

_HEAD = """\
# Fields that hold ids of bookings, one table each. Look at every one of them before a rewrite: `to` is "session" or
# "client-document"; `add` sets fields beside it; `when` says which values are meant; `exclude = true` leaves it as it is.
"""


def references_text(outcome: FindOutcome) -> str:
    """Return the section; it ends with a line end, and is empty of tables if nothing was found."""
    lines = [line for each in outcome.fields for line in ("", *_table(each))]
    return _HEAD + "".join(f"{line}\n" for line in lines)


def _table(found: FoundField) -> Iterator[str]:
    forms = ", ".join(f"{form} {grouped(count)}" for form, count in found.forms.items())
    yield f"# {grouped(found.hits)} of {grouped(found.values)} values are ids of bookings: {forms}."
    if new := found.sessions + found.client_documents:
        yield f"# {grouped(new)} of the others are new ids already, of sessions or client documents."
    if found.condition is not None:
        yield (
            f"# {grouped(found.condition.others)} of the others that were looked at have another "
            f"{one_line(found.condition.field)}."
        )
    for obstacle in found.obstacles:
        yield f"# {one_line(obstacle.name)}: {one_line(obstacle.detail)}"
    yield "[[references]]"
    yield f"collection = {quoted(found.collection)}"
    yield f"field = {quoted(found.field)}"
    yield 'to = "session"'
    if found.condition is not None:
        values = [quoted(value) for value in found.condition.values]
        shown = values[0] if len(values) == 1 else f"[{', '.join(values)}]"
        yield f"when = {{ {quoted(found.condition.field)} = {shown} }}"

"""The text of the config file: each line with the reason for it, and what could not be decided first."""

from collections.abc import Iterator

from booking_migrate.bson.format import one_line
from booking_migrate.init.outcome import InitOutcome, Setting
from booking_migrate.quantities import agreed, grouped, plural

_ESCAPED = {'"': '\\"', "\\": "\\\\"}
_BASIC_PLANE = 0xFFFF


def config_text(outcome: InitOutcome, database: str, host: str) -> str:
    """Return the config file.

    Args:
        outcome: what was found.
        database: the database, for the heading.
        host: the servers, for the heading, without credentials.
    """
    return "\n".join(_lines(outcome, database, host)) + "\n"


def _lines(outcome: InitOutcome, database: str, host: str) -> Iterator[str]:
    found = outcome.bookings
    yield f"# Made by booking-migrate init from database {one_line(database)} at {one_line(host)} ({outcome.server})."
    yield "# An option on the command line and an environment variable win over this file. The connection string"
    yield "# does not belong here, because it may hold a password: set MONGODB_URI."
    yield "#"
    sampled = agreed(f"{grouped(found.sampled)} {{booking was|bookings were}}", found.sampled)
    orders = plural(found.layouts, "different set or order", "different sets or orders")
    yield f"# {sampled} sampled: {orders} of fields."
    if found.first_generation:
        yield f"# {grouped(found.first_generation)} of them have neither user ids nor emails, which are looked up."
    if found.unknown_fields:
        yield f"# Fields that are carried unchanged: {', '.join(map(one_line, found.unknown_fields))}."
    for reference in outcome.references:
        yield (
            f"# {reference.collection}.{reference.field} holds ids of bookings ({grouped(reference.hits)} of "
            f"{grouped(reference.sampled)} sampled values)."
        )
    if outcome.unreadable:
        yield f"# Not looked at, because this user may not read them: {', '.join(outcome.unreadable)}."
    if outcome.undecided:
        yield "#"
        yield "# TO DECIDE, by taking out the # before one line of each:"
        yield from (f"#   {one_line(each)}" for each in outcome.undecided)
    table = ""
    for setting in outcome.settings:
        if setting.table != table:
            table = setting.table
            yield ""
            yield f"[{table}]"
        yield ""
        yield f"# {setting.reason}."
        yield line_of(setting)


def line_of(setting: Setting) -> str:
    """Return the line of a setting."""
    value = setting.value
    text = quoted(value) if isinstance(value, str) else f"[{', '.join(map(quoted, value))}]"
    return f"{'' if setting.is_set else '# '}{setting.key} = {text}"


def quoted(text: str) -> str:
    """Return a text as a basic string of TOML."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= _BASIC_PLANE else f"\\U{code:08x}"

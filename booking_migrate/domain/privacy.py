"""Which values of documents reports may show: those that say nothing about a person, and are needed to understand the data.

User ids, email addresses, links and free text are personal, and so may be any field that the contract does not know, and any text
that is added to it. Of those, reports show the type and the length.
"""

from typing import Any

from booking_migrate.bson.document import Opaque
from booking_migrate.bson.format import describe, shorten, type_name
from booking_migrate.domain.contract import RESERVED, RULES, TOTALS, Constraint
from booking_migrate.domain.kinds import Kind
from booking_migrate.quantities import plural

_PUBLIC_TEXTS = frozenset({"startTime", "endTime", "paymentMethod"})
"""Texts of any value that are public; of the others only those whose values are listed in the contract."""

_OWN = frozenset({"_id", "__v", *TOTALS, *RESERVED})
_LONGEST = 40


def is_public(name: str) -> bool:
    """Return whether a field's values may be shown."""
    if name in _OWN or name in _PUBLIC_TEXTS:
        return True
    field = RULES.get(name)
    if field is None:
        return False
    match field.kind:
        case Kind.STRING:
            return any(rule.constraint is Constraint.ALLOWED for rule in field.rules)
        case Kind.IDENTIFIER | Kind.NUMBER | Kind.DATE:
            return True


def shown_value(name: str, value: Any) -> str:
    """Return a field's value as a report shows it: ``'free'``, ``int32 5``, or its shape if it may be personal."""
    if not is_public(name):
        return shape_of(value)
    if isinstance(value, str):
        return repr(shorten(value, _LONGEST))
    return describe(value)


def shape_of(value: Any) -> str:
    """Return the type of a value, and the length of a text."""
    if isinstance(value, str):
        return f"string of {plural(len(value), 'character')}"
    if value is None or isinstance(value, Opaque):
        return "null" if value is None else type_name(value)
    return type_name(value)

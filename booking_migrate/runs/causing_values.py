"""The values of the fields for which bookings are rejected, by reason, as a migration and a verification report them."""

from collections import Counter
from typing import Self

from booking_migrate.bson.document import Document
from booking_migrate.domain.privacy import shown_value
from booking_migrate.domain.rejection import Reason
from booking_migrate.runs.plan import RejectedValue

_SHOWN = 5
"""How many values of each reason are reported."""

_MOST_VALUES = 1000
"""How many different values of a reason are counted; further ones are not, so that memory is bounded."""

_ABSENT = "absent"
_WHOLE_DOCUMENT = frozenset(
    {Reason.CONFLICT, Reason.DUPLICATE_ID, Reason.RESERVED_FIELD, Reason.DUPLICATE_FIELD}
)
"""The reasons for which a field's value says nothing."""


class CausingValues:
    """Counts the values of fields at fault."""

    def __init__(self) -> None:
        self._values: dict[str, Counter[tuple[str, str]]] = {}

    def add(self, reason: str, name: str, fields: Document) -> None:
        """Count a rejected booking, with the field at fault."""
        if reason not in _WHOLE_DOCUMENT:
            shown = shown_value(name, fields[name]) if name in fields else _ABSENT
            self._count(reason, (name, shown), 1)

    def _count(self, reason: str, value: tuple[str, str], count: int) -> None:
        counted = self._values.setdefault(reason, Counter())
        if value in counted or len(counted) < _MOST_VALUES:
            counted[value] += count

    def include(self, other: Self) -> None:
        """Add what was counted elsewhere."""
        for reason, counted in other._values.items():
            for value, count in counted.items():
                self._count(reason, value, count)

    def of(self, reason: str) -> tuple[RejectedValue, ...]:
        """Return the most frequent values of a reason."""
        counted = self._values.get(reason, Counter())
        ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        return tuple(RejectedValue(name, value, count) for (name, value), count in ordered[:_SHOWN])

    def fields(self, reason: str) -> tuple[str, ...]:
        """Return the fields at fault of a reason, sorted."""
        return tuple(sorted({name for name, _ in self._values.get(reason, ())}))

"""Two documents side by side, as BSON bytes: int 1, long 1, 1.0 and true are four values, and field order counts."""

from dataclasses import dataclass
from itertools import zip_longest

from booking_migrate.bson.document import Element, elements, read_value
from booking_migrate.bson.format import describe


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that two documents do not share."""

    field: str
    expected: Element | None
    """None if the field is in the other document only."""

    found: Element | None

    def __str__(self) -> str:
        expected, found = _shown(self.expected), _shown(self.found)
        if expected == found:
            return f"{self.field}: same value, other bytes or another place"
        return f"{self.field}: {expected} expected, {found} found"


def differences(expected: bytes, found: bytes) -> list[Difference]:
    """Return the fields of the first level in which two documents differ; empty only if the bytes are the same.

    If all fields are the same but stand in another order, or a name occurs twice, the first one out of place is named.
    """
    if expected == found:
        return []
    left, right = list(elements(expected)), list(elements(found))
    ours, theirs = {part.name: part for part in left}, {part.name: part for part in right}
    unlike = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if not unlike:
        pairs = zip_longest(left, right)
        unlike = [next((one or other).name for one, other in pairs if one != other)]
    return [Difference(name.decode("utf-8", "replace"), ours.get(name), theirs.get(name)) for name in unlike]


def _shown(element: Element | None) -> str:
    return "nothing" if element is None else describe(read_value(element))

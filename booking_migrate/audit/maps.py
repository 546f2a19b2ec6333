"""Maps of JavaScript, in which a loop sees pairs of keys and values."""

from typing import TYPE_CHECKING

from booking_migrate.audit.syntax import Place
from booking_migrate.audit.values import ELEMENTS, Instance, Value

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis


def is_map(site: object) -> bool:
    """Return whether an object is a map: a loop over one sees pairs."""
    return isinstance(site, tuple) and site[:1] == ("map",)


def put(analysis: "Analysis", site: object, value: Value, at: Place) -> None:
    """Add a value to a map."""
    pair = ("pair", site)
    analysis.store.put(pair, "1", value, at)
    analysis.store.put(site, ELEMENTS, frozenset({Instance(pair)}), at)


def held(analysis: "Analysis", site: object) -> Value:
    """Return the values in a map."""
    return analysis.store.get(("pair", site), "1")

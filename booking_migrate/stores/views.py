"""The port of the views that show a collection in the other shape. The docstrings are promises."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from booking_migrate.domain.rules import PeopleFields


class Shape(StrEnum):
    """In which shape a view shows a collection."""

    OLD = "old"
    """One document per booking."""

    NEW = "new"
    """One document per client."""


@dataclass(frozen=True, slots=True)
class PeopleNames:
    """Where the server looks up users and experts for bookings that lack them."""

    users: str = "users"
    experts: str = "experts"
    fields: PeopleFields = field(default_factory=PeopleFields)


class ViewStore(Protocol):
    """The views over one collection.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server cannot be asked, or does not do it (any method).
    """

    def create(self, name: str, shape: Shape, people: PeopleNames) -> bool:
        """Create a view; return False if the very same one exists already.

        Raises:
            PlaceNotFound: the collection does not exist.
            UnusablePlace: the name is taken by another collection or view, or the collection is itself a view.
        """

    def drop(self, name: str) -> bool:
        """Drop a view over the collection; return False if the name does not exist.

        Raises:
            UnusablePlace: the name belongs to a collection, or to a view over another one.
        """

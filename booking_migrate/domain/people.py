"""What was found among users and experts for bookings that lack those fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Person:
    """The fields of one user that sessions need."""

    user_id: Any
    """The value of the users' id field as decoded; None if the user has none."""

    email: Any
    """The value of the users' email field as decoded; None if the user has none."""


@dataclass(frozen=True, slots=True)
class People:
    """Users and experts by the sort key (`bson.order`) of their `_id`. What is not in here was not found."""

    users: Mapping[bytes, Person] = field(default_factory=dict)
    experts: Mapping[bytes, Any] = field(default_factory=dict)
    """For each expert the id of its user; None if the expert has none."""

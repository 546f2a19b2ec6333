"""What has happened to a run's result since, counted and listed as a rollback finds it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from booking_migrate.bson.document import Element, read_value
from booking_migrate.bson.format import describe, display_id
from booking_migrate.domain.carried_changes import Change

_LISTED = 100
"""How many of each kind are listed."""


@dataclass(slots=True)
class ChangesSince:
    """What the application has done since: memory does not grow with it, only the counts do."""

    changed: int = 0
    """Fields of migrated sessions, and of client documents of before, that are other now."""

    changes: list[str] = field(default_factory=list)
    """The first of them, for people."""

    later: int = 0
    """Sessions and bookings that were booked since."""

    missing: int = 0
    """Migrated bookings whose session is gone."""

    missing_ids: list[str] = field(default_factory=list)
    """The first of them."""

    lost: int = 0
    """Changes to a client's own fields that no booking has a place for."""

    losses: list[str] = field(default_factory=list)
    """The first of them, for people."""

    @property
    def is_nothing(self) -> bool:
        """Return whether everything is as the migration left it."""
        return not (self.changed or self.later or self.missing or self.lost)

    def add(
        self, *, changes: Iterable[Change], later: int, missing: Iterable[Any], lost: Iterable[Change]
    ) -> None:
        """Count what has happened to one client."""
        for change in changes:
            self.changed += 1
            _list(self.changes, _text(change))
        for document_id in missing:
            self.missing += 1
            _list(self.missing_ids, display_id(document_id))
        for change in lost:
            self.lost += 1
            _list(self.losses, _text(change))
        self.later += later

    def merge(self, other: "ChangesSince") -> None:
        """Add what was counted and listed elsewhere."""
        for name in ("changed", "later", "missing", "lost"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("changes", "missing_ids", "losses"):
            for text in getattr(other, name):
                _list(getattr(self, name), text)


def _list(texts: list[str], text: str) -> None:
    if len(texts) < _LISTED:
        texts.append(text)


def _text(change: Change) -> str:
    difference = change.difference
    before, after = _shown(difference.expected), _shown(difference.found)
    return f"{display_id(change.document_id)} {difference.field}: {before} -> {after}"


def _shown(element: Element | None) -> str:
    return "nothing" if element is None else describe(read_value(element))

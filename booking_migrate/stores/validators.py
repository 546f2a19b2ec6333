"""Validators as values: none, the fence that refuses every write, and the guard that refuses old bookings.

What the two are, how they are recognised among the validators of users, and what a collection has without them. A collection's
options are taken as the server lists them. What any validator makes of documents that are tried out with it is a `Verdict`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import json_util

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id

NO_VALIDATION: Mapping[str, Any] = {"validator": {}, "validationLevel": "strict", "validationAction": "error"}
"""What a collection has that was never given a validator (manual, reference/command/collMod)."""

_FENCE_FIELD = "booking_migrate_fence"
FENCE: Mapping[str, Any] = {_FENCE_FIELD: {"$eq": "writes are refused during a cut-over"}}
"""The validator by which a cut-over refuses writes: no booking meets it.

An earlier version that was killed may have left its own one: `is_fenced` has to know every fence that there ever was.
"""

_GUARD_FIELD = "booking_migrate_guard"
_SAID = "old bookings are refused after a cut-over"
"""The text of the server's answer to a write that the guard refuses."""


def validation_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a collection's options that are about its validator."""
    return {name: options[name] for name in NO_VALIDATION if name in options}


def is_fenced(options: Mapping[str, Any]) -> bool:
    """Return whether a collection with these options refuses writes because of a cut-over."""
    validator = options.get("validator")
    return isinstance(validator, Mapping) and _FENCE_FIELD in validator


def enforced_validator(options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the validator of a collection with these options, if it refuses documents; the fence does not count."""
    validator: Mapping[str, Any] | None = options.get("validator")
    is_enforced = (
        options.get("validationLevel", "strict") != "off"
        and options.get("validationAction", "error") != "warn"
    )
    return validator if validator and is_enforced and not is_fenced(options) else None


def is_guarded(options: Mapping[str, Any]) -> bool:
    """Return whether a collection of these options has the guard's validator."""
    return _GUARD_FIELD in json_util.dumps(options.get("validator", {}))


def guarded(validation: Mapping[str, Any], *, is_lenient: bool) -> Mapping[str, Any]:
    """Return a collection's own validation with the guard beside it; if it is lenient, documents that are there may still be updated."""
    own = {**NO_VALIDATION, **validation}
    level = {"validationLevel": "moderate"} if is_lenient else {}
    # Both halves have one level and one action: beside an own validator that refuses nothing, the guard would not either.
    if enforced_validator(own):
        return {**own, **level, "validator": {"$and": [own["validator"], _guard(own, {})]}}
    return {**NO_VALIDATION, **level, "validator": _guard(own, own["validator"])}


def _guard(own: Mapping[str, Any], idle: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a condition that client documents meet and bookings do not.

    Its second half is met by no document: it serves to recognize the guard, and keeps what `unguarded` needs.

    Args:
        own: the collection's own validation.
        idle: its own condition if that refuses nothing, and so must not be enforced beside the guard either.
    """
    kept = [_SAID, own["validationLevel"], own["validationAction"]]
    never = [{_GUARD_FIELD: {"$in": kept}}, {_GUARD_FIELD: {"$exists": False}}]
    return {"$or": [{"sessions": {"$type": "array"}}, {"$and": [*never, idle]}]}


def unguarded(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a collection's options as they are without the guard."""
    if not is_guarded(options):
        return options
    own, condition = options["validator"].get("$and") or ({}, options["validator"])
    mark, _, idle = condition["$or"][1]["$and"]
    _, level, action = mark[_GUARD_FIELD]["$in"]
    return {**options, "validator": own or idle, "validationLevel": level, "validationAction": action}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many documents a validator was tried out with, and what it made of them."""

    tested: int = 0
    refused: int = 0
    sample: str = ""
    """The client of one that it refuses, as text."""

    rules: tuple[str, ...] = ()
    """Which of its rules that one breaks, in plain words; empty: not known."""

    def after(
        self, documents: Sequence[bytes], matching: Sequence[bytes], broken: Callable[[bytes], Sequence[str]]
    ) -> "Verdict":
        """Return the verdict with further documents, of which some match; ``broken`` returns which rules a document breaks, in plain words."""
        failing = {display_id(value_in(raw, b"clientId")): raw for raw in set(documents) - set(matching)}
        refused = len(set(documents) - set(matching))
        if self.refused or not refused:
            return Verdict(self.tested + len(documents), self.refused + refused, self.sample, self.rules)
        sample = min(failing)
        return Verdict(self.tested + len(documents), refused, sample, tuple(broken(failing[sample])))

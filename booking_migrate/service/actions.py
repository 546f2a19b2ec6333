"""The actions on a session: who may do them, and from which states."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bson.datetime_ms import DatetimeMS

from booking_migrate.bson.document import Document
from booking_migrate.domain.contract import DEFAULT_STATUS, Contract
from booking_migrate.errors import BadConfiguration
from booking_migrate.service.errors import NotYours, WrongState

BLOCKING = ("pending", "confirmed")
"""The states in which a session occupies its slot."""


class Role(StrEnum):
    """The role of a user in a session. The values are those of `cancelledBy`."""

    CLIENT = "client"
    EXPERT = "expert"


class Action(StrEnum):
    """An action that the API offers on a session."""

    CONFIRM = "confirm"
    CANCEL = "cancel"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Rule:
    """When an action is allowed, and the status that it leads to."""

    by: frozenset[Role]
    after: tuple[str, ...]
    """The states that allow it."""

    becomes: str


_EXPERT_ONLY = frozenset({Role.EXPERT})

RULES: dict[Action, Rule] = {
    Action.CONFIRM: Rule(_EXPERT_ONLY, ("pending",), "confirmed"),
    Action.CANCEL: Rule(frozenset(Role), BLOCKING, "cancelled"),
    Action.COMPLETE: Rule(_EXPERT_ONLY, ("confirmed",), "completed"),
}


def check_contract(contract: Contract) -> None:
    """Check that the contract allows every value that the service writes.

    Raises:
        BadConfiguration: the contract lacks a value that the service needs.
    """
    states = {DEFAULT_STATUS, *(rule.becomes for rule in RULES.values())}
    for name, needed, allowed in (
        ("statuses", states, contract.statuses),
        ("payment_statuses", {DEFAULT_STATUS}, contract.payment_statuses),
        ("cancelled_by", set(Role), contract.cancelled_by),
    ):
        lacking = sorted(needed - set(allowed))
        if lacking:
            raise BadConfiguration(f"[contract] {name}", f"the service needs {', '.join(lacking)}")


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one session."""

    action: Action
    by: Role
    now: int
    """The time, in milliseconds since 1970."""

    reason: str | None = None
    """Why a session is cancelled; None if no reason was sent."""

    @property
    def after(self) -> tuple[str, ...]:
        """Return the states from which the action is allowed."""
        return RULES[self.action].after

    def fields(self) -> Document:
        """Return the changed fields, which are the same in a session and in an old booking."""
        changed: Document = {"status": RULES[self.action].becomes}
        if self.action is Action.CANCEL:
            changed["cancelledBy"] = self.by.value
            if self.reason is not None:
                changed["cancellationReason"] = self.reason
            changed["cancellationTime"] = DatetimeMS(self.now)
        changed["updatedAt"] = DatetimeMS(self.now)
        return changed


def allow(action: Action, roles: Iterable[Role], status: Any) -> Role:
    """Check that an action is allowed, and return the role in which it is done.

    Args:
        action: the action.
        roles: the roles of the caller in this session; of two, the one that allows the action is used.
        status: the session's status; absent (None) counts as pending.

    Raises:
        NotYours: only another role may do it.
        WrongState: the session's status does not allow it.
    """
    rule = RULES[action]
    role = next((role for role in Role if role in roles and role in rule.by), None)
    if role is None:
        raise NotYours(f"only the {' or the '.join(sorted(rule.by))} of a session can {action} it")
    state = DEFAULT_STATUS if status is None else status
    if state not in rule.after:
        raise WrongState(str(state), rule.becomes)
    return role

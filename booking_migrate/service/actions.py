"""What may be done with a session, by whom, and from which states."""

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
"""The states in which a session takes its slot."""


class Role(StrEnum):
    """Who somebody is in a session. The values are those of `cancelledBy`."""

    CLIENT = "client"
    EXPERT = "expert"


class Action(StrEnum):
    """What the API lets people do with a session."""

    CONFIRM = "confirm"
    CANCEL = "cancel"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Rule:
    """When an action is allowed and what becomes of the session."""

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
    """Make sure that what the service writes is allowed.

    Raises:
        BadConfiguration: the contract does not have a word that the service needs.
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
    """What is to be done with one session."""

    action: Action
    by: Role
    now: int
    """The time, in milliseconds since 1970."""

    reason: str | None = None
    """Why a session is cancelled; None if nobody says."""

    @property
    def after(self) -> tuple[str, ...]:
        """The states from which it may be done."""
        return RULES[self.action].after

    def fields(self) -> Document:
        """The session's fields as they become. The same ones in a session and in an old booking."""
        changed: Document = {"status": RULES[self.action].becomes}
        if self.action is Action.CANCEL:
            changed["cancelledBy"] = self.by.value
            if self.reason is not None:
                changed["cancellationReason"] = self.reason
            changed["cancellationTime"] = DatetimeMS(self.now)
        changed["updatedAt"] = DatetimeMS(self.now)
        return changed


def allow(action: Action, roles: Iterable[Role], status: Any) -> Role:
    """Check that an action may be done, and say as whom.

    Args:
        action: what is to be done.
        roles: what the caller is in this session; who is both client and expert acts as the one that may.
        status: the session's status; absent (None) counts as pending.

    Raises:
        NotYours: somebody else may, not the caller.
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

"""Who may do what with a session, and from which states."""

from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.domain.contract import Contract
from booking_migrate.errors import BadConfiguration
from booking_migrate.service.appointment import RULES, Action, Role, allow, changed_fields, check_contract
from booking_migrate.service.errors import NotYours, WrongState

STATUSES = Contract().statuses
ALLOWED = {
    (Action.CONFIRM, Role.EXPERT, "pending"),
    (Action.CANCEL, Role.CLIENT, "pending"),
    (Action.CANCEL, Role.CLIENT, "confirmed"),
    (Action.CANCEL, Role.EXPERT, "pending"),
    (Action.CANCEL, Role.EXPERT, "confirmed"),
    (Action.COMPLETE, Role.EXPERT, "confirmed"),
}


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("status", STATUSES)
def test_the_whole_table(action: Action, role: Role, status: str) -> None:
    """Exactly these actions are allowed; who may not is told so before the state is looked at."""
    if (action, role, status) in ALLOWED:
        assert role == allow(action, [role], status)
    elif role in RULES[action].by:
        with pytest.raises(WrongState):
            allow(action, [role], status)
    else:
        with pytest.raises(NotYours):
            allow(action, [role], status)


def test_somebody_who_is_both() -> None:
    """Who is client and expert of a session confirms it as expert and cancels it as client."""
    both = [Role.EXPERT, Role.CLIENT]

    assert Role.EXPERT == allow(Action.CONFIRM, both, "pending")
    assert Role.CLIENT == allow(Action.CANCEL, both, "pending")


def test_a_cancellation_says_by_whom_when_and_why() -> None:
    """A cancelled session has who, when and why, in the fields that old bookings have for it."""
    expected = {
        "status": "cancelled",
        "cancelledBy": "expert",
        "cancellationReason": "ill",
        "cancellationTime": DatetimeMS(5),
        "updatedAt": DatetimeMS(5),
    }

    assert expected == changed_fields(Action.CANCEL, Role.EXPERT, 5, "ill")


@given(st.sampled_from(Action), st.sampled_from(Role), st.none() | st.text())
def test_only_known_states_come_about(action: Action, role: Role, reason: Any) -> None:
    """Whatever is done, the state afterwards is one of the contract's, and none from which it could be done again."""
    status = changed_fields(action, role, 0, reason)["status"]

    assert status in STATUSES
    assert status not in RULES[action].after


@pytest.mark.parametrize(
    ("changed", "lacking"),
    [
        pytest.param({"statuses": ("pending", "confirmed", "done")}, "cancelled, completed", id="states"),
        pytest.param({"payment_statuses": ("paid",)}, "pending", id="payment"),
        pytest.param({"cancelled_by": ("client",)}, "expert", id="who cancels"),
    ],
)
def test_a_contract_without_the_service_s_words(changed: dict[str, Any], lacking: str) -> None:
    """A contract that does not allow what the service writes is refused, and the words are named."""
    check_contract(Contract())
    with pytest.raises(BadConfiguration) as refused:
        check_contract(Contract(**changed))

    assert lacking in str(refused.value)

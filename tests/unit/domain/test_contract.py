"""The rules of a field's values."""

from dataclasses import replace

import pytest

from booking_migrate.domain import contract, session
from booking_migrate.domain.contract import EMAIL, FIELDS, Constraint, Contract, ValueRule
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.rules import Rules
from booking_migrate.domain.session import Converter, People, read_booking
from booking_migrate.verify import rules
from tests.support.bookings import raw

_SECOND = ValueRule(Reason.EMAIL_INVALID, Constraint.PATTERN, EMAIL)


@pytest.mark.parametrize(
    ("notes", "waived", "reason"),
    [
        ("x" * 1001, None, Reason.NOTES_TOO_LONG),
        ("x" * 1001, Reason.NOTES_TOO_LONG, Reason.EMAIL_INVALID),
        ("x" * 1001, Reason.EMAIL_INVALID, Reason.NOTES_TOO_LONG),
        ("not an address", None, Reason.EMAIL_INVALID),
        ("not an address", Reason.EMAIL_INVALID, None),
        ("client@example.com", None, None),
    ],
)
def test_a_field_may_have_several_rules(
    monkeypatch: pytest.MonkeyPatch, notes: str, waived: Reason | None, reason: Reason | None
) -> None:
    """The first rule that a value breaks and that is not waived counts, for the conversion as for the proof."""
    fields = [
        replace(field, rules=(*field.rules, _SECOND)) if field.name == "notes" else field for field in FIELDS
    ]
    for module in (contract, session, rules):
        monkeypatch.setattr(module, "FIELDS", fields)
    accepted = frozenset() if waived is None else frozenset({waived})
    check = rules.ContractRules(Contract(), accepted).check_of("notes")

    assert reason == check(notes)
    result = Converter(Rules(accepted=accepted)).convert(read_booking(raw(notes=notes)), People())
    assert ([] if reason is None else [(reason, "notes")]) == [
        (fault.reason, fault.field) for fault in getattr(result, "faults", ())
    ]

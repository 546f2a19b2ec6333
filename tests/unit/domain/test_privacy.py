"""Which values reports may show."""

import pytest

from booking_migrate.domain import contract, privacy
from booking_migrate.domain.contract import FIELDS, FieldRule, Presence
from booking_migrate.domain.kinds import Kind


def test_personal_fields() -> None:
    """Ids of users, addresses, links and free text are personal; what the contract limits to values, times or numbers is not."""
    assert {
        "clientUserId",
        "clientEmail",
        "expertUserId",
        "expertEmail",
        "meetingLink",
        "notes",
        "cancellationReason",
    } == {rule.name for rule in FIELDS if not privacy.is_public(rule.name)}


def test_a_text_that_is_added_to_the_contract_is_personal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new field with free text shows its length only, until it is said that its values are public."""
    monkeypatch.setitem(contract.RULES, "channel", FieldRule("channel", Kind.STRING, Presence.OPTIONAL))

    assert "string of 9 characters" == privacy.shown_value("channel", "Ann's dog")

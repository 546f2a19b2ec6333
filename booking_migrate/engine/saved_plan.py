"""A plan as `dry-run --plan` saves it and `migrate --plan` holds on to it: places, options, and the data's fingerprint.

It holds no connection string. Its JSON form has a version; a file of another version is refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from booking_migrate import __version__
from booking_migrate.engine.plan import MigrationPlan

Fingerprint = dict[str, str | int]
"""What changes when data does: counts, newest changes, a file's size and digest."""


class ExpectedCounts(BaseModel):
    """What the dry-run counted; for people who read the file, nothing is compared with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scanned: int
    migrated: int
    already_migrated: int
    rejected: int
    clients: int


class SavedPlan(BaseModel):
    """What a migration was planned to do, and over which data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["booking-migrate plan"] = "booking-migrate plan"
    version: Literal[1] = 1
    """The version of this format. 1: the first."""

    tool_version: str = __version__
    places: dict[str, str]
    """Source, target, users and experts as the user names them."""

    options: dict[str, JsonValue]
    """Everything that decides what comes out; the contract's values as ``contract.NAME``."""

    fingerprints: dict[str, Fingerprint]
    """By the names of ``places`` that are read."""

    expected: ExpectedCounts | None = None

    def differences(self, other: "SavedPlan") -> list[str]:
        """In which ways another plan is not this one, each in a few words for people; ``expected`` does not count."""
        mine, others = self.facts(), other.facts()
        return [
            f"{name} was {_shown(mine.get(name))} and is {_shown(others.get(name))}"
            for name in {**mine, **others}
            if mine.get(name) != others.get(name)
        ]

    def facts(self) -> dict[str, JsonValue]:
        """Everything that must not change until the plan is followed, by names for people."""
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, JsonValue]]:
        yield from self.places.items()
        yield from self.options.items()
        for place, fingerprint in self.fingerprints.items():
            for name, value in fingerprint.items():
                yield f"{name} of {place}", value


def options_of(plan: MigrationPlan) -> dict[str, JsonValue]:
    """The options of a plan by their names; how much is done at a time is none, since it changes nothing."""
    contract: Mapping[str, Any] = plan.contract.model_dump(mode="json")
    return {
        "accept": sorted(reason.value for reason in plan.accepted),
        "max-document-size": plan.maximum_document_size,
        "merge-client-documents": plan.merge_client_documents,
        "on-conflict": plan.on_conflict.value,
        "user-id-field": plan.lookup.user_id,
        "user-email-field": plan.lookup.email,
        "expert-user-field": plan.lookup.expert_user,
        **{f"contract.{name}": value for name, value in contract.items()},
    }


def _shown(value: JsonValue) -> str:
    if value is None:
        return "not given"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    return str(value)

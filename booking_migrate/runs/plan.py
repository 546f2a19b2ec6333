"""The plan of a migration and its outcome, and the saved plan of `dry-run --plan` and `migrate --plan`.

A saved plan has places, options, and the fingerprint of the data. Places, options and files must be unchanged when the plan
is followed. A collection in use changes continuously, so its changes are only reported, unless it has been emptied.

A saved plan does not contain connection strings. Its JSON form has a version; a file of another version is refused.

Of an outcome, a field that is a `Line` or an `Id` may have any text; a report, of which the values are parts, makes it harmless.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from booking_migrate import __version__
from booking_migrate.bson.format import Id, Line
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.rules import DEFAULT_PEOPLE_FIELDS, DEFAULT_RULES, PeopleFields, Rules
from booking_migrate.quantities import grouped, plural

DEFAULT_BATCH_BOOKINGS = 10_000

Fingerprint = dict[str, str | int]
"""What changes when data does: counts, newest changes, a file's size and digest."""

_DOCUMENTS = "documents"
"""The key that only the fingerprint of a collection has."""

_DATE = re.compile(r"date (-?\d+) ms")
"""The form of a date in a fingerprint."""


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """Everything that decides the result of a migration, and the sizes of its steps."""

    rules: Rules = DEFAULT_RULES
    people: PeopleFields = DEFAULT_PEOPLE_FIELDS
    merge_client_documents: bool = False
    """Whether several client documents of one client are joined instead of refused."""

    batch_bookings: int = DEFAULT_BATCH_BOOKINGS
    """How many bookings are read before their clients are written. Has no influence on the result."""

    workers: int = 1
    """How many processes do the work. Has no influence on the result."""

    executor: str | None = None
    """The Dask scheduler whose workers do it instead, as ``dask://host:port``. Has no influence on the result."""


FENCE_SECONDS = 0.05
"""About how long fence, drain and rename of a cut-over take without any change."""


@dataclass(frozen=True, slots=True)
class Limits:
    """For how long and how often a cut-over, or a rollback of one, may hold up writes."""

    outage: float = 0.5
    """Seconds from the fence to the swap, if the application is followed."""

    attempts: int = 10

    @property
    def wait(self) -> float:
        """Return for how many seconds every write may wait behind a command while others hold the collection."""
        return self.outage / 2


class ExpectedCounts(BaseModel):
    """What the dry-run counted; a migration shows it beside what it counts, and compares nothing with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scanned: int
    migrated: int
    already_migrated: int
    rejected: int
    clients: int

    def __str__(self) -> str:
        there = (
            f", {grouped(self.already_migrated)} of them migrated already" if self.already_migrated else ""
        )
        of_clients = f"{plural(self.scanned, 'booking')} of {plural(self.clients, 'client')}"
        return f"{of_clients}{there}, and {grouped(self.rejected)} rejected"


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
    """Everything that determines the result; the contract's values as ``contract.NAME``."""

    fingerprints: dict[str, Fingerprint]
    """By the names of ``places`` that are read."""

    expected: ExpectedCounts | None = None

    def differences(self, other: "SavedPlan", tolerance: float | None = None) -> list[str]:
        """Return how another plan differs from this one, each difference in a few words; ``expected`` is not compared.

        Changes that an application makes to a collection are not differences; see `changes`.

        Args:
            other: a later plan.
            tolerance: by how many percent the number of the source's documents may differ; None: it is not compared.
        """
        mine, others = self.facts(), other.facts()
        emptied = [
            f"{place} had {count if isinstance(count, str) else plural(count, 'document')} and has none"
            for place, fingerprint in self.fingerprints.items()
            if (count := fingerprint.get(_DOCUMENTS))
            and other.fingerprints.get(place, {}).get(_DOCUMENTS) == 0
        ]
        return [*emptied, *self._beyond(other, tolerance)] + [
            f"{name} was {_shown(mine.get(name))} and is {_shown(others.get(name))}"
            for name in {**mine, **others}
            if mine.get(name) != others.get(name)
        ]

    def _beyond(self, other: "SavedPlan", tolerance: float | None) -> Iterator[str]:
        """Yield the difference in the number of the source's documents, if it is beyond what is tolerated."""
        planned, now = (plan.fingerprints.get("source", {}).get(_DOCUMENTS) for plan in (self, other))
        if tolerance is None or not isinstance(planned, int) or not isinstance(now, int) or not now:
            return
        if abs(now - planned) * 100 > tolerance * planned:
            yield f"source had {planned:,} documents and has {now:,}, which differs by more than {tolerance:g} %"

    def changes(self, other: "SavedPlan") -> list[str]:
        """Return how the collections changed between this plan and a later one over them, place by place."""
        return [
            f"{place} has changed: {'; '.join(changed)}"
            for place, before in self.fingerprints.items()
            if (changed := list(_changed(before, other.fingerprints.get(place, {}))))
        ]

    def facts(self) -> dict[str, JsonValue]:
        """Return everything that must not change until the plan is followed, by readable names."""
        return {**self.places, **self.options, **dict(self._named_files())}

    def _named_files(self) -> Iterator[tuple[str, JsonValue]]:
        for place, fingerprint in self.fingerprints.items():
            if _DOCUMENTS not in fingerprint:
                for name, value in fingerprint.items():
                    yield f"{name} of {place}", value


def _changed(before: Fingerprint, now: Fingerprint) -> Iterator[str]:
    if _DOCUMENTS in before and _DOCUMENTS in now:
        for name in before:
            if before[name] != now.get(name):
                yield f"{name} {_shown(before[name])} then, {_shown(now.get(name))} now"


def options_of(plan: MigrationPlan) -> dict[str, JsonValue]:
    """Return the options of a plan by their names, without the batch size, which does not influence the result."""
    contract: Mapping[str, Any] = plan.rules.contract.model_dump(mode="json")
    return {
        "accept": sorted(reason.value for reason in plan.rules.accepted),
        "max-document-size": plan.rules.maximum_document_size,
        "merge-client-documents": plan.merge_client_documents,
        "on-conflict": plan.rules.on_conflict.value,
        "user-id-field": plan.people.user_id,
        "user-email-field": plan.people.email,
        "expert-user-field": plan.people.expert_user,
        **{f"contract.{name}": value for name, value in contract.items()},
    }


def _shown(value: JsonValue) -> str:
    if value is None:
        return "not given"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    date = _DATE.fullmatch(str(value))
    return str(value) if date is None else _iso(int(date[1]))


def _iso(milliseconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms"


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of bookings; scanned = migrated + already migrated + rejected."""

    scanned: int = 0
    """Documents in the old shape, and client documents that had to be rejected."""

    migrated: int = 0
    already_migrated: int = 0
    rejected: int = 0
    conflicts: int = 0
    """Of the rejected: bookings whose session has other content in a client document that others wrote or changed."""

    clients: int = 0
    """Clients with at least one booking migrated or already migrated."""

    sessions: int = 0
    """The sessions in those clients' documents."""

    client_documents: int = 0
    """Client documents that were already in the source."""

    @property
    def are_all_rejected(self) -> bool:
        """See `all_rejected`."""
        return all_rejected(asdict(self))


def all_rejected(counts: Mapping[str, int]) -> bool:
    """Return whether every document of a source was rejected, as if it held no bookings.

    What conflicts with a session is one, and where client documents are, bookings were migrated in place before.

    Args:
        counts: by the names in `Counts`.
    """
    scanned, rejected = counts.get("scanned", 0), counts.get("rejected", 0)
    # Both change while a run is followed, and not at once: what was migrated before shows that there are bookings.
    return 0 < scanned <= rejected and not any(
        counts.get(each, 0) for each in ("conflicts", "sessions", "client_documents")
    )


@dataclass(frozen=True, slots=True)
class RejectedValue:
    """A value for which bookings are rejected."""

    field: Line
    value: Line
    """As text: ``'free'``; of a field that may be personal only its type and length."""

    count: int


@dataclass(frozen=True, slots=True)
class RejectedMoney:
    """The prices of rejected bookings."""

    prices: Mapping[str, Decimal] = field(default_factory=dict)
    """The sums by currency, as far as prices can be read; a currency that is not text counts as unknown."""

    unpriced: int = 0
    """How many bookings have a price that cannot be read."""


@dataclass(frozen=True, slots=True)
class RejectionGroup:
    """The bookings rejected for one reason."""

    reason: Reason
    count: int
    sample_ids: tuple[Id, ...]
    """The first few of their ids in MongoDB's order, as text."""

    values: tuple[RejectedValue, ...] = ()
    """The most frequent values of the field at fault."""

    fields: tuple[Line, ...] = ()
    """The fields at fault, sorted; none if it is the document as a whole."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding that the user should know about, although it does not reject a booking; with a count and examples."""

    kind: str
    """A stable name: ``client-fields-disagree``."""

    title: Line
    """What was found, as text for the user."""

    count: int
    sample_ids: tuple[Id, ...]
    advice: Line
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class MigrationOutcome:
    """What `migrate.pipeline.migrate` did."""

    counts: Counts
    rejections: tuple[RejectionGroup, ...]
    """By falling count, then by reason."""

    spent: Mapping[str, Decimal] = field(default_factory=dict)
    """The prices of the sessions migrated or already migrated, summed per currency."""

    findings: tuple[Finding, ...] = ()
    documents_written: int = 0
    """Client documents new in the target."""

    documents_changed: int = 0
    """Client documents of the target that were changed: further sessions, or sessions derived again."""

    documents_removed: int = 0
    """Client documents of earlier runs that were removed, because their clients have no bookings any more."""

    changed: bool = True
    """Whether the run changed anything in the target."""

    seconds: float = 0.0
    rejected_money: RejectedMoney = field(default_factory=RejectedMoney)
    """The prices of the bookings that were rejected."""

    rejects_name: str | None = None
    """Where the rejected bookings are kept; None if none was rejected."""

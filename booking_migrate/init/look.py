"""The look at a database: what holds bookings, users and experts, what the bookings are like, and what follows from it."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from booking_migrate.bson.document import Document
from booking_migrate.domain.contract import FIELDS, Constraint, Contract
from booking_migrate.domain.rules import DEFAULT_PEOPLE_FIELDS
from booking_migrate.dry_run.outcome import Reference
from booking_migrate.dry_run.references import sampled_references
from booking_migrate.errors import NoBookings, UnusablePlace
from booking_migrate.errors.base import SAME_COMMAND
from booking_migrate.init.collections import (
    Sampled,
    describe_bookings,
    ids_of,
    sample_collections,
    values_outside,
)
from booking_migrate.init.outcome import BookingsFound, CollectionFound, InitOutcome, Role, Setting
from booking_migrate.init.people import (
    FieldsFound,
    Holder,
    email_fields,
    expert_user_fields,
    holders_of,
    user_id_fields,
)
from booking_migrate.quantities import grouped
from booking_migrate.stores.places import DEFAULT_SOURCE, DEFAULT_TARGET
from booking_migrate.stores.ports import DocumentReader

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoInspector


@dataclass(slots=True)
class _Decisions:
    """The lines of the config file so far, and what could not be decided."""

    settings: list[Setting] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    named: Mapping[str, str] = field(default_factory=dict)
    """What the user has decided, by key."""

    def choose(
        self, key: str, candidates: Sequence[tuple[str, str]], default: str, absent: str, criterion: str = ""
    ) -> str | None:
        """Set a key to what the user has decided, or else to the only candidate, or list the candidates for the user to decide.

        Args:
            key: the option.
            candidates: each a value and why it may be the one.
            default: what holds if nothing is decided.
            absent: why there is not a candidate.
            criterion: which one of several it is.

        Returns:
            The value, if it is decided.
        """
        if key in self.named:
            named = self.named[key]
            reason = dict(candidates).get(named, "It was named, and is not known from samples")
            candidates = [(named, reason)]
        if len(candidates) == 1:
            value, reason = candidates[0]
            self.settings.append(Setting(key, value, reason))
            return value
        for value, reason in candidates:
            self.settings.append(Setting(key, value, reason, is_set=False))
        if candidates:
            names = " or ".join(value for value, _ in candidates)
            choice = f"take {criterion}. " if criterion else ""
            self.undecided.append(f"{key}: {names}; {choice}Until you decide, {default} is used")
        else:
            self.settings.append(Setting(key, default, absent, is_set=False))
        return None


def look(
    inspector: "MongoInspector",
    open_source: Callable[[str], DocumentReader],
    *,
    database: str | None,
    contract: Contract,
    named: Mapping[str, str],
) -> InitOutcome:
    """Look at a database, with reading commands only; what is read does not grow with the data.

    Args:
        inspector: of the database.
        open_source: opens the collection of bookings, to look up ids in it.
        database: the database, if the user named it beside the connection string.
        contract: what the new application accepts.
        named: the collections of bookings, users and experts that the user has decided, by their keys.

    Raises:
        NoBookings: no collection holds any.
        UnusablePlace: the named one does not.
        NotPermitted, ConnectionProblem: the database cannot be looked at.
    """
    sampled, unreadable = sample_collections(inspector)
    candidates = [each for each in sampled if each.role is Role.BOOKINGS]
    if not candidates:
        names = [each.name for each in sampled if each.sampled]
        raise NoBookings(inspector.database, names[:10], len(names), inspector.other_databases())
    server = inspector.server()
    made = _Decisions(named=named)
    _database_setting(made, inspector.database, database)
    source = _choose_source(made, candidates)
    bookings = [booking for each in candidates if source in (None, each.name) for booking in each.bookings]
    _target_setting(made, source or DEFAULT_SOURCE, sampled)
    others = [each.name for each in sampled if each.role is Role.OTHER]
    people = _choose_people(made, bookings, inspector, others)
    found = describe_bookings(bookings)
    made.settings += _contract_settings(bookings, found, contract)
    collections = [each.found(inspector) for each in sampled if each.role is not Role.OTHER or each.sampled]
    known = [each.name for each in sampled if each.role is not Role.OTHER] + list(people)
    references: Sequence[Reference] = ()
    if source is not None:
        references, _ = sampled_references(inspector, open_source(source), known)
    return InitOutcome(
        server=f"MongoDB {server.version}, {server.topology.value}",
        collections=tuple(_with_people(collections, people)),
        bookings=found,
        settings=tuple(made.settings),
        undecided=tuple(made.undecided),
        references=tuple(references),
        unreadable=tuple(unreadable),
    )


def _with_people(
    collections: Sequence[CollectionFound], people: dict[str, tuple[Role, Holder]]
) -> Iterator[CollectionFound]:
    for each in collections:
        if each.name in people:
            role, holder = people[each.name]
            yield CollectionFound(each.name, role, each.documents, holder.asked, len(holder.documents))
        else:
            yield each


def _database_setting(made: _Decisions, name: str, given: str | None) -> None:
    reason = "The database that was named" if given else "The connection string names the database"
    made.settings.append(Setting("db", name, reason, is_set=given is not None))


_CRITERION = (
    "the one into which the application books; if it books into several, migrate each with a config file of its own, with its own "
    "source and target"
)


def _choose_source(made: _Decisions, candidates: Sequence[Sampled]) -> str | None:
    named, names = made.named.get("source"), [each.name for each in candidates]
    if named is not None and named not in names:
        advice = f"Bookings are in {' and '.join(names)}: {SAME_COMMAND} --source {shlex.quote(names[0])}"
        raise UnusablePlace(named, "no sampled document of it is a booking", advice)
    reasons = [
        (
            each.name,
            f"{grouped(len(each.bookings))} of {grouped(each.sampled)} sampled documents are bookings",
        )
        for each in candidates
    ]
    return made.choose("source", reasons, DEFAULT_SOURCE, "", _CRITERION)


def _target_setting(made: _Decisions, source: str, sampled: Sequence[Sampled]) -> None:
    """Name the target: a collection that is empty, does not exist, or has client documents."""
    taken = {each.name for each in sampled if each.sampled and each.role is not Role.CLIENT_DOCUMENTS}
    name = DEFAULT_TARGET if source == DEFAULT_SOURCE else f"{source}_consolidated"
    number = 1
    while (name if number == 1 else f"{name}_{number}") in taken:
        number += 1
    chosen = name if number == 1 else f"{name}_{number}"
    is_there = any(each.name == chosen and each.sampled for each in sampled)
    reason = (
        "It has client documents already, which are kept"
        if is_there
        else "Where client documents will be written"
    )
    if number > 1:
        reason += f"; {name} holds other documents"
    made.settings.append(Setting("target", chosen, reason))


def _choose_people(
    made: _Decisions, bookings: Sequence[Document], inspector: "MongoInspector", names: Sequence[str]
) -> dict[str, tuple[Role, Holder]]:
    """Choose the collections of users and experts, and their fields; return those that were chosen."""
    chosen: dict[str, tuple[Role, Holder]] = {}
    defaults = DEFAULT_PEOPLE_FIELDS
    clients, experts = ids_of(bookings, "clientId"), ids_of(bookings, "expertId")
    users = _choose_holder(made, "users", "clientId", holders_of(clients, inspector, names))
    absent = None if users is not None else _not_looked_for(made, "users")
    nothing = FieldsFound((), "")
    if users is not None:
        chosen[users.name] = Role.USERS, users
    found = nothing if users is None else user_id_fields(users, bookings)
    _choose_field(made, "user_id_field", found, defaults.user_id, absent)
    found = nothing if users is None else email_fields(users, bookings)
    _choose_field(made, "user_email_field", found, defaults.email, absent)
    others = [name for name in names if name not in chosen]
    holder = _choose_holder(made, "experts", "expertId", holders_of(experts, inspector, others))
    if holder is not None:
        chosen[holder.name] = Role.EXPERTS, holder
    found = nothing if users is None or holder is None else expert_user_fields(holder, users.name, inspector)
    absent = absent or (None if holder is not None else _not_looked_for(made, "experts"))
    _choose_field(made, "expert_user_field", found, defaults.expert_user, absent)
    return chosen


def _not_looked_for(made: _Decisions, key: str) -> str:
    """Return why fields in a collection of people were not looked for, which was not chosen."""
    is_open = any(each.startswith(f"{key}: ") for each in made.undecided)
    if not is_open:
        return f"Not looked for, because no collection of {key} was found"
    return f"Not looked for, because {key} is undecided. Once you have chosen {key}, set this"


def _choose_holder(made: _Decisions, key: str, name: str, holders: Sequence[Holder]) -> Holder | None:
    likely = [each for each in holders if each.has_most or each.name == made.named.get(key)] or list(holders)
    reasons = [
        (each.name, f"It has {grouped(len(each.documents))} of {grouped(each.asked)} values of {name} as _id")
        for each in likely
    ]
    absent = f"No collection has values of {name} as _id; only bookings without user ids and emails need it"
    criterion = f"the one in which the application looks {key} up"
    value = made.choose(key, reasons, key, absent, criterion)
    return next((each for each in likely if each.name == value), None)


def _choose_field(
    made: _Decisions, key: str, found: FieldsFound, default: str, absent: str | None = None
) -> None:
    """Decide about a field of people; ``absent`` says why it was not looked for, if it was not."""
    if absent is not None and absent.endswith("set this"):
        absent = f"{absent} to {_HELD[key]}. If you do not, {default} is used"
    absent = absent or "Not found: only bookings without user ids and emails need it"
    made.choose(key, [(name, found.reason) for name in found.names], default, absent)


def _contract_settings(
    bookings: Sequence[Document], found: BookingsFound, contract: Contract
) -> Iterator[Setting]:
    """Yield what the contract may have to allow, commented out: only the new application knows."""
    if found.currencies:
        seen = ", ".join(f"{name} {grouped(count)}" for name, count in found.currencies.items())
        refused = [name for name in found.currencies if not _is_currency(name)]
        now = (
            f" ({' and '.join(refused)} {'is' if len(refused) == 1 else 'are'} rejected now)"
            if refused
            else ""
        )
        reason = f"Sampled: {seen}. Say which ones the new application accepts; with this line, all others are rejected; without it, any three capitals are accepted{now}"
        capitals = tuple(sorted(name for name in found.currencies if _is_currency(name)))
        if capitals:
            yield Setting("currencies", capitals, reason, "contract", is_set=False)
    for name, rule in ((each.name, rule) for each in FIELDS for rule in each.rules):
        if rule.constraint is not Constraint.ALLOWED or rule.by == "currencies":
            continue
        allowed = getattr(contract, rule.by)
        if outside := values_outside(bookings, name, allowed):
            seen = ", ".join(f"{name} {grouped(count)}" for name, count in outside.items())
            reason = f"Sampled values of {name} that are rejected without this line, and accepted with it: {seen}. Allow only what the new application accepts"
            yield Setting(rule.by, (*allowed, *outside), reason, "contract", is_set=False)


_HELD = {
    "user_id_field": "the field of users that has the user id",
    "user_email_field": "the field of users that has the email address",
    "expert_user_field": "the field of experts that has the _id of the expert's user",
}
"""What each field of people is."""


def _is_currency(name: str) -> bool:
    return len(name) == len("INR") and name.isascii() and name.isalpha() and name.isupper()

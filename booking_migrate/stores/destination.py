"""What the indexes and options of a collection do to client documents that are written to it.

A unique index over fields that client documents lack refuses the second of them, an expiry on a field that they have deletes
whole clients, a validator that was written for bookings refuses them all. `examine` finds this out before the first
write; what it cannot be sure of beforehand it names, and the server's refusal is an error of the run then.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from bson import json_util

from booking_migrate.bson.format import Line, shorten
from booking_migrate.domain.contract import DOCUMENT_FIELDS
from booking_migrate.errors import UnfitPlace
from booking_migrate.quantities import plural
from booking_migrate.stores.validators import Verdict, is_fenced

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoDestination

_DATES = frozenset({"createdAt", "updatedAt"})
_NEVER_EQUAL = frozenset({"_id", "clientId", "sessions.sessionId", "sessions.legacyBookingId"})
"""The fields that no two client documents have the same value of."""

_COMMON = frozenset({"clientId", "clientEmail", "clientUserId", "createdAt", "updatedAt"})
"""The fields that a client document has in common with its own bookings, which are still there without a transaction."""

_LONGEST_DEFINITION = 300


class Topology(Enum):
    """How servers are deployed together."""

    STANDALONE = "standalone"
    REPLICA_SET = "replica set"
    SHARDED = "sharded cluster"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server behind the connection."""

    version: Line
    topology: Topology


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """One index of a collection."""

    name: str
    keys: tuple[str, ...]
    """The names of the indexed fields, in order."""

    unique: bool = False
    is_partial: bool = False
    """Whether it leaves some documents out: sparse, or with a filter."""

    expires: bool = False
    """Whether it makes the server delete documents (TTL)."""

    collates: bool = False
    """Whether it compares texts by other rules than their bytes, so that reading in client order cannot use it."""


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """One collection as the server describes it."""

    name: str
    kind: str
    """``collection``, ``view`` or ``timeseries``."""

    documents: int | None = None
    data_bytes: int | None = None
    """The documents' BSON, uncompressed."""

    storage_bytes: int | None = None
    """What they take on disk, compressed."""

    index_bytes: int | None = None
    id_index_bytes: int | None = None
    """Of ``index_bytes``, the index on `_id`."""

    indexes: tuple[IndexFacts, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """As the server lists them."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of the server's data, in bytes."""

    total: int
    used: int

    @property
    def free(self) -> int:
        """Return what is left."""
        return self.total - self.used


@dataclass(frozen=True, slots=True)
class PlaceFacts:
    """A collection's options and indexes, as the server lists them."""

    options: Mapping[str, Any]
    indexes: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class PlaceFinding:
    """What one index or option of a collection does to client documents."""

    kind: str
    """A stable name: ``unique-index``, ``expiring-index``, ``hashed-index``, ``validator``, ``encrypted-fields``."""

    name: str
    """The name of the index or option."""

    definition: str
    """As Extended JSON; empty if the problem names the part of it that counts."""

    problem: str
    """What it would do."""

    remedy: str
    """The command that helps, for the server's shell or this program."""

    is_refused: bool
    """Whether nothing may be written before it is changed; otherwise it is only named."""

    later: str = ""
    """The command that takes the remedy back; empty if that has no point."""

    is_untested: bool = False
    """Whether it refuses documents, and which ones could not be tried out: after a migration it has refused none."""

    @property
    def text(self) -> str:
        """Return all of it in one line."""
        parts = (self.kind.replace("-", " "), self.name, self.definition, self.problem)
        named = " ".join(filter(None, parts))
        return f"the {named}" if self.kind == "validator" else named


def examine(
    place: "MongoDestination", documents: Sequence[bytes], *, in_place: bool, has_transactions: bool = True
) -> tuple[PlaceFinding, ...]:
    """Find what the indexes and options of a collection do to client documents. Nothing is written.

    Args:
        place: the collection.
        documents: client documents such as would be written, for conditions that only the server can evaluate.
        in_place: whether bookings are in it, too, which leave it as client documents come.
        has_transactions: whether bookings leave it in the transaction in which their client document comes.
    """
    facts = place.facts()
    if facts is None:
        return ()
    rules = _Rules(place, documents, in_place=in_place, has_own_bookings=in_place and not has_transactions)
    found = [finding for index in facts.indexes for finding in rules.of_index(index)]
    return (*found, *rules.of_options(facts.options))


def refuse_unfit(
    place: str, found: Sequence[PlaceFinding], *, in_place: bool = False, is_filled: bool = False
) -> None:
    """Refuse a collection that cannot take client documents; ``in_place`` as of `examine`, ``is_filled`` as of `UnfitPlace`.

    Raises:
        UnfitPlace: an index or option prevents it.
    """
    refusal = refusal_of(place, found, in_place=in_place)
    if refusal is not None:
        refusal.is_filled = is_filled
        raise refusal


def refusal_of(place: str, found: Sequence[PlaceFinding], *, in_place: bool = False) -> UnfitPlace | None:
    """Return the refusal of a collection that cannot take client documents; None if it can. ``in_place`` as of `examine`."""
    refused = [finding for finding in found if finding.is_refused]
    if not refused:
        return None
    remedies = tuple(dict.fromkeys(finding.remedy for finding in refused))
    later = tuple(finding.later for finding in refused if finding.later)
    return UnfitPlace(place, tuple(finding.text for finding in refused), remedies, later, in_place)


@dataclass(frozen=True, slots=True)
class _Rules:
    place: "MongoDestination"
    documents: Sequence[bytes]
    in_place: bool
    has_own_bookings: bool
    """Whether a client document comes while the client's bookings are still there."""

    def of_index(self, index: Mapping[str, Any]) -> Iterator[PlaceFinding]:
        for kind, problem, is_refused in self._problems(index):
            yield _of_index(self.place.name, index, kind, problem, is_refused=is_refused)

    def _problems(self, index: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
        keys = tuple(index["key"])
        holds = self._holds(index, keys)
        if "expireAfterSeconds" in index:
            yield from self._of_expiry(index, keys[0], holds=holds)
        if holds is False:
            return
        is_sure = holds is True or "partialFilterExpression" not in index
        if any(kind == "hashed" and _top(name) == "sessions" for name, kind in index["key"].items()):
            yield "hashed-index", "refuses every client document: a hashed index holds no arrays", is_sure
        if _is_unique(index) and keys != ("_id",):
            yield from self._of_unique(index, keys, is_sure=is_sure)

    def _holds(self, index: Mapping[str, Any], keys: Sequence[str]) -> bool | None:
        """Return whether an index holds client documents; None if nothing says so."""
        if index.get("sparse") and not any(_top(key) in DOCUMENT_FIELDS for key in keys):
            return False
        if "partialFilterExpression" not in index:
            return True
        matching = self.place.matching(index["partialFilterExpression"], self.documents)
        if matching is None or not self.documents:
            return None
        return bool(matching)

    def _of_unique(
        self, index: Mapping[str, Any], keys: Sequence[str], *, is_sure: bool
    ) -> Iterator[tuple[str, str, bool]]:
        kind = "unique-index"
        if not any(_top(key) in DOCUMENT_FIELDS for key in keys):
            problem = "refuses the second client document: client documents lack these fields"
            yield kind, problem, is_sure
        elif self.has_own_bookings and "partialFilterExpression" not in index and set(keys) <= _COMMON:
            problem = (
                "refuses a client document while the client's bookings, which have the same value, are there"
            )
            yield kind, problem, is_sure
        elif not any(key in _NEVER_EQUAL and (_is_simple(index) or key != "clientId") for key in keys):
            problem = "refuses a client document that has the same value there as another one"
            yield kind, problem, False
        elif self.in_place and _NEVER_EQUAL.intersection(keys) == {"clientId"} and len(keys) > 1:
            problem = "refuses a client document beside a rejected booking of the client that lacks the other fields"
            yield kind, problem, False

    def _of_expiry(
        self, index: Mapping[str, Any], key: str, *, holds: bool | None
    ) -> Iterator[tuple[str, str, bool]]:
        if (key in _DATES or _top(key) == "sessions") and holds is not False:
            is_refused = holds is True or "partialFilterExpression" not in index
            problem = "makes the server delete client documents with all of their sessions"
            yield "expiring-index", problem, is_refused
        elif self.in_place:
            problem = "makes the server delete bookings during the run; client documents lack the field, so that none expires"
            yield "expiring-index", problem, False

    def of_options(self, options: Mapping[str, Any]) -> Iterator[PlaceFinding]:
        if "encryptedFields" in options:
            yield PlaceFinding(
                kind="encrypted-fields",
                name="encryptedFields",
                definition=_shown(options["encryptedFields"]),
                problem="makes it a collection of Queryable Encryption, whose fields only clients can encrypt",
                remedy="booking-migrate migrate --target with the name of an ordinary collection",
                is_refused=True,
            )
        validator = options.get("validator")
        if validator and options.get("validationLevel", "strict") != "off":
            yield from self._of_validator(options)

    def _of_validator(self, options: Mapping[str, Any]) -> Iterator[PlaceFinding]:
        validator, action = options["validator"], options.get("validationAction", "error")
        if is_fenced(options):
            yield PlaceFinding(
                kind="validator",
                name="of a cut-over",
                definition=_shown(validator),
                problem="refuses every write: a cut-over is under way, or was interrupted",
                remedy="booking-migrate status",
                is_refused=True,
            )
            return
        matching = self.place.matching(validator, self.documents) if self.documents else None
        broken = partial(self.place.broken_rules, validator)
        verdict = None if matching is None else Verdict().after(self.documents, matching, broken)
        if verdict is None or verdict.refused:
            yield validator_finding(
                self.place.name,
                validator,
                verdict,
                is_enforced=action != "warn",
                level=options.get("validationLevel", "strict"),
            )


def validator_finding(
    place: str,
    validator: Mapping[str, Any],
    verdict: Verdict | None,
    *,
    is_enforced: bool = True,
    level: str = "strict",
) -> PlaceFinding:
    """Return what is to be said about a validator: by what it made of documents, None if it could not be tried out.

    It refuses documents if ``is_enforced``, and else logs them; ``level`` is its `validationLevel`.
    """
    if verdict is None:
        problem = "could not be tested with client documents"
    else:
        problem = (
            f"{'refuses' if is_enforced else 'logs'} {verdict.refused} of {verdict.tested} client documents "
            f"that were tested, such as that of client {verdict.sample}"
            f"{': ' if verdict.rules else ''}{', '.join(verdict.rules)}"
        )
    return PlaceFinding(
        kind="validator",
        name="",
        definition="" if verdict is not None and verdict.rules else _shown(validator),
        problem=problem,
        remedy=validator_off(place),
        is_refused=is_enforced and verdict is not None,
        later=validator_on(place, level),
        is_untested=is_enforced and verdict is None,
    )


def validator_off(place: str) -> str:
    """Return the command of the shell that switches a collection's validator off."""
    return f'db.runCommand({{collMod: "{place}", validationLevel: "off"}})'


def validator_on(place: str, level: str) -> str:
    """Return the command of the shell that sets another validator, for which VALIDATOR stands, with the level of the former one."""
    return f'db.runCommand({{collMod: "{place}", validator: VALIDATOR, validationLevel: "{level}"}})'


def lone_unique_field(index: Mapping[str, Any]) -> str | None:
    """Return the one field of an index that refuses client documents with equal values of it, compared by bytes; else None."""
    (name, *others) = index["key"]
    is_own = name in {*DOCUMENT_FIELDS} - _NEVER_EQUAL - {"sessions"}
    is_whole = "partialFilterExpression" not in index
    return name if _is_unique(index) and _is_simple(index) and is_own and is_whole and not others else None


def equal_values_finding(place: str, index: Mapping[str, Any], count: int, sample: str) -> PlaceFinding:
    """Return what is to be said about a unique index that refuses this number of documents, one of them for this value."""
    documents = plural(count, "client document that has", "client documents that have")
    problem = f"refuses {documents} the same value there as another one, such as {sample}"
    return _of_index(place, index, "unique-index", problem, is_refused=True)


def _top(field: str) -> str:
    return field.partition(".")[0]


def _is_unique(index: Mapping[str, Any]) -> bool:
    return bool(index.get("unique") or index.get("prepareUnique"))


def _is_simple(index: Mapping[str, Any]) -> bool:
    return bool(index.get("collation", {}).get("locale", "simple") == "simple")


def _of_index(
    place: str, index: Mapping[str, Any], kind: str, problem: str, *, is_refused: bool
) -> PlaceFinding:
    definition = {name: value for name, value in index.items() if name not in ("v", "name", "ns")}
    return PlaceFinding(
        kind=kind,
        name=str(index["name"]),
        definition=_shown(definition),
        problem=problem,
        remedy=f'db.getCollection("{place}").dropIndex("{index["name"]}")',
        is_refused=is_refused,
    )


def _shown(definition: Any) -> str:
    text = json_util.dumps(definition, json_options=json_util.RELAXED_JSON_OPTIONS)
    return shorten(text, _LONGEST_DEFINITION)

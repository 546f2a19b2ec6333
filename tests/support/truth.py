"""What a migration of the source as it is now has to come to, derived from plain dicts by a second, small definition.

It covers the bookings that `tests.support.changing` makes, and shares no code with the program.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from pymongo.database import Database

Db = Database[dict[str, Any]]
Document = dict[str, Any]

CODEC: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
SHORT = "duration-too-short"
CURRENCY = "currency-not-allowed"
_MOVED = ("_id", "clientId", "clientUserId", "clientEmail", "__v")
_PERSONAL = ("clientUserId", "clientEmail", "expertUserId", "expertEmail")
_SHORTEST = 15


@dataclass(frozen=True, slots=True)
class Truth:
    """What has to become of each booking."""

    sessions: Mapping[Any, tuple[Any, bytes]]
    """The client and the session of each booking that can be converted, by the booking's `_id`."""

    rejected: frozenset[Any]
    """The `_id` of all others."""

    documents: Mapping[Any, bytes]
    """The document of each client that has only what its bookings give it."""

    own_sessions: Mapping[Any, Mapping[Any, bytes]] = field(default_factory=dict)
    """The sessions of the client documents in the source, by client and `sessionId`."""

    @property
    def scanned(self) -> int:
        """How many bookings there are."""
        return len(self.sessions) + len(self.rejected)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that a proven result must not have."""

    client_id: Any
    problem: str


class Others(Protocol):
    """What others have done to client documents."""

    theirs: dict[Any, dict[Any, bytes]]
    """The sessions that they put into the target, by client and `sessionId`, as they left them."""

    miscounted: set[Any]
    """The clients whose totals they made wrong."""


def documents_of(database: Db, name: str) -> list[Document]:
    """All documents of a collection, with dates as milliseconds."""
    return list(database.get_collection(name, codec_options=CODEC).find())


def truth_of(database: Db, accepted: Collection[str], source: str = "bookings") -> Truth:
    """Derive what a first migration of the source into an empty target has to come to."""
    users = {each["_id"]: each for each in documents_of(database, "users")}
    experts = {each["_id"]: each for each in documents_of(database, "experts")}
    sessions: dict[Any, tuple[Any, bytes]] = {}
    of_clients: defaultdict[Any, list[tuple[Any, ...]]] = defaultdict(list)
    rejected, own = set(), {}
    for document in documents_of(database, source):
        if "sessions" in document:
            own[document["clientId"]] = {
                each["sessionId"]: bson.encode(each) for each in document["sessions"]
            }
            continue
        whole = _completed(document, users, experts)
        if whole is None or _breaks_the_contract(whole, accepted):
            rejected.add(document["_id"])
            continue
        session = _session(whole)
        sessions[whole["_id"]] = (whole["clientId"], bson.encode(session))
        of_clients[whole["clientId"]].append((whole["createdAt"], whole["_id"], whole, session))
    made = {client_id: _document(client_id, sorted(each)) for client_id, each in of_clients.items()}
    return Truth(sessions, frozenset(rejected), made, own)


def _completed(
    booking: Document, users: Mapping[Any, Document], experts: Mapping[Any, Document]
) -> Document | None:
    """The booking with what had to be looked up behind its own fields; None if that cannot be found."""
    whole = {name: value for name, value in booking.items() if name not in _PERSONAL or value is not None}
    if whole.get("clientId") is None:
        return None
    expert = experts.get(whole["expertId"], {})
    for side, person in (
        ("client", users.get(whole["clientId"])),
        ("expert", users.get(expert.get("userId"))),
    ):
        for name, found in ((f"{side}UserId", "user_id"), (f"{side}Email", "email")):
            if name not in whole:
                if person is None:
                    return None
                whole[name] = person[found]
    whole.setdefault("status", "pending")
    whole.setdefault("paymentStatus", "pending")
    return whole


def _breaks_the_contract(booking: Document, accepted: Collection[str]) -> bool:
    is_short = booking["duration"] < _SHORTEST
    is_foreign = not (booking["currency"].isupper() and booking["currency"].isalpha())
    return (is_short and SHORT not in accepted) or (is_foreign and CURRENCY not in accepted)


def _session(whole: Document) -> Document:
    old = whole["_id"].binary
    kept = {name: value for name, value in whole.items() if name not in _MOVED}
    return {"sessionId": ObjectId(old[:4] + old[9:] + old[4:9]), **kept, "legacyBookingId": whole["_id"]}


def _document(client_id: ObjectId, ordered: Sequence[tuple[Any, ...]]) -> bytes:
    old, last = client_id.binary, ordered[-1][2]
    return bson.encode(
        {
            "_id": ObjectId(old[:4] + old[8:] + old[4:8]),
            "clientId": client_id,
            "clientUserId": last["clientUserId"],
            "clientEmail": last["clientEmail"],
            "sessions": [session for *_, session in ordered],
            "totalSessions": len(ordered),
            "totalSpent": total(session["price"] for *_, session in ordered),
            "createdAt": min(whole["createdAt"] for *_, whole, _ in ordered),
            "updatedAt": max(whole["updatedAt"] for *_, whole, _ in ordered),
        }
    )


def total(prices: Iterable[Any]) -> Any:
    """The sum of prices in decimal, in the widest of their types."""
    seen = list(prices)
    decimals = [
        each.to_decimal() if isinstance(each, Decimal128) else Decimal(f"{each:.15g}") for each in seen
    ]
    if any(isinstance(each, Decimal128) for each in seen):
        return Decimal128(sum(decimals, Decimal(0)))
    return float(sum(decimals)) if any(isinstance(each, float) for each in seen) else sum(seen)


def faults_of(
    found: Sequence[Document],
    truth: Truth,
    others: Others,
    decided: Collection[Any] = (),
) -> Iterator[Fault]:
    """Find what is stale, doubled, missing or lost in client documents that have been proven or are live.

    Args:
        found: the client documents.
        truth: what the bookings have to be.
        others: what others have done to the target.
        decided: the bookings whose session was kept with other content, by a decision.
    """
    for client_id, count in Counter(each["clientId"] for each in found).items():
        if count > 1:
            yield Fault(client_id, f"{count} documents")
    claimed: Counter[tuple[Any, Any]] = Counter()
    for document in found:
        claims = [each["legacyBookingId"] for each in document["sessions"] if "legacyBookingId" in each]
        claimed.update((claim, document["clientId"]) for claim in claims)
        yield from _stale(document, truth, decided)
        yield from _not_theirs(document, truth, others)
    for booking_id, (owner, _session) in truth.sessions.items():
        if claimed[booking_id, owner] != 1:
            yield Fault(owner, f"booking {booking_id} is there {claimed[booking_id, owner]} times")
    for owner in {**truth.own_sessions, **others.theirs}.keys() - {each["clientId"] for each in found}:
        yield Fault(owner, "its sessions of no booking are gone")


def _stale(document: Document, truth: Truth, decided: Collection[Any]) -> Iterator[Fault]:
    owner = document["clientId"]
    for session in document["sessions"]:
        claim = session.get("legacyBookingId")
        client_id, expected = truth.sessions.get(claim, (None, b""))
        if claim is not None and client_id != owner:
            yield Fault(owner, f"a session of booking {claim}, which this client does not have")
        elif claim is not None and bson.encode(session) != expected and claim not in decided:
            yield Fault(owner, f"the session of booking {claim} has other content")


def _not_theirs(document: Document, truth: Truth, others: Others) -> Iterator[Fault]:
    owner, sessions = document["clientId"], document["sessions"]
    own = {each["sessionId"]: bson.encode(each) for each in sessions if "legacyBookingId" not in each}
    wanted = {**truth.own_sessions.get(owner, {}), **others.theirs.get(owner, {})}
    if own != wanted:
        yield Fault(owner, f"the sessions of no booking are {set(own)}, not {set(wanted)}, or have changed")
    totals = len(sessions), total(each["price"] for each in sessions)
    if owner not in others.miscounted and totals != (document["totalSessions"], document["totalSpent"]):
        yield Fault(owner, "wrong totals")

"""The verifier on generated documents: no false alarm on what a migration wrote, no fault overlooked."""

import json
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from bson.objectid import ObjectId
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.rules import Rules
from booking_migrate.errors import TargetInOldShape
from booking_migrate.migrate.pipeline import migrate
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.files.extended_json import survives_extended_json
from booking_migrate.stores.open import open_reader, open_rejected_records, open_target
from booking_migrate.stores.places import parse_place
from booking_migrate.stores.ports import stores_any_bson
from booking_migrate.verify import (
    Mismatch,
    VerificationOutcome,
    VerificationPlan,
    VerificationRules,
)
from booking_migrate.verify.run import verify
from tests.properties.test_migration import CLIENTS, GOOD_CHANGES, VALUES, bookings
from tests.support.bookings import ABSENT, a_booking
from tests.support.examples import examples
from tests.support.proof import Proof, migrated, verify_files, written

Document = dict[str, Any]
SETTINGS = settings(
    max_examples=examples(50, one_of=1), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

USERS: list[Document] = [
    {"_id": CLIENTS[0], "user_id": "1111", "email": "one@example.org"},
    {"_id": CLIENTS[2], "user_id": "22", "email": "two@example.org"},
    {"_id": 7.0, "user_id": "3333", "email": None},
    {"_id": "expert-user", "user_id": "4444", "email": "four@example.org"},
]
EXPERTS: list[Document] = [
    {"_id": a_booking()["expertId"], "userId": "expert-user"},
    {"_id": "e2", "userId": "nobody"},
]


@st.composite
def generation_1(draw: st.DrawFn) -> Document:
    """Changes that take away, or set to null, what has to be looked up then."""
    names = draw(st.sets(st.sampled_from(["clientUserId", "clientEmail", "expertUserId", "expertEmail"])))
    changes: Document = {name: draw(st.sampled_from([ABSENT, None])) for name in sorted(names)}
    return changes | {"expertId": draw(st.sampled_from([a_booking()["expertId"], "e2", 5]))}


@st.composite
def sources(draw: st.DrawFn) -> list[Document]:
    """Bookings, clean and dirty, some of them twice, and client documents of the new application."""
    documents: list[Document] = draw(bookings())
    repeated, conflicting = draw(st.tuples(st.booleans(), st.booleans()))
    used = {json.dumps(str(each["_id"])) for each in documents}
    for number, changes in enumerate(draw(st.lists(st.tuples(generation_1(), GOOD_CHANGES), max_size=4))):
        booking_id = ObjectId(f"68b61bd7a4c0bf9eaab3{number:04x}")
        assume(json.dumps(str(booking_id)) not in used)
        client = draw(st.sampled_from(CLIENTS))
        documents.append(a_booking(_id=booking_id, clientId=client, **{**changes[1], **changes[0]}))
    if documents and repeated:
        documents.append(dict(draw(st.sampled_from(documents))))
    if documents and conflicting:
        documents.append({**draw(st.sampled_from(documents)), "notes": "other"})
    for number, client_id in enumerate(draw(st.sets(st.sampled_from(range(3)), max_size=2))):
        documents.append(draw(client_documents(number, CLIENTS[client_id])))
    return list(draw(st.permutations(documents)))


@st.composite
def client_documents(draw: st.DrawFn, number: int, client_id: Any) -> Document:
    """A client document with sessions of the application, whose own fields may lack or be wrong."""
    session = st.fixed_dictionaries(
        {"sessionId": st.binary(min_size=12, max_size=12).map(ObjectId)},
        optional={"price": VALUES, "createdAt": VALUES, "status": st.just("pending")},
    )
    fields: Document = {
        "clientUserId": draw(st.sampled_from(["9999", ABSENT])),
        "clientEmail": draw(st.sampled_from(["app@example.org", ABSENT])),
        "sessions": draw(st.lists(session, max_size=3)),
        "totalSessions": draw(st.sampled_from([1, Int64(2), ABSENT])),
        "totalSpent": draw(st.sampled_from([1, 2.5, ABSENT])),
        "createdAt": draw(st.sampled_from([DatetimeMS(1_700_000_000_000), ABSENT])),
        "updatedAt": draw(st.sampled_from([DatetimeMS(1_700_000_000_000), ABSENT])),
        "app": draw(VALUES),
    }
    order = draw(st.permutations(list(fields)))
    kept = {name: fields[name] for name in order if fields[name] is not ABSENT}
    return {"_id": ObjectId(f"64{number:022x}"), "clientId": client_id, **kept}


def _migrate_and_verify(
    folder: Path, source: list[Document], target: str, size: int
) -> tuple[VerificationOutcome, list[Mismatch]]:
    sides: dict[str, list[Document]] = {"bookings": source, "users": USERS, "experts": EXPERTS}
    for name, documents in sides.items():
        folder.joinpath(f"{name}.bson").write_bytes(written(documents))
    place, none, found = parse_place(str(folder / target)), Connection(), list[Mismatch]()
    with ExitStack() as stack:

        def read(name: str) -> Any:
            return stack.enter_context(closing(open_reader(parse_place(str(folder / name)), none)))

        migrate(
            MigrationPlan(rules=Rules(maximum_document_size=size)),
            read("bookings.bson"),
            open_target(place, none, source_name="bookings.bson"),
            users=read("users.bson"),
            experts=read("experts.bson"),
        )
        can_store = stores_any_bson if target.endswith(".bson") else survives_extended_json
        rejected = open_rejected_records(place, none, source_name="bookings.bson")
        outcome = verify(
            VerificationPlan(VerificationRules(maximum_document_size=size, can_store=can_store)),
            read("bookings.bson"),
            read(target),
            stack.enter_context(closing(rejected)),
            users=read("users.bson"),
            experts=read("experts.bson"),
            sink=found.append,
        )
    return outcome, found


@SETTINGS
@given(sources(), st.sampled_from(["clients.bson", "clients.jsonl"]), st.sampled_from([800, 1500, 1 << 23]))
def test_no_false_alarm(source: list[Document], target: str, size: int) -> None:
    """What a migration made of any source has no mismatch, and every booking is accounted for."""
    with TemporaryDirectory() as folder:
        outcome, found = _migrate_and_verify(Path(folder), source, target, size)

    assert [] == found
    counts = outcome.counts
    assert counts.scanned == counts.migrated + counts.already_migrated + counts.rejected


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    return migrated(tmp_path_factory.mktemp("migrated"))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a value stands inside a document, at any depth."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _harm(data: st.DataObject, target: list[Document]) -> None:
    """Do one thing to one value anywhere: change it, lose it, double it, or swap it with its neighbour."""
    path = data.draw(st.sampled_from([place for place in _places(target) if place]))
    holder, key = _at(target, path[:-1]), path[-1]
    match data.draw(st.sampled_from(["change", "lose", "double", "swap"])):
        case "change":
            holder[key] = data.draw(VALUES) if len(path) > 1 else {"_id": 1, "sessions": []}
        case "lose":
            del holder[key]
        case "double" if isinstance(holder, list):
            holder.insert(data.draw(st.integers(0, len(holder))), holder[key])
        case "swap" if isinstance(holder, list) and key:
            holder[key - 1], holder[key] = holder[key], holder[key - 1]
        case _:
            at_top = target[0] if len(path) == 1 else holder
            at_top.update(new=1) if isinstance(at_top, dict) else at_top.append({"new": 1})


@SETTINGS
@given(st.data())
def test_no_fault_is_overlooked(proof: Proof, data: st.DataObject) -> None:
    """Whatever single thing is done to a right result, it is found, unless the documents are the same as before."""
    harmed = proof.copy()
    _harm(data, harmed.target)

    def as_set(side: Proof) -> list[bytes]:
        return sorted(bson.encode(each, codec_options=CODEC) for each in side.target)

    assume(as_set(harmed) != as_set(proof))
    with TemporaryDirectory() as folder:
        try:
            _outcome, found = verify_files(harmed, Path(folder))
        except TargetInOldShape:
            return

    assert found

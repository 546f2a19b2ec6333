"""A migration of every kind of client, done once by the program, for tests that harm its result and verify it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import bson
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.migrate.pipeline import migrate
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo.administration import has_client_index
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.raw import as_driver_document
from booking_migrate.stores.open import open_reader, open_rejected_records, open_target
from booking_migrate.stores.places import parse_place
from booking_migrate.verify import Mismatch, VerificationOutcome, VerificationPlan
from booking_migrate.verify.run import verify

Document = dict[str, Any]

DOUBLES = ObjectId("650000000000000000000001")
LOOKED_UP = ObjectId("650000000000000000000002")
NUMBERED = Int64(7)
ADDED_TO = ObjectId("650000000000000000000004")
CARRIED = ObjectId("650000000000000000000005")
DAY = 86_400_000
_START = 1_700_000_000_000


def old_booking(number: int, client_id: Any, **changes: Any) -> Document:
    """A sound booking of generation 2, created ``number`` days after the first; a change to None takes a field away."""
    booking: Document = {
        "_id": ObjectId(f"66{number:06x}a1b2c3d4e5{number:06x}"),
        "clientId": client_id,
        "expertId": ObjectId("650000000000000000000e01"),
        "clientUserId": "1234",
        "clientEmail": "client@example.org",
        "expertUserId": "4321",
        "expertEmail": "expert@example.org",
        "sessionType": "video",
        "duration": 60,
        "scheduledDate": DatetimeMS(_START + number * DAY),
        "startTime": "9:00",
        "endTime": "10:00",
        "status": "completed",
        "price": 1500,
        "currency": "INR",
        "paymentStatus": "paid",
        "notes": "first",
        "createdAt": DatetimeMS(_START + number * DAY),
        "updatedAt": DatetimeMS(_START + number * DAY + 1000),
        "__v": 0,
        "extra": {"a": 1, "b": [Int64(1), 1.0, True]},
        **changes,
    }
    return {name: value for name, value in booking.items() if value is not None}


def _generation_1(number: int) -> Document:
    lacking = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail", "status"))
    return old_booking(number, LOOKED_UP, **lacking)


def _client_document(client_id: ObjectId, number: int) -> Document:
    created = DatetimeMS(_START - DAY)
    return {
        "_id": ObjectId(f"64{number:022x}"),
        "clientId": client_id,
        "clientUserId": "1111",
        "sessions": [{"sessionId": ObjectId(f"63{number:022x}"), "price": 10, "createdAt": created}],
        "totalSessions": 1,
        "totalSpent": 10,
        "createdAt": created,
        "updatedAt": created,
        "app": {"kept": True},
        "__v": 3,
    }


def source_documents() -> list[Document]:
    """Bookings and client documents of every kind."""
    prices = (4224.11, 663.83, 9533.41)
    return [
        *(old_booking(number, DOUBLES, price=price) for number, price in enumerate(prices)),
        *(_generation_1(number) for number in range(10, 13)),
        old_booking(20, 7, _id="twenty", price=Decimal128("12.50")),
        old_booking(21, Int64(7), _id="twenty-one", price=1),
        _client_document(ADDED_TO, 4),
        old_booking(30, ADDED_TO),
        old_booking(31, ADDED_TO, price=Int64(5)),
        _client_document(CARRIED, 5),
        old_booking(40, DOUBLES, duration=5),
        old_booking(41, LOOKED_UP, clientUserId=None, expertId="nobody", expertUserId=None),
        old_booking(42, None),
    ]


@dataclass(frozen=True, slots=True)
class Proof:
    """Both sides of a migration and what belongs to it, as decoded documents."""

    source: list[Document]
    target: list[Document]
    rejected: list[Document]
    users: list[Document]
    experts: list[Document]

    def copy(self) -> "Proof":
        """The same, to be harmed."""
        sides = (self.source, self.target, self.rejected, self.users, self.experts)
        return Proof(*(read(written(side)) for side in sides))

    def client(self, client_id: Any) -> Document:
        """The target's document of a client."""
        return next(document for document in self.target if document["clientId"] == client_id)


def written(documents: Sequence[Document]) -> bytes:
    """Documents as a dump has them."""
    return b"".join(bson.encode(document, codec_options=CODEC) for document in documents)


def read(dump: bytes) -> list[Document]:
    """The documents of a dump."""
    return bson.decode_all(dump, CODEC)


def migrated(folder: Path) -> Proof:
    """Let the program migrate `source_documents`."""
    user = {"_id": LOOKED_UP, "user_id": "7777", "email": "looked@example.org"}
    expert_user = {"_id": 77, "user_id": "8888", "email": "up@example.org"}
    people = ([user, expert_user], [{"_id": ObjectId("650000000000000000000e01"), "userId": 77}])
    proof = Proof(source_documents(), [], [], *people)
    _write(folder, proof)
    folder.joinpath("clients.bson").unlink()
    rejects = folder / "rejects.jsonl"
    rejects.unlink()
    place = parse_place(str(folder / "clients.bson"))
    target = open_target(place, Connection(), source_name="bookings.bson", rejects=rejects)
    with _readers(Connection(), {name: str(folder / f"{name}.bson") for name in _SOURCES}) as readers:
        migrate(
            MigrationPlan(), readers["bookings"], target, users=readers["users"], experts=readers["experts"]
        )
    records = [
        bson.json_util.loads(
            line, json_options=_JSON.with_options(datetime_conversion=CODEC.datetime_conversion)
        )
        for line in rejects.read_text(encoding="utf-8").splitlines()
    ]
    return replace(proof, target=read(folder.joinpath("clients.bson").read_bytes()), rejected=records)


_JSON = bson.json_util.CANONICAL_JSON_OPTIONS.with_options(tz_aware=False)


def _write(folder: Path, proof: Proof) -> None:
    sides = {
        "bookings": proof.source,
        "clients": proof.target,
        "users": proof.users,
        "experts": proof.experts,
    }
    for name, documents in sides.items():
        folder.joinpath(f"{name}.bson").write_bytes(written(documents))
    lines = [bson.json_util.dumps(record, json_options=_JSON) for record in proof.rejected]
    folder.joinpath("rejects.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


Result = tuple[VerificationOutcome, list[Mismatch]]


def verify_files(proof: Proof, folder: Path, plan: VerificationPlan | None = None) -> Result:
    """Verify both sides as files."""
    _write(folder, proof)
    with _readers(Connection(), {name: str(folder / f"{name}.bson") for name in _PLACES}) as readers:
        records = open_rejected_records(
            parse_place(str(folder / "clients.bson")),
            Connection(),
            source_name="bookings.bson",
            rejects=folder / "rejects.jsonl",
        )
        with closing(records):
            return _verify(plan, readers, records, None)


def verify_collections(
    proof: Proof, database: Database[Document], connection: Connection, plan: VerificationPlan | None = None
) -> Result:
    """Fill collections of a real server with both sides, and verify them."""
    fill_collections(proof, database)
    return verify_filled(connection, plan)


def fill_collections(proof: Proof, database: Database[Document]) -> None:
    """Fill collections of a real server with both sides."""
    sides = {
        "bookings": proof.source,
        "clients": proof.target,
        "users": proof.users,
        "experts": proof.experts,
    }
    for name, documents in sides.items():
        _fill(database, name, documents)
    records = [{**record, "source": "bookings", "target": "clients"} for record in proof.rejected]
    _fill(database, "booking_migrate_rejected", records)
    keys = [bson.encode({"": document.get("clientId")}) for document in proof.target]
    # As after a migration; where two documents have one client, somebody must have dropped it.
    if len(set(keys)) == len(keys):
        database["clients"].create_index("clientId", unique=True)
    database["bookings"].create_index("clientId")


def verify_filled(connection: Connection, plan: VerificationPlan | None = None) -> Result:
    """Verify the collections of a real server as they are."""
    with _readers(connection, {name: name for name in _PLACES}) as readers:
        rejected = open_rejected_records(parse_place("clients"), connection, source_name="bookings")
        with closing(rejected):
            return _verify(plan, readers, rejected, connection.collection("clients"))


_SOURCES = ("bookings", "users", "experts")
_PLACES = (*_SOURCES, "clients")


def _fill(database: Database[Document], name: str, documents: Sequence[Document]) -> None:
    database.drop_collection(name)
    database.create_collection(name)
    if documents:
        raw = [as_driver_document(bson.encode(each, codec_options=CODEC)) for each in documents]
        database[name].insert_many(cast("Any", raw))


@contextmanager
def _readers(connection: Connection, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        yield {
            key: stack.enter_context(closing(open_reader(parse_place(name), connection)))
            for key, name in names.items()
        }


def _verify(
    plan: VerificationPlan | None,
    readers: dict[str, Any],
    rejected: Any,
    collection: DriverCollection | None,
) -> Result:
    found: list[Mismatch] = []
    outcome = verify(
        plan or VerificationPlan(),
        readers["bookings"],
        readers["clients"],
        rejected,
        users=readers["users"],
        experts=readers["experts"],
        has_client_index=None if collection is None else lambda: has_client_index(collection),
        sink=found.append,
    )
    return outcome, found

"""A small booking platform in a database: users, experts and bookings, migrated or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.ids import client_document_id
from booking_migrate.runs.plan import MigrationOutcome
from booking_migrate.service.appointment import Wish
from booking_migrate.service.repository import Repository, Shown
from tests.support.bookings import ABSENT, DAY, a_booking
from tests.support.migration import migrate
from tests.support.server import Server

FIRST_DAY = 20_000 * DAY
"""The day of the first bookings: 2024-10-04."""


class State(StrEnum):
    """How far the migration of a platform is."""

    UNMIGRATED = "unmigrated"
    HALF = "half migrated"
    MIGRATED = "migrated"


def user(number: int) -> ObjectId:
    """The `_id` of a user."""
    return ObjectId(f"65f0a0{number:018x}")


def expert(number: int) -> ObjectId:
    """The `_id` of an expert, who is user 100 + number."""
    return ObjectId(f"65f0b0{number:018x}")


def booking_id(number: int) -> ObjectId:
    """The `_id` of an old booking."""
    return ObjectId(f"65f1a0{number:018x}")


def an_expert(number: int, **changes: Any) -> dict[str, Any]:
    """An expert's document."""
    own = {
        "_id": expert(number),
        "userId": user(100 + number),
        "available": True,
        "sessionTypes": [{"type": "chat", "price": 20}, {"type": "video", "price": 49.99, "currency": "EUR"}],
    }
    return {name: value for name, value in {**own, **changes}.items() if value is not ABSENT}


def a_user(number: int) -> dict[str, Any]:
    """A user's document."""
    return {"_id": user(number), "user_id": f"{1000 + number}", "email": f"user{number}@example.com"}


def an_old_booking(
    number: int, *, client: int, of: int, day: int, start: str, **changes: Any
) -> dict[str, Any]:
    """A booking of half an hour in the old shape; days are counted from `FIRST_DAY`."""
    hour, _, minute = start.partition(":")
    minutes = int(hour) * 60 + int(minute) + 30
    created = DatetimeMS(FIRST_DAY + number * 1000)
    return a_booking(
        **{
            "_id": booking_id(number),
            "clientId": user(client),
            "clientUserId": f"{1000 + client}",
            "clientEmail": f"user{client}@example.com",
            "expertId": expert(of),
            "expertUserId": f"{1100 + of}",
            "expertEmail": f"user{100 + of}@example.com",
            "scheduledDate": DatetimeMS(FIRST_DAY + day * DAY),
            "startTime": start,
            "endTime": f"{minutes // 60 % 24:02}:{minutes % 60:02}",
            "createdAt": created,
            "updatedAt": created,
            **changes,
        }
    )


def wish(day: int = 100, start: str = "12:30", **changes: Any) -> Wish:
    """What a client asks for: half an hour of chat, unless changed; days are counted from `FIRST_DAY`."""
    return Wish(
        **{
            "session_type": "chat",
            "duration": 30,
            "scheduled_date": FIRST_DAY + day * DAY,
            "start_time": start,
            **changes,
        }
    )


def book(repository: Repository, client: int = 0, of: int = 0, **changes: Any) -> Shown:
    """Book a session as a user by number, with an expert by number."""
    return repository.book(repository.people.caller(str(user(client))), str(expert(of)), wish(**changes))


def document(client: int) -> str:
    """The id of a client's document, by the client's number."""
    return str(client_document_id(user(client)))


FIRST_GENERATION = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail"), ABSENT)


def old_bookings() -> list[dict[str, Any]]:
    """Bookings of five clients with three experts: both generations, every status, and two that cannot be migrated."""
    statuses = ("pending", "confirmed", "completed", "cancelled", "no-show")
    sound = [
        an_old_booking(
            number,
            client=number % 5,
            of=number % 3,
            day=number // 4,
            start=f"{9 + number % 4 * 2}:{number % 2 * 30:02}",
            status=statuses[number % 5] if number % 7 else ABSENT,
            sessionType="video" if number % 3 else "chat",
            price=(20, 49.99, 0.1)[number % 3],
            paymentStatus="paid" if number % 4 == 2 else "pending",
            **(FIRST_GENERATION if number % 2 else {}),
        )
        for number in range(40)
    ]
    wrong = [
        an_old_booking(40, client=0, of=0, day=40, start="9:00", currency="usd"),
        an_old_booking(41, client=1, of=1, day=40, start="9:00", duration=5),
    ]
    return [*sound, *wrong]


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform in a database."""

    bookings: Collection[dict[str, Any]]

    @classmethod
    def settle(
        cls,
        server: Server,
        database: Database[dict[str, Any]],
        state: State,
        more: Sequence[dict[str, Any]] = (),
    ) -> "Platform":
        """Fill the database with this and nothing else; ``more`` are further old bookings, migrated or not as the others are."""
        for name in ("bookings", "users", "experts", "booking_migrate_slots"):
            database[name].delete_many({})
        database.users.insert_many([a_user(number) for number in (*range(8), *range(100, 104))])
        database.experts.insert_many([an_expert(number) for number in range(3)])
        raw = database.get_collection("bookings", CODEC.with_options(document_class=RawBSONDocument))
        if more or state not in _SETTLED:
            bookings = database.get_collection("bookings", CODEC)
            bookings.insert_many([*old_bookings(), *more])
            _migrate(server, database, state)
        else:
            raw.insert_many(_SETTLED[state])
        if not more:
            # Migrated once, and from then on as it was.
            _SETTLED.setdefault(state, [*raw.find()])
        return cls(database.get_collection("bookings", CODEC))


_SETTLED: dict[State, list[dict[str, Any]]] = {}


def _migrate(server: Server, database: Database[dict[str, Any]], state: State) -> None:
    if state is State.MIGRATED:
        migrate_some(server, database, {})
    elif state is State.HALF:
        # Two clients wholly, and the earlier bookings of a third one.
        early = {"clientId": user(2), "_id": {"$lt": booking_id(20)}}
        migrate_some(server, database, {"$or": [{"clientId": {"$in": [user(0), user(1)]}}, early]})


def migrate_some(
    server: Server, database: Database[dict[str, Any]], which: dict[str, Any]
) -> MigrationOutcome:
    """Migrate some bookings as a migration in place does: documents in, bookings out, rejected ones stay."""
    database.bookings.aggregate([{"$match": {**which, "sessions": {"$exists": False}}}, {"$out": "part"}])
    outcome = migrate("part", "clients", uri=server.uri, db=database.name)
    raw = CODEC.with_options(document_class=RawBSONDocument)
    documents = list(database.get_collection("clients", raw).find())
    moved = [session["legacyBookingId"] for one in database.clients.find() for session in one["sessions"]]
    database.bookings.delete_many({"_id": {"$in": moved}})
    database.get_collection("bookings", raw).insert_many(documents)
    for name in ("part", "clients", "booking_migrate_rejected"):
        database.drop_collection(name)
    return outcome

"""Options of a verification: later sessions, samples, second readings, baselines from a journal."""

from pathlib import Path
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import CODEC, identity_of
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.ports import Baseline
from booking_migrate.verify import VerificationPlan, VerificationRules, reconcile
from tests.support.proof import (
    ADDED_TO,
    CARRIED,
    DOUBLES,
    Document,
    Proof,
    migrated,
    verify_collections,
    verify_files,
)
from tests.support.server import Server

LATER = VerificationPlan(VerificationRules(allow_later=True))
NEW: Document = {
    "sessionId": ObjectId("670000000000000000000001"),
    "price": 0.65,
    "createdAt": DatetimeMS(1_800_000_000_000),
}


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    return migrated(tmp_path_factory.mktemp("migrated"))


@pytest.fixture
def proof(right: Proof) -> Proof:
    return right.copy()


def _add_later(document: Document, total: float) -> None:
    document["sessions"].append(NEW)
    document.update(totalSessions=len(document["sessions"]), totalSpent=total, updatedAt=NEW["createdAt"])


def test_later_sessions_are_counted(proof: Proof, tmp_path: Path) -> None:
    """With --allow-later a session of the application is counted, though the sum is one of doubles."""
    _add_later(proof.client(DOUBLES), 14422.000000000002)
    outcome, found = verify_files(proof, tmp_path, LATER)

    assert [] == found
    assert 1 == outcome.later_sessions


def test_a_later_session_whose_text_resembles_a_claim(proof: Proof, tmp_path: Path) -> None:
    """A session of the application is a later one, whatever its client has written into it."""
    _add_later(proof.client(DOUBLES), 14422.0)
    *others, last = proof.client(DOUBLES)["sessions"]
    notes = {"notes": "\x07legacyBookingId\x00eleven char"}
    proof.client(DOUBLES)["sessions"] = [*others, {**last, **notes}]
    outcome, found = verify_files(proof, tmp_path, LATER)

    assert [] == found
    assert 1 == outcome.later_sessions


def test_later_clients_are_counted(proof: Proof, tmp_path: Path) -> None:
    """With --allow-later a client that the application added is allowed."""
    proof.target.append({"_id": 1, "clientId": "new", "sessions": [], "createdAt": NEW["createdAt"]})
    _add_later(proof.target[-1], 0.65)

    assert [] == verify_files(proof, tmp_path, LATER)[1]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"totalSpent": 14422.01}, "totalSpent"), ({"totalSessions": 3}, "totalSessions"), ({"_id": 5}, "_id")],
)
def test_totals_must_fit_later_sessions(proof: Proof, tmp_path: Path, change: Document, field: str) -> None:
    """With --allow-later totals still have to fit, and the document has to be the client's."""
    _add_later(proof.client(DOUBLES), 14422.0)
    proof.client(DOUBLES).update(change)

    assert [field] == [each.field for each in verify_files(proof, tmp_path, LATER)[1]]


def test_later_is_not_lost(proof: Proof, tmp_path: Path) -> None:
    """With --allow-later a migrated session that is lost is missing all the same."""
    _add_later(proof.client(DOUBLES), 10198.0)
    lost = proof.client(DOUBLES)["sessions"].pop(0)
    proof.client(DOUBLES)["totalSessions"] = 3
    found = verify_files(proof, tmp_path, LATER)[1]

    assert ("missing", lost["legacyBookingId"]) in [(each.kind, each.booking_id) for each in found]


def test_baselines_of_a_journal(proof: Proof, tmp_path: Path) -> None:
    """Sessions that were in the target before the run are expected there, first and unchanged."""
    known = bson.encode(next(each for each in proof.source if each.get("sessions")), codec_options=CODEC)
    earlier = bson.decode(known, CODEC)
    proof.source[:] = [each for each in proof.source if each["_id"] != earlier["_id"]]
    identity = identity_of(known)
    plan = VerificationPlan(
        baselines=lambda raws: (
            {identity: Baseline(known, known)} if identity in map(identity_of, raws) else {}
        )
    )

    assert [] == verify_files(proof, tmp_path, plan)[1]
    assert verify_files(proof, tmp_path)[1]


def test_wrong_totals_that_were_carried(proof: Proof, tmp_path: Path) -> None:
    """A client document with nothing to add is carried with wrong totals; that is named and no mismatch."""
    for side in (proof.source, proof.target):
        next(each for each in side if each.get("clientId") == CARRIED and "sessions" in each)[
            "totalSpent"
        ] = 99
    outcome, found = verify_files(proof, tmp_path)

    assert [] == found
    assert [("client-document-totals-wrong", 1)] == [(each.kind, each.count) for each in outcome.findings]


def test_conflict(proof: Proof, tmp_path: Path) -> None:
    """A booking whose session has other content is a conflict: a mismatch, with a record and without, unless decided."""
    session = proof.client(ADDED_TO)["sessions"][1]
    session["status"] = "cancelled"
    booking = next(each for each in proof.source if each["_id"] == session["legacyBookingId"])
    assert ["content"] == [each.kind for each in verify_files(proof, tmp_path)[1]]
    record = {"_id": "c", "reason": "conflict", "faults": [], "booking": booking}
    proof.rejected.append(record)
    outcome, found = verify_files(proof, tmp_path)
    assert ["conflict"] == [each.kind for each in found]
    assert 1 == outcome.counts.conflicts
    record["decision"] = "target"
    decided = verify_files(proof, tmp_path)

    assert [] == decided[1]
    assert (0, outcome.counts.already_migrated + 1) == (
        decided[0].counts.conflicts,
        decided[0].counts.already_migrated,
    )


def test_sample(proof: Proof, tmp_path: Path) -> None:
    """A sample checks as many clients as it says, and says that it is one."""
    outcome, found = verify_files(proof, tmp_path, VerificationPlan(sample=2))

    assert [] == found
    assert (2, 5, True) == (outcome.clients_checked, outcome.clients_seen, outcome.sampled)


def test_sample_of_everything(proof: Proof, tmp_path: Path) -> None:
    """A sample larger than the data finds what a full check finds about clients."""
    proof.client(DOUBLES)["totalSpent"] = 0

    assert 1 == len(verify_files(proof, tmp_path, VerificationPlan(sample=100))[1])


@pytest.fixture
def place(server: Server, database: Database[Document]) -> Any:
    connection = Connection(server.uri, database.name)
    yield database, connection
    connection.close()


def test_difference_that_passes(place: Any, proof: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference on a collection that is gone at the second reading is none."""
    database, connection = place
    right = proof.client(DOUBLES)["totalSpent"]
    proof.client(DOUBLES)["totalSpent"] = 0
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        database["clients"].update_one({"clientId": DOUBLES}, {"$set": {"totalSpent": right}})

    monkeypatch.setattr(reconcile, "sleep", wait)
    plan = VerificationPlan(recheck_seconds=60)

    assert [] == verify_collections(proof, database, connection, plan)[1]
    assert 1 == len(waited)


def test_difference_that_stays(place: Any, proof: Proof) -> None:
    """A difference that is still there at the second reading is reported once."""
    database, connection = place
    proof.client(DOUBLES)["totalSpent"] = 0
    proof.client(ADDED_TO)["sessions"].pop()
    plan = VerificationPlan(recheck_seconds=0.01)
    found = verify_collections(proof, database, connection, plan)[1]

    assert sorted(["totals", "missing", "totals", "totals"]) == sorted(
        each.kind for each in found if each.field != "updatedAt"
    )


def test_missing_index(place: Any, proof: Proof) -> None:
    """A target collection without the unique index is a mismatch of its own."""
    database, connection = place
    verify_collections(proof, database, connection)
    proof.target.append({**proof.client(DOUBLES), "_id": 1})
    found = verify_collections(proof, database, connection)[1]

    assert ("missing", "index") in [(each.kind, each.field) for each in found]

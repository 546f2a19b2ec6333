"""What every place that can be written promises (`stores.ports.TargetWriter`), place by place."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bson import decode, encode
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.rejection import Fault, Reason, Rejection
from tests.support.bson_samples import VALUES, deprecated_documents, document_of
from tests.support.targets import (
    TargetPlace,
    client_document,
    collection_target,
    file_target,
    rejection,
    run,
)

FILES = ("out.jsonl", "out.ndjson.gz", "out.json", "out.json.gz", "out.bson", "out.bson.gz")
PLACES = (*FILES, "mongod")

everywhere = pytest.mark.parametrize("place", PLACES, indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TargetPlace]:
    """A target of the parametrised kind that does not exist yet."""
    if request.param == "mongod":
        target = collection_target(request.getfixturevalue("server"), request.getfixturevalue("database"))
    else:
        target = file_target(tmp_path, request.param)
    yield target
    target.connection.close()


@everywhere
def test_documents_are_written_byte_for_byte(place: TargetPlace) -> None:
    """Every type that Extended JSON can hold arrives unchanged, and in client order."""
    documents = [client_document(n, value={"v": value}) for n, value in enumerate(VALUES.values())]

    assert run(place.open(), documents)
    assert documents == place.documents()


@everywhere
def test_a_second_run_changes_nothing(place: TargetPlace) -> None:
    """The same result again is noticed, and nothing is written."""
    documents = [client_document(n) for n in range(7)]
    rejected = [rejection(n) for n in range(4)]
    run(place.open(), documents, rejected)
    before = (place.documents(), place.rejects())

    assert not run(place.open(), documents, rejected)
    assert before == (place.documents(), place.rejects())


@everywhere
def test_rejects_are_the_same_in_any_order(place: TargetPlace) -> None:
    """Records do not depend on the order in which rejections come, nor on the batches."""
    rejected = [rejection(n, text=f"booking {n}") for n in (5, 1, "a", 3, Int64(2))]
    run(place.open(), [], rejected)
    first = place.rejects()

    assert 5 == len(first)
    assert not run(place.open(), [], rejected[::-1], batch=1)
    assert first == place.rejects()


@everywhere
def test_a_record_keeps_the_booking_whole(place: TargetPlace) -> None:
    """A record names source, target, booking and every reason, and holds the booking's own bytes."""
    booking = rejection(7, price="x", when=DatetimeMS(253402300800000))

    run(place.open(), [], [booking])

    (raw,) = place.rejects()
    record = decode(raw, CODEC)
    assert {
        "source": "bookings",
        "target": Path(place.name).name,
        "bookingId": 7,
        "reason": "wrong-type",
        "field": "price",
        "detail": "string 'x'",
        "faults": [
            {"reason": "wrong-type", "field": "price", "detail": "string 'x'"},
            {"reason": "field-missing", "field": "status", "detail": "absent"},
        ],
    } == {name: record[name] for name in record if name not in ("_id", "booking")}
    assert booking.raw == encode(record["booking"], codec_options=CODEC)


@everywhere
def test_a_booking_beyond_extended_json_is_kept_as_bson(place: TargetPlace) -> None:
    """What Extended JSON cannot hold stands as BSON in the record, even with a field name that is no text."""
    rejected = [
        Rejection(raw, (Fault(Reason.WRONG_TYPE, "caf\udce9", "no text"),), None)
        for raw in deprecated_documents()
    ]

    run(place.open(), [], rejected)

    kept = sorted(bytes(decode(raw)["booking"]) for raw in place.rejects())
    assert sorted(deprecated_documents()) == kept


@everywhere
def test_equal_rejected_bookings_have_a_record_each(place: TargetPlace) -> None:
    """Bookings without an id that are equal byte for byte are not merged into one record."""
    faults = (Fault(Reason.ID_MISSING, None, "no _id"),)
    twins = [Rejection(encode({"price": 1}), faults, None)] * 3

    run(place.open(), [], twins, batch=2)

    assert 3 == len({decode(raw)["_id"] for raw in place.rejects()})


@everywhere
def test_rejects_of_an_earlier_run_do_not_stay(place: TargetPlace) -> None:
    """A run that rejects less leaves only its own records."""
    run(place.open(), [client_document(1)], [rejection(n) for n in range(5)])

    assert run(place.open(overwrite=True), [client_document(1)], [rejection(3)])
    assert [3] == [decode(raw)["bookingId"] for raw in place.rejects()]
    assert run(place.open(overwrite=True), [client_document(1)], [])
    assert [] == place.rejects()


@everywhere
def test_what_can_be_held_comes_back(place: TargetPlace) -> None:
    """A place says of each document whether it would come back unchanged."""
    documents = [document_of(n, value) for n, value in enumerate(VALUES.values())]
    is_json = "json" in place.name

    assert all(place.open().can_store(raw) for raw in documents)
    assert is_json != all(place.open().can_store(raw) for raw in deprecated_documents())
    assert is_json != place.open().can_store(document_of(1, {"$date": "x"}))


@everywhere
def test_an_abandoned_run_can_be_run_again(place: TargetPlace) -> None:
    """A run that was cut off anywhere is completed by the next one."""
    documents = [client_document(n) for n in range(6)]
    rejected = [rejection(n) for n in range(6)]
    cut_off = place.open()
    cut_off.prepare()
    cut_off.write(documents[:4], [], rejected[:4])
    cut_off.abandon()
    cut_off.abandon()

    assert run(place.open(), documents, rejected)
    assert documents == place.documents()
    assert 6 == len(place.rejects())


@everywhere
def test_an_empty_result_is_a_result(place: TargetPlace) -> None:
    """A run without any document leaves a place that can be read and that a second run does not change."""
    run(place.open(), [])

    assert [] == place.documents()
    assert not run(place.open(), [])


@everywhere
def test_rejects_may_go_to_any_file(place: TargetPlace, tmp_path: Path) -> None:
    """A path that is given holds the rejects, whatever the target is."""
    path = tmp_path / "elsewhere.jsonl"

    writer = place.open(rejects=path)
    run(writer, [client_document(1)], [rejection(2), rejection(1)])

    assert str(path) == writer.rejects_name
    assert [] == place.rejects()
    assert 2 == len(path.read_bytes().splitlines())

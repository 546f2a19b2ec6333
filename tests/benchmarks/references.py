"""How fast references are found, rewritten and put back: ``python -m tests.benchmarks.references --documents 1000000``.

Bookings are migrated and cut over; then as many documents refer to them, in four collections and several forms.
"""

import argparse
import sys
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bson.objectid import ObjectId

from tests.benchmarks.data import insert_bookings
from tests.benchmarks.measurement import Measurement, run_program
from tests.support.references import table
from tests.support.server import Server, running_server

_DATABASE = "references_benchmark"
_INSERTED_AT_ONCE = 10_000
_FIELDS = (
    ("payments", "bookingId"),
    ("reviews", "bookingId"),
    ("notifications", "payload.booking"),
    ("calendar", "items.bookingId"),
)


def main() -> None:
    """Measure, and print one line for each command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.references", description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--bookings", type=int, default=200_000)
    arguments = parser.parse_args()
    with running_server() as server, TemporaryDirectory() as folder:
        _fill(server, arguments.bookings, arguments.documents)
        config = Path(folder) / "references.toml"
        config.write_text("\n".join(table(*each) for each in _FIELDS))
        given = ("--uri", server.uri, "--db", _DATABASE, "--quiet")
        commands = {
            "found": ("references", "find"),
            "rewritten": ("references", "rewrite", "--config", str(config), "--yes"),
            "looked at again": ("references", "rewrite", "--config", str(config), "--yes"),
            "proven": ("references", "verify", "--config", str(config)),
            "put back": ("rollback", "--references", "--yes"),
        }
        for what, command in commands.items():
            _say(what, arguments.documents, run_program([*command, *given]))
        server.client().drop_database(_DATABASE)


def _fill(server: Server, bookings: int, documents: int) -> None:
    """Migrate bookings and cut them over; then insert documents that refer to them."""
    database = server.client()[_DATABASE]
    insert_bookings(database["bookings"], bookings)
    ids = [each["_id"] for each in database["bookings"].find({}, {"_id": 1})]
    given = ("--uri", server.uri, "--db", _DATABASE, "--target", "clients", "--quiet")
    run_program(["migrate", *given])
    run_program(["verify", *given])
    run_program(["cutover", *given, "--yes"])
    for number, (name, _field) in enumerate(_FIELDS):
        made = (_document(number, at, ids[at % len(ids)]) for at in range(documents // len(_FIELDS)))
        while some := list(islice(made, _INSERTED_AT_ONCE)):
            database[name].insert_many(some, ordered=False)


def _document(kind: int, number: int, booking: ObjectId) -> dict[str, Any]:
    """Return a document of a few hundred bytes, as other collections have them."""
    own = {
        "_id": ObjectId(),
        "userId": ObjectId(),
        "amount": number * 1.25,
        "status": "done",
        "text": "x" * 80,
    }
    reference: tuple[dict[str, Any], ...] = (
        {"bookingId": booking},
        {"bookingId": str(booking)},
        {"payload": {"kind": "reminder", "booking": booking}},
        {"items": [{"n": 1, "bookingId": booking}, {"n": 2}]},
    )
    return {**own, **reference[kind]}


def _say(what: str, documents: int, measured: Measurement) -> None:
    rate = documents / measured.seconds
    sys.stdout.write(
        f"{documents:,} documents {what} in {measured.seconds:.1f} s, {rate:,.0f}/s, {measured.peak_mib or 0:.0f} MiB\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()

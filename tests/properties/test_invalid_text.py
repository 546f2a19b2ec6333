"""Bookings in which any string or name may be invalid UTF-8: every one of them is accounted for."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database
from typer.testing import CliRunner

from booking_migrate.bson.document import CODEC, Element, elements, wrap
from booking_migrate.bson.order import element_key
from booking_migrate.cli.app import app
from booking_migrate.stores.mongo.raw import as_driver_document
from tests.properties.test_migration import Document, bookings
from tests.support.examples import examples

DECLARED = {0, 3, 5}
"""How a command may end: done, with rejected bookings, or refused."""


def broken(raw: bytes, draw: st.DrawFn) -> bytes:
    """A document some of whose strings and names, at any depth, have other bytes than before, of the same length."""
    return wrap([_broken(element, draw, is_whole=True) for element in elements(raw)])


def _broken(element: Element, draw: st.DrawFn, *, is_whole: bool = False) -> Element:
    kind, name, value = element
    if kind in (0x03, 0x04):
        value = wrap([_broken(inner, draw) for inner in elements(value)])
    if kind == 0x02 and len(value) > 5 and draw(st.integers(0, 7)) == 0:
        value = value[:4] + b"\xff" + value[5:]
    # Other names would only ever be missing fields.
    is_unknown = not is_whole or name in (b"extra", b"notes")
    if is_unknown and kind != 0x04 and name and draw(st.integers(0, 7)) == 0:
        name = b"\xe9" + name[1:]
    return Element(kind, name, value)


@st.composite
def damaged(draw: st.DrawFn) -> list[bytes]:
    """Bookings with different ids, many of them with invalid UTF-8 somewhere."""
    raws = [broken(bson.encode(one, codec_options=CODEC), draw) for one in draw(bookings())]
    ids = [element_key(next(part for part in elements(raw) if part.name == b"_id")) for raw in raws]
    return [raw for number, raw in enumerate(raws) if ids.index(ids[number]) == number]


def commands(*places: str) -> Iterator[tuple[int, Document]]:
    """How dry-run, migrate and verify end, and what they report."""
    for name in ("dry-run", "migrate", "verify"):
        more = ("--recheck", "0") if name == "verify" else ()
        ended = CliRunner().invoke(app, [name, "--json", "--quiet", *places, *more], env={"MONGODB_URI": ""})
        yield ended.exit_code, json.loads(ended.stdout)


def check(*places: str, documents: int) -> None:
    """Run the commands; assert that they end as declared, account for every booking, and prove it."""
    (planned, plan), (migrated, report), (verified, proof) = commands(*places)

    assert {planned, migrated} <= DECLARED, (plan, report)
    assert planned == migrated
    if migrated != 5:
        counts = report["counts"]
        accounted = counts["migrated"] + counts["already_migrated"] + counts["rejected"]
        assert documents == counts["scanned"] + counts["client_documents"]
        assert counts["scanned"] == accounted
        assert (0, counts["rejected"]) == (verified, proof["counts"]["rejected"]), proof


@settings(max_examples=examples(12, one_of=4))
@given(damaged(), st.sampled_from(["clients.bson", "clients.jsonl"]))
def test_files(raws: list[bytes], target: str) -> None:
    """From a dump to a file, no command ends in an unexpected way."""
    with TemporaryDirectory() as name:
        source = Path(name) / "bookings.bson"
        source.write_bytes(b"".join(raws))
        check("--source", str(source), "--target", str(Path(name) / target), documents=len(raws))


@settings(max_examples=examples(7, one_of=8), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raws=damaged(), is_indexed=st.booleans())
def test_database(
    database: Database[dict[str, Any]], server_uri: str, raws: list[bytes], is_indexed: bool
) -> None:
    """Within a database, no command ends in an unexpected way."""
    for name in database.list_collection_names():
        database.drop_collection(name)
    database.create_collection("bookings")
    if raws:
        database.bookings.insert_many(map(as_driver_document, raws))
    if is_indexed:
        database.bookings.create_index("clientId")
    check("--uri", server_uri, "--db", database.name, documents=len(raws))

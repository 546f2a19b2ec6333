"""What tests of references share: bookings that are cut over, and other collections that refer to them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import booking
from tests.support.references import config, fill
from tests.support.server import Server

Db = Database[dict[str, Any]]
COUNT = 30
REWRITE = ("references", "rewrite", "--yes", "--json")
UNDO = ("rollback", "--references", "--yes", "--json")


@dataclass(frozen=True)
class _Kept:
    """A collection as it was: by this it is made again in another database of the same server."""

    name: str
    options: Mapping[str, Any]
    indexes: list[Any]
    documents: list[Any]


_CUT_OVER: dict[str, list[_Kept]] = {}
"""What the first cut-over on a server has left there, by the server's connection string."""


@pytest.fixture
def cut_over(
    request: pytest.FixtureRequest, server: Server, database: Db, command: Callable[..., Ended]
) -> None:
    """Bookings that became client documents, two of them rejected; four collections refer to them.

    It is the same every time, so that the first one on a server is copied from then on. A rollback of the cut-over, which reads the
    changes since, needs `just_cut_over`.
    """
    if server.uri not in _CUT_OVER or "just_cut_over" in request.fixturenames:
        _cut_over(database, command)
        _CUT_OVER[server.uri] = list(_kept(database))
        return
    for each in _CUT_OVER[server.uri]:
        database.create_collection(each.name, **each.options)
        database.command("createIndexes", each.name, indexes=each.indexes)
        database.command("insert", each.name, documents=each.documents, bypassDocumentValidation=True)


@pytest.fixture
def just_cut_over(cut_over: None) -> None:
    """The same, never copied."""


def _cut_over(database: Db, command: Callable[..., Ended]) -> None:
    database.bookings.insert_many(
        [*map(booking, range(COUNT + 5)), booking(100, currency="usd"), booking(101, duration=5)]
    )
    fill(database, COUNT)
    places = ("--source", "bookings", "--target", "clients", "--quiet")
    assert 3 == command("migrate", *places).returncode
    assert 0 == command("verify", *places).returncode
    done = command("cutover", *places, "--yes", "--rejected", "leave")
    assert 0 == done.returncode, done.stderr


def _kept(database: Db) -> Iterator[_Kept]:
    raw = CodecOptions(document_class=RawBSONDocument)
    for each in list(database.list_collections()):
        collection = database.get_collection(each["name"], codec_options=raw)
        yield _Kept(each["name"], each["options"], list(collection.list_indexes()), list(collection.find()))


@pytest.fixture
def tables(tmp_path: Path) -> str:
    """The path of a config file with all fields."""
    path = tmp_path / "references.toml"
    path.write_text(config())
    return str(path)

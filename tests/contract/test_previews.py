"""Targets that write nothing say what writing ones would do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.errors import Refused
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.places import parse_place
from booking_migrate.stores.ports import Replacement
from booking_migrate.stores.preview import PreviewTarget, open_preview
from tests.support.server import Server
from tests.support.targets import SOURCE, client_document, file_target, rejection, run

Open = Callable[..., PreviewTarget]
DOCUMENTS = [client_document(number) for number in range(7)]
NAMES = ["out.jsonl", "out.json", "out.bson", "out.jsonl.gz", "out.bson.gz"]


def preview(name: str, *, overwrite: bool = False, reject_file: Path | None = None) -> PreviewTarget:
    """A preview of a target file."""
    return open_preview(
        parse_place(name), Connection(), source_name=SOURCE, overwrite=overwrite, reject_file=reject_file
    )


def kinds(target: PreviewTarget) -> list[str]:
    """The names of what would be refused."""
    return [type(refusal).__name__ for refusal in target.refusals()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("documents", [[], DOCUMENTS])
def test_a_file_that_is_not_there(tmp_path: Path, name: str, documents: list[bytes]) -> None:
    """It would come into being; nothing does."""
    target = preview(str(tmp_path / name))

    assert run(target, documents, [rejection(1)])
    assert ([], []) == (kinds(target), list(tmp_path.iterdir()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("documents", [[], DOCUMENTS])
def test_a_file_that_is_the_result(tmp_path: Path, name: str, documents: list[bytes]) -> None:
    """It would not change, as the real target says of a second run."""
    place = file_target(tmp_path, name)
    run(place.open(), documents, [rejection(1)])
    target = preview(place.name)

    assert not run(target, documents, [rejection(1)])
    assert [] == kinds(target)


OTHERS: list[tuple[list[bytes], list[Any]]] = [
    (DOCUMENTS[:-1], [rejection(1)]),
    ([*DOCUMENTS, client_document(8)], [rejection(1)]),
    (DOCUMENTS, []),
    (DOCUMENTS, [rejection(2)]),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("documents", "rejected"), OTHERS)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_holds_something_else(
    tmp_path: Path, name: str, documents: list[bytes], rejected: list[Any], overwrite: bool
) -> None:
    """Other documents or other rejects are refused where the real target refuses, and would change otherwise."""
    place = file_target(tmp_path, name)
    run(place.open(), DOCUMENTS, [rejection(1)])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    target = preview(place.name, overwrite=overwrite)
    would_change = run(target, documents, rejected)
    refused = kinds(target)

    assert would_change
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert ([] if overwrite else ["TargetHoldsOther"]) == refused
    if overwrite:
        assert run(place.open(overwrite=True), documents, rejected)
    else:
        with pytest.raises(Refused):
            run(place.open(), documents, rejected)


def test_what_is_no_gzip(tmp_path: Path) -> None:
    """A file that is no gzip stream is no result."""
    path = tmp_path / "out.bson.gz"
    path.write_bytes(b"plain")
    target = preview(str(path))
    run(target, DOCUMENTS)

    assert ["TargetHoldsOther"] == kinds(target)


def test_standard_output_stays_silent(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Nothing appears on standard output."""
    assert run(preview("-"), DOCUMENTS)
    assert b"" == capsysbinary.readouterr().out


@pytest.mark.parametrize("name", ["out.bson", "-"])
def test_reject_file(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rejected bookings go where the user wants them; with none, an old file there goes."""
    monkeypatch.chdir(tmp_path)
    wanted = tmp_path / "wrong.jsonl"
    run(preview(name, reject_file=wanted), DOCUMENTS, [rejection(1)])
    lines = wanted.read_bytes().splitlines()
    run(preview(name, reject_file=wanted), DOCUMENTS)

    assert 1 == len(lines)
    assert [] == list(tmp_path.iterdir())


def test_joined_documents_are_seen_as_joined(database: Database[dict[str, Any]], server: Server) -> None:
    """After a join, the joined document stands for those it was made of; the collection has them still."""
    connection = Connection(server.uri, database.name)
    database["clients"].insert_many(
        [{"_id": 1, "clientId": 1, "sessions": []}, {"_id": 2, "clientId": 1, "sessions": []}]
    )
    target = open_preview(
        parse_place("clients"), connection, source_name=SOURCE, overwrite=False, reject_file=None
    )
    before = list(target.find_client_documents([1]))
    joined = client_document(1, joined=True)
    target.join(Replacement(before[0], joined), before[1:])

    assert [joined] == list(target.find_client_documents([1]))
    assert target.finish()
    assert 2 == database["clients"].count_documents({})
    target.abandon()
    connection.close()

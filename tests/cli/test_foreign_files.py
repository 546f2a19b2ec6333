"""Files and streams that others made, on the command line: read, or refused with a command that helps."""

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson import decode

from booking_migrate.stores.files.extended_json import DocumentParser
from booking_migrate.stores.places import JsonFormat
from tests.support.booking_lines import SOUND

BSON = b"".join(DocumentParser(JsonFormat.EXTENDED).read(line, 0)[0].raw for line in SOUND.splitlines())


@pytest.mark.parametrize("name", ["in.json", "IN.JSON", "in.JSONL.GZ"])
def test_documents_of_mongoexport_are_migrated(run: Callable[..., Any], workspace: Path, name: str) -> None:
    """One document a line is migrated from a .json file as from a .jsonl file, to the same bytes."""
    data = SOUND.encode()
    (workspace / name).write_bytes(gzip.compress(data) if name.endswith(".GZ") else data)
    (workspace / "same.jsonl").write_bytes(data)

    assert 0 == run("migrate", "--source", name, "--target", "out.BSON").exit_code
    assert 0 == run("migrate", "--source", "same.jsonl", "--target", "same.bson").exit_code
    assert (workspace / "same.bson").read_bytes() == (workspace / "out.BSON").read_bytes()
    assert 0 == run("verify", "--source", name, "--target", "out.BSON").exit_code


@pytest.mark.parametrize(
    ("data", "content", "advice"),
    [
        (BSON, "it holds BSON", "cat > bookings.bson"),
        (gzip.compress(BSON), "it holds gzip data", "put 'gzip -dc |' before this command"),
        (
            SOUND.encode("utf-16"),
            "it holds UTF-16 text",
            "put 'iconv -f UTF-16 -t UTF-8 |' before this command",
        ),
        (f"[{','.join(SOUND.splitlines())}]".encode(), "it holds an array", "cat > bookings.json"),
        (b"_id,clientId\n", "it holds comma-separated values", "mongoexport"),
    ],
)
def test_standard_input_is_named(
    program: list[str], workspace: Path, data: bytes, content: str, advice: str
) -> None:
    """Anything but JSON lines on standard input is refused by what it is, and nothing is written."""
    done = subprocess.run(
        [*program, "migrate", "--source", "-", "--target", "out.jsonl"],
        input=data,
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert 5 == done.returncode
    assert content in done.stderr.decode()
    assert advice in done.stderr.decode()
    assert [] == list(workspace.iterdir())


def test_large_documents_come_through_standard_input(program: list[str], workspace: Path) -> None:
    """Looking at the first bytes of a pipe loses none of them, whatever the length of its lines."""
    (first, *others) = SOUND.splitlines()
    long = json.dumps({**json.loads(first), "more": "x" * 700_000})
    done = subprocess.run(
        [*program, "migrate", "--source", "-", "--target", "out.bson"],
        input="\n".join([long, *others]),
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )

    assert 0 == done.returncode, done.stderr
    assert b"x" * 700_000 in (workspace / "out.bson").read_bytes()
    assert decode(
        (workspace / "out.bson").read_bytes()[
            : int.from_bytes((workspace / "out.bson").read_bytes()[:4], "little")
        ]
    )


@pytest.mark.parametrize("option", ["--source", "--target", "--users", "--experts"])
@pytest.mark.parametrize("name", ["clients.csv", "Clients.XLSX", "clients.txt", "dump.archive", "c.json.zip"])
def test_another_suffix_is_asked_back(
    run: Callable[..., Any], workspace: Path, option: str, name: str
) -> None:
    """A name that looks like another kind of file is a usage error for every place, and no collection."""
    (workspace / "in.jsonl").write_text(SOUND)
    places = {"--source": "in.jsonl", "--target": "out.jsonl", option: name}
    arguments = [part for pair in places.items() for part in pair]
    env = {"MONGODB_URI": "mongodb://127.0.0.1:1/shop?serverSelectionTimeoutMS=1"}

    result = run("migrate", *arguments, env=env)

    assert 2 == result.exit_code
    assert "neither read nor written" in result.stderr
    assert ["in.jsonl"] == [path.name for path in workspace.iterdir()]


@pytest.mark.parametrize(
    ("price", "path"),
    [
        ({"$numberLong": 2000.7}, "$.price: a $numberLong wrapper"),
        ({"$date": True}, "$.price: a $date wrapper"),
        (
            [{"$regularExpression": {"pattern": "a", "options": "g"}}],
            "$.price[0]: a $regularExpression wrapper",
        ),
    ],
)
def test_a_malformed_wrapper_is_refused(
    run: Callable[..., Any], workspace: Path, price: Any, path: str
) -> None:
    """A wrapper that is not valid is refused with file, line, path and name, whatever the kind of JSON file."""
    lines = SOUND.splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), "price": price})
    (workspace / "in.jsonl").write_text("\n".join(lines))
    (workspace / "in.json").write_text("[" + ",\n".join(lines) + "]")

    for name, position in (("in.jsonl", "line 2"), ("in.json", "document 2, line 2")):
        result = run("migrate", "--source", name, "--target", "out.jsonl")

        assert 5 == result.exit_code
        assert f"error: {name}, {position}: {path} is malformed" in result.stderr
        assert not (workspace / "out.jsonl").exists()


def test_an_applications_dollar_names_are_migrated(run: Callable[..., Any], workspace: Path) -> None:
    """Documents that only resemble wrappers go through a JSON file and back byte for byte, and are verified."""
    extra = {"query": {"$regex": "x"}, "update": {"$set": {"a": [{"$regex": "x", "$options": 5}]}}}
    lines = [json.dumps({**json.loads(line), **extra}) for line in SOUND.splitlines()]
    (workspace / "in.jsonl").write_text("\n".join(lines))

    assert 0 == run("migrate", "--source", "in.jsonl", "--target", "out.jsonl").exit_code
    assert 0 == run("verify", "--source", "in.jsonl", "--target", "out.jsonl").exit_code
    session = json.loads((workspace / "out.jsonl").read_text().splitlines()[0])["sessions"][0]
    assert {"$regex": "x"} == session["query"]
    assert {"$regex": "x", "$options": {"$numberInt": "5"}} == session["update"]["$set"]["a"][0]

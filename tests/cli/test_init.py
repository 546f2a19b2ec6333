"""`init`: a config file that every command takes, made of a look at a real database; nothing is written there."""

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.database import Database

from booking_migrate.cli.app import COMMANDS
from booking_migrate.init.config_text import quoted
from tests.support.booking_lines import EXPERT, booking, client
from tests.support.bookings import ABSENT
from tests.support.readme import ROOT
from tests.support.server import Server, guarded_server

Db = Database[dict[str, Any]]
Run = Callable[..., Any]
DIRTY: tuple[dict[str, Any], ...] = (
    {"price": "free", "currency": "INR"},
    {"status": "canceled"},
    {"status": "canceled", "currency": "usd"},
    {"clientId": None},
    {"scheduledDate": "tomorrow", "duration": ABSENT, "endTime": ABSENT},
)


@pytest.fixture
def environment(server: Server, database: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that name the server and the test's database."""
    monkeypatch.setenv("MONGODB_URI", server.uri)
    monkeypatch.setenv("BOOKING_MIGRATE_DB", database.name)


def fill_with_examples(database: Db) -> None:
    """The example data, and collections that refer to its bookings, or have nothing to do with them."""
    for name in ("bookings", "users", "experts"):
        database[name].insert_many(bson.decode_all((ROOT / "examples" / f"{name}.bson").read_bytes()))
    ids = database.bookings.distinct("_id")
    database.payments.insert_many([{"booking": {"id": each}, "amount": 1} for each in ids[:30]])
    database.settings.insert_one({"theme": "dark"})


def init(run: Run, *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The report of init, and the file that it wrote, read as TOML."""
    done = run("init", *arguments, "--json")
    assert 0 == done.exit_code, done.output
    return json.loads(done.stdout), tomllib.loads(Path("booking-migrate.toml").read_text("utf-8"))


@pytest.mark.usefixtures("environment")
def test_the_example_data(run: Run, database: Db, workspace: Path) -> None:
    """Collections, fields, currencies, generations and references are found, each line has its reason, nothing is written."""
    fill_with_examples(database)
    before = database.command("dbHash")["collections"]
    report, config = init(run)
    text = workspace.joinpath("booking-migrate.toml").read_text("utf-8")

    assert {
        "db": database.name,
        "source": "bookings",
        "target": "bookings_consolidated",
        "users": "users",
        "user_id_field": "user_id",
        "user_email_field": "email",
        "experts": "experts",
        "expert_user_field": "userId",
        "contract": {},
    } == config
    assert [] == report["init"]["undecided"]
    assert ("payments", "booking.id", 30) == tuple(
        report["init"]["references"][0][name] for name in ("collection", "field", "hits")
    )
    assert "# payments.booking.id holds ids of bookings (30 of 30 sampled values)." in text
    assert "# currencies = [" in text
    assert 200 == report["init"]["bookings"]["sampled"]
    assert 0 < report["init"]["bookings"]["first_generation"] < 200
    assert before == database.command("dbHash")["collections"]


@pytest.mark.usefixtures("environment")
def test_every_command_takes_the_file(run: Run, database: Db) -> None:
    """No command finds a mistake in it, and a dry-run with it does what one without it does."""
    fill_with_examples(database)
    init(run)
    used = ("--config", "booking-migrate.toml")
    with_it, without = (
        json.loads(done.stdout) for done in (run("dry-run", *used, "--json"), run("dry-run", "--json"))
    )

    assert 3 == with_it["exit_code"]
    assert without["counts"] == with_it["counts"]
    more_words = {
        "explain": ("explain", "x"),
        "view": ("view", "drop", "--name", "x"),
        "control": ("control", "pause"),
        "audit-code": ("audit-code", "."),
        "references": ("references", "find"),
    }
    # An id, an action, and no user to serve as: what is refused then is not the config file.
    for name in (name for name in COMMANDS if name not in ("schema", "serve", "init")):
        words = more_words.get(name, (name,))
        done = run(*words, *used, "--json")
        assert 2 != done.exit_code, f"{name}: {done.output}"


@pytest.mark.usefixtures("environment")
def test_dirty_bookings(run: Run, database: Db, workspace: Path) -> None:
    """Faults do not keep bookings from being recognised; values that the contract rejects are named, and stay rejected."""
    database.bookings.insert_many(
        [*map(booking, range(12)), *(booking(20 + number, **each) for number, each in enumerate(DIRTY))]
    )
    report, config = init(run)
    text = workspace.joinpath("booking-migrate.toml").read_text("utf-8")

    assert "bookings" == config["source"]
    assert 17 == report["init"]["bookings"]["sampled"]
    assert (
        "# Sampled values of status that are rejected without this line, and accepted with it: canceled 2."
        in text
    )
    assert '# statuses = ["pending", "confirmed", "completed", "cancelled", "no-show", "canceled"]' in text
    assert {} == config["contract"]
    assert 3 == run("dry-run", "--config", "booking-migrate.toml").exit_code
    uncommented = text.replace("# statuses", "statuses").replace("# currencies", "currencies")
    workspace.joinpath("all.toml").write_text(uncommented, encoding="utf-8")
    assert 3 == run("dry-run", "--config", "all.toml").exit_code


@pytest.mark.usefixtures("environment")
def test_several_candidates(run: Run, database: Db, workspace: Path) -> None:
    """What has two candidates is listed and commented out, and the default counts until it is decided."""
    old = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail"), ABSENT)
    for name in ("bookings", "bookings_eu", "bookings_legacy_20261123T151100Z-ab12cd"):
        database[name].insert_many([booking(number, **old) for number in range(8)])
    for name in ("users", "members"):
        database[name].insert_many(
            [
                {
                    "_id": client(number),
                    "user_id": f"111{number}",
                    "pin": "9999",
                    "email": f"u{number}@example.org",
                }
                for number in range(4)
            ]
        )
    database.experts.insert_one({"_id": EXPERT, "userId": client(0)})
    report, config = init(run)
    text = workspace.joinpath("booking-migrate.toml").read_text("utf-8")

    assert {"source", "users"} <= {each.partition(":")[0] for each in report["init"]["undecided"]}
    assert {"source", "users"}.isdisjoint(config)
    for line in (
        '# source = "bookings"',
        '# source = "bookings_eu"',
        '# users = "users"',
        '# users = "members"',
    ):
        assert f"\n{line}\n" in text
    assert "; take the one into which the application books; if it books into several" in text
    assert "source and target. Until you decide, bookings is used" in text
    for key in ("user_id_field", "user_email_field", "expert_user_field"):
        assert f"{key} = " in text.partition("# Not looked for, because users is undecided. ")[2]
    assert "legacy" not in text
    assert "kept bookings" in {each["role"] for each in report["init"]["collections"]}
    assert 0 == run("dry-run", "--config", "booking-migrate.toml").exit_code


@pytest.mark.usefixtures("environment")
def test_what_is_decided_is_not_asked_again(run: Run, database: Db) -> None:
    """The printed command, or the file in which the choice was made, leads to a whole file; a choice without bookings is refused."""
    for name in ("bookings", "bookings_eu"):
        database[name].insert_many([booking(number) for number in range(4)])
    report, config = init(run)
    (again,) = (each["command"] for each in report["next_steps"] if "init" in (each["command"] or ""))
    wrong = run("init", "--source", "users", "--overwrite", "--json")
    _, from_command = init(run, *again.split()[2:])
    Path("booking-migrate.toml").write_text('source = "bookings_eu"\n', encoding="utf-8")
    _, from_file = init(run, "--config", "booking-migrate.toml", "--overwrite")

    assert "source" not in config
    assert "booking-migrate init --source bookings --output booking-migrate.toml --overwrite" == again
    assert ("bookings", "bookings_eu") == (from_command["source"], from_file["source"])
    assert (5, "UnusablePlace") == (wrong.exit_code, json.loads(wrong.stdout)["error"]["kind"])


@pytest.mark.usefixtures("environment")
def test_names_that_are_not_the_defaults(run: Run, database: Db) -> None:
    """Other names of collections and fields are found by what they hold, and a dry-run finds everyone by them."""
    old = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail"), ABSENT)
    database['old "bookings"'].insert_many([booking(number, **old) for number in range(8)])
    database['old "bookings"_consolidated'].insert_one({"name": "of a colleague"})
    database.people.insert_many(
        [
            {"_id": client(number), "code": f"111{number}", "mail": f"u{number}@example.org"}
            for number in range(4)
        ]
    )
    database.staff.insert_one({"_id": EXPERT, "person": client(0), "name": "Megha"})
    _, config = init(run)

    assert {
        "source": 'old "bookings"',
        "target": 'old "bookings"_consolidated_2',
        "users": "people",
        "user_id_field": "code",
        "user_email_field": "mail",
        "experts": "staff",
        "expert_user_field": "person",
    } == {name: value for name, value in config.items() if name not in ("db", "contract")}
    assert 0 == run("dry-run", "--config", "booking-migrate.toml").exit_code


@pytest.mark.usefixtures("environment")
def test_an_empty_database(run: Run, database: Db, workspace: Path) -> None:
    """Without documents, and without bookings, it is refused with what to do; no file is written."""
    empty = run("init")
    database.orders.insert_one({"total": 5})
    without = run("init")

    assert (5, 5) == (empty.exit_code, without.exit_code)
    assert f"database {database.name} does not have any documents (at " in empty.stderr
    assert "hint: Is it the right database? " in empty.stderr
    assert "Name it with --db:\n  booking-migrate init --db " in empty.stderr
    assert "holds bookings; 1 collection has documents: orders" in without.stderr
    assert [] == list(workspace.iterdir())


@pytest.mark.usefixtures("environment")
def test_a_file_that_exists_is_kept(run: Run, database: Db, workspace: Path) -> None:
    """A file is replaced with --overwrite only; - prints the file and nothing else on standard output."""
    database.bookings.insert_many(map(booking, range(8)))
    path = workspace / "booking-migrate.toml"
    path.write_text("source = 'mine'\n", encoding="utf-8")
    refused = run("init")
    kept = path.read_text("utf-8")
    printed = run("init", "--output", "-")
    replaced = run("init", "--overwrite")

    assert (5, 0, 0) == (refused.exit_code, printed.exit_code, replaced.exit_code)
    assert "source = 'mine'\n" == kept
    assert [
        "Nothing was written.",
        "hint: Use it as it is:",
        "  booking-migrate dry-run --config booking-migrate.toml",
        "Or write another file:",
        "  booking-migrate init --output booking-migrate_2.toml",
        "Only if nothing in booking-migrate.toml is needed any more, replace it, and what it holds is lost:",
        "  booking-migrate init --overwrite",
    ] == refused.stderr.splitlines()[1:]
    assert path.read_text("utf-8") == printed.stdout
    assert "bookings" == tomllib.loads(printed.stdout)["source"]
    assert "booking-migrate dry-run --config booking-migrate.toml" in replaced.stdout
    assert "" == run("init", "--output", "-", "--json").stdout


@pytest.fixture
def guarded() -> Iterator[Server]:
    """A server with access control."""
    with guarded_server() as running:
        yield running


def test_a_user_who_may_only_read(guarded: Server, run: Run, workspace: Path) -> None:
    """The built-in role read is enough, and so is a role that may read some collections; the others are named."""
    database = guarded.client()["shop"]
    fill_with_examples(database)
    names = ("bookings", "users", "experts")
    privileges = [
        {"resource": {"db": "shop", "collection": name}, "actions": ["find", "listIndexes"]} for name in names
    ]
    privileges.append({"resource": {"db": "shop", "collection": ""}, "actions": ["listCollections"]})
    database.command("createRole", "some", privileges=privileges, roles=[])
    for role in ("read", "some"):
        database.command("createUser", role, pwd="secret", roles=[role])
        uri = guarded.uri.replace("admin:", f"{role}:").replace("authSource=admin", "authSource=shop")
        done = run("init", "--overwrite", "--quiet", env={"MONGODB_URI": uri, "BOOKING_MIGRATE_DB": "shop"})
        config = tomllib.loads(workspace.joinpath("booking-migrate.toml").read_text("utf-8"))

        assert (0, "") == (done.exit_code, done.output), done.output
        assert ("bookings", "users", "userId") == tuple(
            config[name] for name in ("source", "users", "expert_user_field")
        )
    text = workspace.joinpath("booking-migrate.toml").read_text("utf-8")
    assert "# Not looked at, because this user may not read them: payments, settings." in text


@pytest.mark.parametrize("text", ['a"b\\c', "a\nb\x1f\x7f", "ü☃😀", "\u202e"])
def test_texts_of_toml(text: str) -> None:
    """Every text is written so that TOML reads it again, on one line."""
    line = f"x = {quoted(text)}"

    assert {"x": text} == tomllib.loads(line)
    assert 1 == len(line.splitlines())

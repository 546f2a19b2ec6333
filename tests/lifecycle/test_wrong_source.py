"""A source that holds no bookings: nothing leads from it to a cut-over, and what leads back is named."""

import json
import shlex
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Command, contents
from tests.support.booking_lines import booking
from tests.support.failpoints import Step, failpoints

Db = Database[dict[str, Any]]

WRONG = ("--source", "payments", "--target", "clients")
RIGHT = ("--source", "bookings", "--target", "clients")
MIGRATE = ("migrate", *WRONG, "--quiet")
VERIFY = ("verify", *WRONG, "--recheck", "0", "--quiet")
CUTOVER = ("cutover", *WRONG, "--yes", "--quiet", "--json")


@pytest.fixture
def platform(database: Db) -> Db:
    """Bookings, and payments, none of which is a booking."""
    database.bookings.insert_many(map(booking, range(6)))
    database.payments.insert_many(
        {"_id": number, "amount": 5, "bookingId": booking(number)["_id"]} for number in range(4)
    )
    return database


@pytest.mark.parametrize("decided", [(), ("--rejected", "leave"), ("--rejected", "carry")])
def test_it_is_not_cut_over(platform: Db, command: Command, decided: tuple[str, ...]) -> None:
    """Whatever is decided about rejected bookings; the hint names how to undo the run, and the right source."""
    assert [3, 0] == command.once(MIGRATE, VERIFY)
    before = contents(platform)
    refused = command(*CUTOVER, *decided)
    error = json.loads(refused.stdout)["error"]

    assert (5, "CutoverRefused") == (refused.returncode, error["kind"])
    assert "all 4 documents of payments were rejected" in error["message"]
    lines = error["hint"].splitlines()[1:]
    assert "findOne" in lines[0]
    assert "rollback --run" in lines[1]
    assert "migrate --source SOURCE --target clients" in lines[2]
    assert before == contents(platform)


def test_the_hint_leads_to_the_right_source(platform: Db, command: Command) -> None:
    """The printed rollback and the printed migrate, with the right name, work; verify and cut-over then do, too."""
    assert [3, 0] == command.once(MIGRATE, VERIFY)
    lines = json.loads(command(*CUTOVER).stdout)["error"]["hint"].splitlines()[1:]
    undo, migrate = (line.split("booking-migrate ", 1)[1].split() for line in lines[1:3])

    assert 0 == command(*undo, "--yes").returncode
    assert 0 == command(*(word.replace("SOURCE", "bookings") for word in migrate)).returncode
    assert 0 == command("verify", *RIGHT, "--recheck", "0", "--quiet").returncode
    assert 0 == command("cutover", *RIGHT, "--yes", "--quiet").returncode
    assert 6 == sum(len(each["sessions"]) for each in platform.bookings.find())


def test_one_booking_among_them_leaves_the_decision(platform: Db, command: Command) -> None:
    """As soon as one document is a booking, it is decided what happens to the others."""
    platform.payments.insert_one(booking(9))
    assert [3, 0] == command.once(MIGRATE, VERIFY)

    assert "were rejected, such as" in json.loads(command(*CUTOVER).stdout)["error"]["message"]
    assert 0 == command(*CUTOVER, "--rejected", "leave").returncode


@pytest.mark.usefixtures("platform")
def test_migrate_and_dry_run_say_so_first(command: Command) -> None:
    """Neither is called ready or leads to a verification or a plan."""
    looked = json.loads(command("dry-run", *WRONG, "--quiet", "--json").stdout)
    said = command("dry-run", *WRONG)
    migrated = command("migrate", *WRONG)
    report = json.loads(command("migrate", *WRONG, "--quiet", "--json").stdout)

    assert (3, 3) == (said.returncode, migrated.returncode)
    assert "Not ready: every document of the source would be rejected" in said.stdout
    assert "Done, but every document of the source was rejected" in migrated.stdout
    for steps in (looked["next_steps"], report["next_steps"]):
        assert "--source" in steps[0]["text"]
        assert "findOne" in steps[0]["command"]
        assert not any("verify" in (each["command"] or "") for each in steps)
        assert not any("--plan" in (each["command"] or "") for each in steps)


@pytest.mark.usefixtures("platform")
def test_verify_does_not_lead_to_a_cutover(command: Command) -> None:
    """It proves that all were rejected for a reason, and no more."""
    command(*MIGRATE)
    report = json.loads(command(*VERIFY, "--json").stdout)

    assert 0 == report["exit_code"]
    assert "--source" in report["next_steps"][0]["text"]
    assert not any("cutover" in (each["command"] or "") for each in report["next_steps"])


@pytest.mark.usefixtures("platform")
def test_status_does_not_lead_to_a_cutover(command: Command) -> None:
    """It leads to the rollback."""
    assert [3, 0] == command.once(MIGRATE, VERIFY)
    (run,) = json.loads(command("status", "--json").stdout)["runs"]

    assert not any("cutover" in each for each in run["possible"])
    assert any("rollback" in each for each in run["possible"])


@pytest.mark.usefixtures("platform")
def test_a_run_that_was_undone_is_not_offered_again(command: Command) -> None:
    """Neither the rollback nor status leads back to the wrong source."""
    assert [3] == command.once(MIGRATE)
    undone = json.loads(command("rollback", "--target", "clients", "--yes", "--quiet", "--json").stdout)
    (run,) = json.loads(command("status", "--json").stdout)["runs"]

    (step,) = undone["next_steps"]
    assert "migrate --source SOURCE --target clients" in step["command"]
    assert "right name" in step["text"]
    assert [] == run["possible"]


@pytest.mark.usefixtures("platform")
def test_a_target_without_a_run_is_compared_with_those_that_have_one(command: Command) -> None:
    """A typo is named, and what was typed stays; one run that is not near is named too; only without any, migrate is all there is."""

    def refused(target: str) -> list[str]:
        done = command(
            "cutover", "--source", "bookings", "--target", target, "--rejected", "carry", "--yes", "--json"
        )
        assert 5 == done.returncode
        hint: list[str] = json.loads(done.stdout)["error"]["hint"].splitlines()[1:]
        return hint

    (first,) = refused("cleints")
    assert [0] == command.once(("migrate", *RIGHT, "--quiet"))
    typo, other = refused("cleints"), refused("somewhere")
    assert [0] == command.once(("migrate", *RIGHT[:3], "sessions", "--quiet"))

    assert first.startswith("Migrate and verify first: ")
    assert typo[0].startswith("Did you mean clients? booking-migrate cutover ")
    assert {"--rejected", "carry", "--yes", "clients"} <= set(typo[0].split())
    assert "cleints" not in typo[0]
    assert typo[1].startswith("Or, if cleints is right, migrate and verify first: ")
    assert other[0].startswith("There is a run into clients. If that is meant: ")
    assert "runs into sessions, clients" in refused("somewhere")[0]


def test_an_empty_source_is_not_a_wrong_one(database: Db, command: Command) -> None:
    """What holds nothing is cut over as before."""
    database.create_collection("payments")
    assert [0, 0] == command.once(MIGRATE, VERIFY)
    assert "were rejected" not in command(*CUTOVER).stdout


@pytest.mark.usefixtures("platform")
def test_another_source_than_that_of_the_run(command: Command) -> None:
    """The refusal names what is right if the other one is meant, too: these commands work."""
    assert [3, 0] == command.once(MIGRATE, VERIFY)
    error = json.loads(command("cutover", *RIGHT, "--yes", "--json", "--quiet").stdout)["error"]

    assert "is from the source payments, not from bookings" in error["message"]
    assert "cutover --source payments" not in error["hint"]
    assert "rollback --run" in error["hint"].splitlines()[1]
    assert "migrate --source bookings --target clients" in error["hint"].splitlines()[2]


@pytest.mark.usefixtures("platform")
def test_another_source_where_both_may_be_right(command: Command) -> None:
    """Both are named where the run has made sessions."""
    assert [0, 0] == command.once(
        ("migrate", *RIGHT, "--quiet"), ("verify", *RIGHT, "--recheck", "0", "--quiet")
    )
    error = json.loads(command(*CUTOVER).stdout)["error"]

    assert "cutover --target clients --yes --quiet --json --source bookings" in error["hint"]
    assert "migrate --source payments --target clients" in error["hint"]


def test_what_was_typed_stays_in_the_cutover_that_is_suggested(platform: Db, command: Command) -> None:
    """Another source or other rules than those of the run: the command beside the refusal succeeds, since nothing else of it is lost."""
    platform.bookings.insert_one(booking(9, duration=5))
    typed = ("--rejected", "carry", "--max-outage", "60s", "--yes", "--json", "--quiet")
    assert [3, 0] == command.once(
        ("migrate", *RIGHT, "--quiet"), ("verify", *RIGHT, "--recheck", "0", "--quiet")
    )

    def suggested(*line: str) -> list[str]:
        hint = json.loads(command(*line).stdout)["error"]["hint"]
        return shlex.split(hint.splitlines()[1].partition("booking-migrate ")[2])

    other = suggested("cutover", *WRONG, *typed)
    rules = suggested("cutover", *RIGHT, *typed, "--accept", "duration-too-short", "--users", "none")
    undecided = json.loads(command("cutover", *RIGHT, *typed[2:]).stdout)["error"]["hint"].splitlines()
    decided = next(line for line in undecided if "--rejected carry" in line)
    for each in (other, rules, shlex.split(decided.partition("booking-migrate ")[2])):
        assert {"--rejected", "--max-outage", "--yes"} <= set(each), each
        assert not {"--accept", "--users"} & set(each), each
    assert 0 == command(*rules).returncode


@pytest.mark.usefixtures("platform")
def test_verify_before_any_migration(command: Command) -> None:
    """Nothing was migrated yet: that is what is wrong, and migrate is what helps, not a deletion."""
    command(*MIGRATE)
    report = json.loads(command("verify", *RIGHT, "--recheck", "0", "--json", "--quiet").stdout)
    shown = " ".join(command("verify", *RIGHT, "--recheck", "0").stdout.split())
    steps = report["next_steps"]

    assert 4 == report["exit_code"]
    assert "Not proven: nothing was migrated yet from bookings to clients" in shown
    assert "migrate --source bookings --target clients" in steps[0]["command"]
    assert not any("deleteOne" in (each["command"] or "") for each in steps)


def test_report_and_status_say_what_they_count(platform: Db, command: Command) -> None:
    """Bookings that come after the copy are not in the report's numbers, which says so; all numbers of status have them."""

    def meanwhile(step: Step) -> None:
        if step is Step.TARGET_FINISHED and not platform.bookings.find_one({"currency": "usd"}):
            platform.bookings.insert_many(booking(number, currency="usd") for number in range(10, 18))

    with failpoints(meanwhile):
        migrated = command("migrate", *RIGHT)
    shown = " ".join(command("status").stdout.split())
    (run,) = json.loads(command("status", "--json").stdout)["runs"]

    said = " ".join(migrated.stdout.split())
    assert "All 6 bookings of the source are accounted for" in said
    assert "the numbers here do not include them, those of status do" in said
    assert (14, 8) == (run["scanned"], run["rejected"])
    assert "14 bookings" in shown
    assert "8 rejected" in shown


def test_verify_of_an_absent_target(database: Db, command: Command) -> None:
    """The hint names the migration that comes first."""
    database.bookings.insert_many(map(booking, range(6)))
    error = json.loads(command("verify", *RIGHT, "--json", "--quiet").stdout)["error"]

    assert "PlaceNotFound" == error["kind"]
    assert "migrate --source bookings --target clients" in error["hint"]

"""Errors as declarations: fields, templates, and the way from one process to another."""

import pickle
from collections.abc import Iterator
from dataclasses import fields

import pytest

from booking_migrate.errors import (
    EXIT_CODES,
    AmbiguousPeople,
    BookingMigrateError,
    DuplicateClientDocuments,
    ExitCode,
    MapExists,
    NotConfirmed,
    OutputExists,
    PlaceNotFound,
    Refused,
    TargetBusy,
    TargetHoldsOther,
    Unexpected,
    exit_code_of,
)
from booking_migrate.runs.lock import FOLLOW_COMMAND, WINDOW_COMMAND
from booking_migrate.service import errors as service_errors

_VALUES = {"int": 2, "float": 1.5, "bool": True, "str": "text", "Sequence[str]": ("one", "two")}


class _Spilled(Refused):
    """An error for this test only."""

    cups: int
    names: tuple[str, ...]
    advice: str = "Wipe {up}."
    message = "{cups:cup was|cups were} spilled by {names} ({kind}, {kind!q}, {cups}, {cups:03d})"
    hint = "{names:; }: {advice}"

    @property
    def kind(self) -> str:
        return "black tea"


class _Wrong(Refused):
    """An error for this test only."""

    message = "{absent}"


def _kinds(base: type[BookingMigrateError] = BookingMigrateError) -> Iterator[type[BookingMigrateError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _sample(kind: type[BookingMigrateError]) -> BookingMigrateError:
    names = [getattr(field.type, "__name__", str(field.type)) for field in fields(kind)]  # type: ignore[arg-type]
    return kind(*(_VALUES.get(str(name), ("one",)) for name in names))


@pytest.mark.parametrize(
    ("cups", "said"), [(1, "1 cup was"), (0, "0 cups were"), (2, "2 cups were"), (5530, "5,530 cups were")]
)
def test_texts_are_filled_in(cups: int, said: str) -> None:
    """Numbers are in groups of three digits and choose their noun, sequences are joined, texts are quoted for the shell, properties can be named, and fields are not templates."""
    error = _Spilled(cups, ("Ann", "Bob"))

    assert (
        f"{said} spilled by Ann, Bob (black tea, 'black tea', {cups:,}, {cups:03d})"
        == error.message
        == str(error)
    )
    assert "Ann; Bob: Wipe {up}." == error.hint


def test_template_on_the_class() -> None:
    """A class has its template, so that texts can be checked without an error of that kind."""
    assert "{names:; }: {advice}" == _Spilled.hint


@pytest.mark.parametrize("command", [FOLLOW_COMMAND, WINDOW_COMMAND])
def test_who_hands_over_a_lock(command: str) -> None:
    """The hint about a lock knows each command that hands it over to another one."""
    assert "takes over" in TargetBusy("clients", f"{command} RUN by Ann").hint


def test_a_migration_that_still_reads_may_follow() -> None:
    """Its lock does not say yet whether it will: the hint does not promise an end."""
    hint = TargetBusy("clients", "migrate RUN by Ann").hint

    assert "If it was started with --follow, it ends only at Ctrl-C" in hint


@pytest.mark.parametrize(
    ("lease", "said"), [(30.0, "after half a minute:"), (45.0, "after 45 s:"), (0.0, "")]
)
def test_when_a_lock_expires(lease: float, said: str) -> None:
    """The hint about a lock says the time of its lease; that of a file ends with its process, and has none."""
    hint = TargetBusy("clients", "migrate RUN by Ann", lease).hint

    assert said in hint
    assert bool(said) == ("expires" in hint)


def test_unknown_field_in_a_template() -> None:
    """A template that names a field that the error does not have is found when the text is asked for."""
    with pytest.raises(AttributeError, match="absent"):
        _ = _Wrong().message


def test_categories_have_exit_codes() -> None:
    """An error has the exit code of its category; one outside of the table, and an error of Python, is unexpected."""
    assert ExitCode.REFUSED == exit_code_of(_Spilled(1, ()))
    assert ExitCode.UNEXPECTED == exit_code_of(service_errors.NotYours("no"))
    assert ExitCode.UNEXPECTED == exit_code_of(KeyError("no"))
    assert ExitCode.UNEXPECTED == EXIT_CODES[Unexpected]


@pytest.mark.parametrize("kind", sorted(set(_kinds()) - {_Wrong}, key=str))
def test_errors_cross_processes(kind: type[BookingMigrateError]) -> None:
    """An error that another process sends has its kind, its fields and its texts."""
    error = _sample(kind)
    received = pickle.loads(pickle.dumps(error))

    assert kind is type(received)
    assert vars(error) == vars(received)
    assert (error.message, error.hint) == (received.message, received.hint)


def test_a_missing_confirmation_says_what_to_do() -> None:
    """Without a terminal the option is named, and after another answer the one that confirms."""
    assert "Without a terminal, --yes confirms it: booking-migrate ... --yes" == NotConfirmed("cut-over").hint
    assert "type 'bookings' to confirm; you typed 'yes'." in NotConfirmed("cut-over", "yes", "bookings").hint


def test_a_missing_collection_is_located() -> None:
    """A collection that does not exist is named with its database and hosts, a file with its path."""
    collection = PlaceNotFound("bookings", "shop", "db1:27017, db2:27017")

    assert "collection bookings does not exist in database shop at db1:27017, db2:27017" == collection.message
    assert "--db" in collection.hint
    assert "in.jsonl does not exist" == PlaceNotFound("in.jsonl").message


@pytest.mark.parametrize(
    ("error", "other"),
    [
        (TargetHoldsOther("my data/out.jsonl.gz"), "--target 'my data/out_2.jsonl.gz'"),
        (TargetHoldsOther("rejected.jsonl", "--rejects"), "--rejects rejected_2.jsonl"),
        (OutputExists("a.b/booking-migrate.toml"), "--output a.b/booking-migrate_2.toml"),
        (MapExists("map"), "--out map_2"),
    ],
)
def test_another_file_comes_before_overwriting(error: BookingMigrateError, other: str) -> None:
    """Where something else exists, the first command names another place, and the one that replaces it says what is lost."""
    lines = [*error.hint.splitlines(), *(error.again or "").splitlines()]
    ways = [line for line in lines if line.endswith((other, "--overwrite"))]

    assert [True, False] == [line.endswith(other) for line in ways]
    assert "what it holds is lost" in error.hint


def test_many_samples_are_cut() -> None:
    """A message lists the first few of many things, and how many more there are."""
    assert AmbiguousPeople("users", "users", ["1", "2"], 5).message.endswith("_id: 1, 2 and 3 more")
    assert DuplicateClientDocuments(["a (1, 2)"], 1).message.endswith("client document: a (1, 2)")
    assert DuplicateClientDocuments(["a (1, 2)"], 3).message.endswith("client document: a (1, 2); and 2 more")

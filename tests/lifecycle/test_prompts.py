"""Questions at a terminal: what they say, and what happens if they are not answered."""

import os
import pty
import signal
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.cli import finalize, streams
from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import booking
from tests.support.forked import Forked

PLACES = ("--target", "clients", "--quiet")


def test_an_interrupted_question_changes_nothing(
    database: Database[dict[str, Any]], command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that ends without an answer, as by Ctrl-C, ends the command as an interruption; nothing is changed."""
    database.bookings.insert_many(map(booking, range(3)))
    assert [0, 0] == [command(name, *PLACES).returncode for name in ("migrate", "verify")]
    monkeypatch.setattr(streams, "is_interactive", lambda: True)
    ended = command("cutover", *PLACES)

    assert 130 == ended.returncode, ended.stderr
    assert "unexpected" not in ended.stderr
    assert "validator" not in database.bookings.options()
    assert 3 == database.bookings.count_documents({"sessions": {"$exists": False}})
    assert 0 == command("cutover", *PLACES, "--yes").returncode


def test_questions_name_what_is_done(
    database: Database[dict[str, Any]], command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question names the run, what becomes of the collections, and for how long writes are refused or what is lost."""
    for module in (streams, finalize):
        monkeypatch.setattr(module, "is_interactive", lambda: True)
    database.bookings.insert_many(map(booking, range(3)))

    def asked(*words: str) -> str:
        ended = command(*words)
        assert 130 == ended.returncode, ended.stderr
        return " ".join(ended.stderr.split())

    assert [0, 0] == [command(name, *PLACES).returncode for name in ("migrate", "verify")]
    before = asked("rollback", *PLACES)
    cutover = asked("cutover", *PLACES)
    assert 0 == command("cutover", *PLACES, "--yes").returncode
    after = asked("rollback", *PLACES)
    end = asked("finalize", "--quiet")

    assert "(bookings -> clients, done)" in before
    assert "(clients takes the place of bookings); writes are refused" in cutover
    assert "Type bookings to continue" in cutover
    assert (
        "stop the new application first; writes are refused until all old bookings are restored and verified"
        in after
    )
    assert "then start the old application" in after
    assert "no rollback is possible after that" in end


def test_an_undo_without_transactions_asks_for_rest(
    database: Database[dict[str, Any]], command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question of a rollback, and with --yes a warning, say that the application has to be stopped first; status too."""
    monkeypatch.setattr(streams, "is_interactive", lambda: True)
    database.bookings.insert_many(map(booking, range(3)))
    assert 0 == command("migrate", "--in-place", "--without-transactions", "--quiet").returncode
    status = " ".join(command("status").stdout.split())
    asked = " ".join(command("rollback", "--target", "bookings", "--quiet").stderr.split())
    done = command("rollback", "--target", "bookings", "--yes")

    assert (
        "stop every application that writes to bookings, and start it again when the command has ended, or what it writes meanwhile can "
        "be lost: this run works without transactions" in status
    )
    assert (
        "stop the application first, until the command has ended, or what it writes meanwhile can be lost"
        in asked
    )
    assert 0 == done.returncode, done.stderr
    assert "stop the application first" in " ".join(done.stderr.split())


def test_answers_at_a_terminal(
    database: Database[dict[str, Any]], command: Callable[..., Ended], environment: Mapping[str, str]
) -> None:
    """Only a yes confirms; any other answer is refused with what was typed, and no answer ends the command as what ended it."""
    database.bookings.insert_many(map(booking, range(3)))
    assert 0 == command("migrate", *PLACES).returncode

    def asked(typed: bytes, sent: signal.Signals | None = None) -> tuple[int, str]:
        """The exit code, and what follows the question."""
        ours, theirs = pty.openpty()
        os.write(ours, typed)
        with (
            os.fdopen(theirs) as terminal,
            Forked(("rollback", "--target", "clients"), environment, input=terminal) as process,
        ):
            shown = ""
            while not shown.endswith("[y/N]: "):
                shown += process.stderr.read(1)
            if sent is not None:
                process.send_signal(sent)
            _, rest = process.communicate()
            os.close(ours)
        return process.returncode, rest

    refused = {typed: asked(typed.encode() + b"\n") for typed in ("n", "", "nonsense")}
    unanswered = [asked(b"\x04"), asked(b"", signal.SIGINT), asked(b"", signal.SIGTERM)]

    assert 3 == database.bookings.count_documents({}) == database.clients.count_documents({})
    for typed, (code, said) in refused.items():
        assert 5 == code, said
        assert f"{f'you typed {typed!r}' if typed else 'nothing was typed'}." in said
    assert [130, 130, 143] == [code for code, _ in unanswered]
    for _, said in unanswered:
        assert said.startswith("\nerror: ")
        assert "Nothing was changed: the question was not answered." in said
        assert "it asks again" in said
    assert 0 == asked(b"Yes\n")[0]
    assert 0 == database.clients.count_documents({})

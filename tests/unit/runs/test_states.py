"""Which state of a run may follow which, what makes two runs the same, and how a batch is shielded from signals."""

import os

import pytest

from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.rules import Rules
from booking_migrate.errors import IllegalTransition
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.states import (
    ENDED,
    NOT_ENDED,
    RESUMABLE,
    TRANSITIONS,
    UNDOABLE,
    check_transition,
    differences,
    run_options,
)
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.locks import birth_of, is_dead

TIME = "2026-11-23T15:00:00Z"


def run(state: RunState) -> RunRecord:
    """A run in a state."""
    return RunRecord.model_validate(
        {
            "run_id": "r",
            "tool_version": "1",
            "source": "bookings",
            "target": "clients",
            "state": state,
            "options": {},
            "user": "ann",
            "host": "here",
            "pid": 1,
            **dict.fromkeys(("started_at", "heartbeat_at", "worked_from"), TIME),
        }
    )


def test_every_state_has_its_edges() -> None:
    """No state is forgotten in the table and its groups, and what can be continued or undone has an edge that says so."""
    assert set(RunState) == set(TRANSITIONS)
    assert set(RunState) == {RunState.PLANNED} | NOT_ENDED | ENDED
    assert all(RunState.RUNNING in TRANSITIONS[state] for state in RESUMABLE)
    assert all(RunState.ROLLING_BACK in TRANSITIONS[state] for state in UNDOABLE)


@pytest.mark.parametrize("after", RunState)
@pytest.mark.parametrize("before", RunState)
def test_other_edges_are_refused(before: RunState, after: RunState) -> None:
    """A run goes along the edges of the table and no others."""
    if after in TRANSITIONS[before]:
        check_transition(run(before), after)
    else:
        with pytest.raises(IllegalTransition):
            check_transition(run(before), after)


def test_what_decides_the_result_is_in_the_fingerprint() -> None:
    """Rules, sizes, places and fields tell runs apart; the batch size does not."""
    usual = run_options(MigrationPlan(), {"source": "a"})
    accepting = MigrationPlan(rules=Rules(accepted=frozenset({Reason.PRICE_NEGATIVE})))

    assert usual == run_options(MigrationPlan(batch_bookings=7), {"source": "a", "users": None})
    assert ["accept was not given and is price-negative"] == list(
        differences(usual, run_options(accepting, {"source": "a"}))
    )
    assert ["users was not given and is people"] == list(
        differences(usual, run_options(MigrationPlan(), {"source": "a", "users": "people"}))
    )


def test_the_first_signal_waits_for_the_batch() -> None:
    """A signal within a protected stretch is raised at its end; a second one is not held back."""
    signal_guard = SignalGuard()
    first, second = KeyboardInterrupt(1), KeyboardInterrupt(2)
    with pytest.raises(KeyboardInterrupt) as raised, signal_guard.critical_section():
        held = [signal_guard.receive(first), signal_guard.receive(second)]

    assert [True, False] == held
    assert first is raised.value
    assert signal_guard.receive(first) is False


def test_an_error_goes_before_a_held_signal() -> None:
    """If the batch fails, its error is what is raised."""
    signal_guard = SignalGuard()
    broken = ValueError("broken")

    def fail() -> None:
        with signal_guard.critical_section():
            signal_guard.receive(KeyboardInterrupt())
            raise broken

    with pytest.raises(ValueError, match="broken"):
        fail()


def test_who_is_dead() -> None:
    """A living process is not dead, a reused number is, and one of another machine cannot be told."""
    birth = birth_of(os.getpid())

    assert not is_dead(os.getpid(), birth)
    assert is_dead(os.getpid(), f"{birth}0") is bool(birth)
    assert not is_dead(os.getpid(), "another boot 1")

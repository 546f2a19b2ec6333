"""Which engine does the next range."""

from booking_migrate.engine.choice import FEW, MANY, TRIAL_OF_SERVER, TRIAL_OF_STREAM, EngineChoice
from booking_migrate.engine.outcome import Engine


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tried(stream_seconds: float, server_seconds: float) -> EngineChoice:
    """A choice after both were tried, each for so long."""
    clock = Clock()
    choice = EngineChoice(MANY, only_server=False, clock=clock)
    choice.note_streamed(5000)
    turns = [choice.next]
    clock.now += stream_seconds
    choice.note_streamed(TRIAL_OF_STREAM)
    turns.append(choice.next)
    choice.begin_grouping()
    clock.now += server_seconds
    choice.note_grouped(TRIAL_OF_SERVER - 1)
    turns.append(choice.next)
    choice.note_grouped(1)
    assert [Engine.STREAM, Engine.SERVER, Engine.SERVER] == turns
    return choice


def test_the_faster_one_goes_on() -> None:
    """After both have done their part, whoever took less time a booking does the rest, and the reason says so."""
    assert Engine.STREAM is tried(1.0, 1.0).next
    choice = tried(4.0, 1.0)

    assert Engine.SERVER is choice.next
    assert "it was faster on trial: 30,000 bookings a second against 25,000" == choice.reason
    choice.note_streamed(10**9)
    choice.note_grouped(10**9)
    assert Engine.SERVER is choice.next


def test_few_bookings_are_no_trial_worth() -> None:
    """Of few bookings, or if nobody knows how many there are, the program does all of them."""
    for bookings in (MANY - 1, None):
        choice = EngineChoice(bookings, only_server=False)
        choice.note_streamed(TRIAL_OF_STREAM)
        choice.note_streamed(TRIAL_OF_STREAM)
        assert (Engine.STREAM, FEW) == (choice.next, choice.reason)


def test_who_is_asked_for_has_no_rival() -> None:
    """With `--engine server` the server does everything it can, from the first range on."""
    choice = EngineChoice(None, only_server=True)
    choice.note_streamed(TRIAL_OF_STREAM)
    choice.begin_grouping()
    choice.note_grouped(TRIAL_OF_SERVER)

    assert Engine.SERVER is choice.next

"""Working beside an application that writes to the same clients: fewer at a time, then one by one, then later."""

from collections.abc import Callable, Iterator, Sequence
from time import sleep
from typing import Any, TypeVar

from booking_migrate.errors import Contended

_TRIES = 12
"""How often a client is tried to which the application writes continuously."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0

Result = TypeVar("Result")


def bisect_on_conflict(
    clients: Sequence[Any],
    attempt: Callable[[Sequence[Any]], Result],
    *,
    pause: Callable[[float], None] = sleep,
) -> Iterator[tuple[Sequence[Any], Result | None]]:
    """Apply an operation to clients, to all at once if that succeeds, otherwise to halves.

    Args:
        clients: their ids; at least one.
        attempt: applies it to some of them, all or nothing.
        pause: waits for so many seconds.

    Yields:
        Each part with its result; None for a client that could not be handled.
    """
    tries = _TRIES if len(clients) == 1 else 1
    for number in range(tries):
        if number:
            pause(min(_FIRST_PAUSE * 2**number, _LONGEST_PAUSE))
        try:
            result = attempt(clients)
        except Contended:
            continue
        yield clients, result
        return
    if len(clients) == 1:
        yield clients, None
        return
    middle = len(clients) // 2
    yield from bisect_on_conflict(clients[:middle], attempt, pause=pause)
    yield from bisect_on_conflict(clients[middle:], attempt, pause=pause)

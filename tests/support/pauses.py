"""Shorter pauses of the program and of the driver, so that tests of passing troubles need not wait."""

import pytest
from pymongo import common

from booking_migrate.stores.mongo import retry


def shorten_pauses(monkeypatch: pytest.MonkeyPatch, longest: float) -> None:
    """Shorten the pauses before something is tried again, and those before the driver looks again for a server.

    Args:
        monkeypatch: takes it back.
        longest: the longest pause of the program, in seconds.
    """
    monkeypatch.setattr(retry, "LONGEST_PAUSE", longest)
    monkeypatch.setattr(common, "MIN_HEARTBEAT_INTERVAL", 0.01)


def polled(uri: str) -> str:
    """A connection string by which the driver asks a server how it is; listening to it takes half a second to be given up."""
    return f"{uri}{'&' if '?' in uri else '/?'}serverMonitoringMode=poll"

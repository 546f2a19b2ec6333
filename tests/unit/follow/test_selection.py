"""A selection in parts: every client and every changed booking once, each booking beside its client."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.follow.selection import Selection

_KEYS = st.integers(0, 40).map(lambda number: bytes([35, number]))


@given(
    clients=st.sets(_KEYS), owners=st.dictionaries(_KEYS, st.one_of(st.none(), _KEYS)), size=st.integers(1, 5)
)
def test_parts(clients: set[bytes], owners: dict[bytes, bytes | None], size: int) -> None:
    """Parts have few clients, in client order, and few bookings without a client; any other booking is in that of its client."""
    of_bookings = {key: owner for key, owner in owners.items() if owner is not None}
    whole = Selection(
        {key: key.hex() for key in {*clients, *of_bookings.values()}},
        {key: key.hex() for key in owners},
        of_bookings,
    )
    parts = list(whole.parts(size))
    order = [key for part in parts for key in part.clients]
    found: dict[bytes, Any] = {}
    for part in parts:
        assert not found.keys() & part.bookings.keys()
        assert len(part.clients) <= size
        assert all(of_bookings[key] in part.clients for key in part.bookings.keys() & of_bookings.keys())
        assert len(part.bookings.keys() - of_bookings.keys()) <= size
        found |= part.bookings

    assert sorted(whole.clients) == order
    assert whole.bookings == found

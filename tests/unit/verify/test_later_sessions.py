"""Sessions that the new application added since: what --allow-later allows, and what it does not."""

from typing import Any

import bson
import pytest
from bson.objectid import ObjectId

from booking_migrate.bson.document import Element
from booking_migrate.verify.mismatch import Kind
from booking_migrate.verify.outcome import ClientResult
from booking_migrate.verify.sessions import compare_sessions

ONE, OTHER = ({"sessionId": ObjectId(), "price": price} for price in (1, 2))


def elements_of(sessions: list[Any]) -> list[Element]:
    """Documents as the elements of `sessions`; a string stands for an element that is not a document."""
    return [
        Element(0x02, str(place).encode(), bson.encode({"": one})[6:-1])
        if isinstance(one, str)
        else Element(0x03, str(place).encode(), bson.encode(one))
        for place, one in enumerate(sessions)
    ]


@pytest.mark.parametrize(
    ("sessions", "allowed", "kinds"),
    [
        ([ONE, OTHER], 2, []),
        ([ONE, ONE], 1, [Kind.DUPLICATE]),
        ([ONE, {"sessionId": ONE["sessionId"], "price": 3}], 1, [Kind.DUPLICATE]),
        ([ONE, {}], 1, [Kind.EXTRA]),
        ([ONE, "no session"], 1, [Kind.EXTRA]),
    ],
    ids=["two sessions", "the same twice", "the same id twice", "an empty one", "a string"],
)
def test_only_sessions_with_an_id_of_their_own_are_allowed(
    sessions: list[Any], allowed: int, kinds: list[Kind]
) -> None:
    """A later session is a document with a `sessionId` that no other has; anything else is a mismatch."""
    result = ClientResult()
    compared = compare_sessions([], elements_of(sessions), ObjectId(), {}, result, allow_later=True)

    assert (allowed, kinds) == (len(compared.later), [mismatch.kind for mismatch in result.mismatches])

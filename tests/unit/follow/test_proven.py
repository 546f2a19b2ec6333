"""A change before a document was found to be right need not be looked at; a later one, or one of another document, has to be."""

import pytest
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from booking_migrate.bson.order import sort_key
from booking_migrate.follow import proven
from booking_migrate.follow.proven import ProvenDocuments
from booking_migrate.stores.changes import Change, Role

_ONE, _OTHER = ObjectId(), ObjectId()


def _change(
    document_id: ObjectId, second: int, role: Role = Role.TARGET, operation: str = "replace"
) -> Change:
    return Change(role, operation, document_id, (), Timestamp(second, 1))


@pytest.fixture
def documents() -> ProvenDocuments:
    """One document that was right as of second 5."""
    known = ProvenDocuments(Role.TARGET)
    known.add([sort_key(_ONE)], Timestamp(5, 1))
    return known


@pytest.mark.parametrize(
    ("change", "is_covered"),
    [
        (_change(_ONE, 4), True),
        (_change(_ONE, 5), True),
        (_change(_ONE, 6), False),
        (_change(_OTHER, 4), False),
        (_change(_ONE, 4, Role.COPY), False),
        (_change(_ONE, 4, operation="drop"), False),
    ],
)
def test_what_is_covered(documents: ProvenDocuments, change: Change, is_covered: bool) -> None:
    """Only changes of that document, in that collection, up to that time."""
    assert is_covered == documents.covers(change)


def test_a_document_that_was_right_again(documents: ProvenDocuments) -> None:
    """The last time counts; what is behind the feed is forgotten, and nothing else."""
    documents.add([sort_key(_OTHER)], Timestamp(6, 1))
    documents.add([sort_key(_ONE)], Timestamp(7, 1))
    asked = [_change(_ONE, 6), _change(_OTHER, 6), _change(_OTHER, 7), _change(_ONE, 7), _change(_ONE, 8)]

    assert [True, True, False, True, False] == [documents.covers(each) for each in asked]


def test_it_is_limited(documents: ProvenDocuments, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more documents than are remembered, the changes of the oldest are looked at."""
    monkeypatch.setattr(proven, "_AT_MOST", 1)
    documents.add([sort_key(_OTHER)], Timestamp(6, 1))

    assert [False, True] == [documents.covers(_change(each, 5)) for each in (_ONE, _OTHER)]

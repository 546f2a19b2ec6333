"""Documents back to back."""

import bson
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.stores.blocks import join, pack, pack_whole, split, unpack
from booking_migrate.stores.ports import Duplicate, ScannedDocument

SCANNED = st.lists(
    st.builds(
        lambda size, mark: ScannedDocument(bson.encode({"x": "x" * size}), mark),
        st.integers(0, 9),
        st.sampled_from(Duplicate),
    ),
    max_size=8,
)


@given(SCANNED)
def test_what_is_packed_is_unpacked(documents: list[ScannedDocument]) -> None:
    """Documents and their marks come back in order, packed many at a time or all at once."""
    assert documents == list(unpack(pack(documents)))
    assert documents == list(unpack([pack_whole(documents)]))
    assert [document.raw for document in documents] == pack_whole(documents).documents()


@given(SCANNED, st.integers(0, 8), st.integers(0, 8))
def test_parts_join_to_the_whole(documents: list[ScannedDocument], one: int, other: int) -> None:
    """Cut in three anywhere, the parts hold what they should, and joined they are what they were."""
    first, second = sorted((min(one, len(documents)), min(other, len(documents))))
    packed = pack_whole(documents)
    parts = [packed.part(0, first), packed.part(first, second), packed.part(second, len(documents))]

    assert documents[first:second] == list(unpack([parts[1]]))
    assert packed == join(parts)


def test_single_documents() -> None:
    """A document is found by its number, from the end, too."""
    documents = [bson.encode({"x": "x" * size}) for size in range(3)]
    packed = split(b"".join(documents))

    assert documents == [packed.document(number) for number in range(3)]
    assert documents[-1] == packed.document(-1)
    assert (packed, None) == packed.read()

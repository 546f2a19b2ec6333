"""Documents back to back."""

import bson
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.stores.chunks import block_of, join, pack, split, unpack
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
    assert documents == list(unpack([block_of(documents)]))
    assert [document.raw for document in documents] == block_of(documents).documents()


@given(SCANNED, st.integers(0, 8), st.integers(0, 8))
def test_parts_join_to_the_whole(documents: list[ScannedDocument], one: int, other: int) -> None:
    """Cut in three anywhere, the parts hold what they should, and joined they are what they were."""
    first, second = sorted((min(one, len(documents)), min(other, len(documents))))
    block = block_of(documents)
    parts = [block.part(0, first), block.part(first, second), block.part(second, len(documents))]

    assert documents[first:second] == list(unpack([parts[1]]))
    assert block == join(parts)


def test_single_documents() -> None:
    """A document is found by its number, from the end, too."""
    documents = [bson.encode({"x": "x" * size}) for size in range(3)]
    block = split(b"".join(documents))

    assert documents == [block.document(number) for number in range(3)]
    assert documents[-1] == block.document(-1)
    assert (block, None) == block.read()

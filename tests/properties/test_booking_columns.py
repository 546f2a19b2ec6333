"""What the risks of bookings depend on is the same in columns of flat bookings and in rows of single ones."""

from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.domain.session import Converter, People, Session, read_booking
from booking_migrate.dry_run.booking_risks import COLLECTOR, column_reader, columns_of, row_of
from booking_migrate.fastpath.flat import FlatReader
from booking_migrate.stores.chunks import split
from tests.properties.test_fastpath_client import USUAL, encoded
from tests.properties.test_migration import Document
from tests.support.bookings import DAY, EXPERT

CONVERTER = Converter()
BOOKINGS = st.one_of(
    USUAL,
    st.builds(
        lambda usual, changes: {**usual, **changes},
        USUAL,
        st.sampled_from(
            [
                {"clientId": EXPERT},
                {"status": "cancelled", "cancellationTime": DatetimeMS(DAY)},
                {"cancellationTime": None},
                {"scheduledDate": DatetimeMS(-DAY)},
            ]
        ),
    ),
)


@given(st.lists(BOOKINGS, min_size=1, max_size=8))
def test_the_columns_of_flat_bookings_are_the_rows_of_single_ones(documents: list[Document]) -> None:
    """A risk that compares two columns finds the same in both."""
    block = split(b"".join(encoded(documents)))
    flat = FlatReader(wanted=COLLECTOR.fields).read(block.raw, [*block.starts, len(block.raw)])

    assert len(documents) == len(flat.numbers)
    for group in flat.groups:
        rows = list(zip(*columns_of(column_reader(group, frozenset())), strict=True))
        for number, row in zip(group.numbers, rows, strict=True):
            session = CONVERTER.convert(read_booking(block.document(number)), People())

            assert isinstance(session, Session)
            assert session.fields is not None
            assert row_of(session, session.fields) == row

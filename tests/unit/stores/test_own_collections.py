"""The names of the program's own collections."""

import re

import pytest

from booking_migrate.errors import without_records
from booking_migrate.stores import own_collections as own


@pytest.mark.parametrize("name", ["bookings", "bookings_legacy", "shop.bookings"])
def test_archives_and_kept_copies_are_recognised(name: str) -> None:
    """Every archive and kept copy is recognised as having old bookings, and is no name of the program's own."""
    made = (own.default_archive(name), own.kept_copy(name, own.new_run_id()))

    assert [True, True] == [own.has_old_bookings(each) for each in made]
    assert [False, False] == [own.is_own(each) for each in made]


@pytest.mark.parametrize(
    ("name", "is_found"),
    [
        ("bookings_legacy_20261123T151100Z-ab12cd", True),
        (own.default_archive("bookings"), True),
        ("bookings", False),
        ("bookings_legacy_view", False),
        ("booking_migrate_legacy_ids", False),
    ],
)
def test_old_bookings_are_found_by_the_hint_where_records_are_lost(name: str, *, is_found: bool) -> None:
    """The query that looks for old bookings without records finds each kept copy and each archive, and nothing else."""
    hint = without_records("clients", "bookings_legacy_RUN", "bookings_legacy", own.OLD_BOOKINGS_END)
    (pattern,) = re.findall(r"/(.+)/\.test\(name\)", hint)

    assert is_found == bool(re.search(pattern, name))


def test_other_names_are_not_recognised() -> None:
    """What only resembles an archive or a kept copy is not taken for one."""
    names = ("bookings", "legacy", "bookings_legacy_2025", "bookings_legacy_eu", "bookings_legacy\n")

    assert [] == [name for name in names if own.has_old_bookings(name)]


def test_the_program_refuses_each_of_its_names() -> None:
    """Each collection for records, of a rollback and of a map is refused as a place; the pattern has the records only."""
    of_runs = [own.restored(own.new_run_id()), own.map_beside("ids"), own.REJECTS_COLLECTION, own.SLOTS]

    assert all(map(own.is_own, [*own.RECORDS, *of_runs]))
    assert all(re.search(own.records_pattern(), name) for name in own.RECORDS)
    assert [] == [name for name in of_runs if re.search(own.records_pattern(), name)]

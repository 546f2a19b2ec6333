"""The names of the collections that the program makes: how each is made, and how it is recognised.

Those in which it keeps its own records begin with ``booking_migrate_``; those with old bookings have the name of the source first.
"""

import re
import secrets
from datetime import UTC, datetime

from booking_migrate.errors import BadPlace

_PREFIX = "booking_migrate_"

RUNS = f"{_PREFIX}runs"
RANGES = f"{_PREFIX}ranges"
BEFORE = f"{_PREFIX}before"
LOCKS = f"{_PREFIX}locks"
DIRTY = f"{_PREFIX}dirty"
WINDOW = f"{_PREFIX}window"
REWRITES = f"{_PREFIX}references"
REFERENCE_NOTES = f"{_PREFIX}reference_notes"

JOURNAL = (RUNS, RANGES, BEFORE, LOCKS)
"""What every run writes."""

RECORDS = (*JOURNAL, DIRTY, WINDOW, REWRITES, REFERENCE_NOTES)
"""What is known of runs and rewrites. Rejected bookings are not in it."""

REJECTS_COLLECTION = f"{_PREFIX}rejected"
"""Where a database keeps the rejected bookings, unless the user says otherwise."""

SLOTS = f"{_PREFIX}slots"
"""What the service writes with every booking."""

_RUN_ID = r"\d{8}T\d{6}Z-[0-9a-f]{6}"
_ARCHIVE = "_legacy"

OLD_BOOKINGS_END = f"{_ARCHIVE}(_{_RUN_ID})?"
"""What the name of an archive or of a kept copy ends in, by `default_archive` and `kept_copy`: a regular expression."""

_WITH_OLD_BOOKINGS = re.compile(rf"{OLD_BOOKINGS_END}\Z")


def new_run_id() -> str:
    """Return a name for a run that sorts by time and is unique, such as ``20261123T151100Z-ab12cd``."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def default_archive(source: str) -> str:
    """Return the archive of a collection that is migrated in place, unless the user says otherwise."""
    return f"{source}{_ARCHIVE}"


def kept_copy(source: str, run_id: str) -> str:
    """Return the collection that is to keep the copy of a source after the cut-over of a run.

    For a cut-over that has begun, `RunRecord.legacy` is the name: another version of the program may have chosen it.
    """
    return f"{source}{_ARCHIVE}_{run_id}"


def restored(run_id: str) -> str:
    """Return the collection in which the old bookings come together again when the cut-over of a run is rolled back."""
    return f"{_PREFIX}restored_{run_id}"


def map_beside(name: str) -> str:
    """Return a collection in which a map of old ids is built before it takes the name that the user has chosen: another one each time."""
    return f"{_PREFIX}map_{name}_{secrets.token_hex(6)}"


def maps_beside(name: str) -> str:
    """Return a regular expression that matches the names of `map_beside` for a map, also those of earlier versions, and no others."""
    return rf"^{_PREFIX}map_{re.escape(name)}(_[0-9a-f]{{12}})?$"


def records_pattern() -> str:
    """Return a regular expression that matches the names in `RECORDS` and no others."""
    return f"^{_PREFIX}({'|'.join(name.removeprefix(_PREFIX) for name in RECORDS)})$"


def has_old_bookings(name: str) -> bool:
    """Return whether a collection of this name is an archive or a kept copy, by `default_archive` and `kept_copy`."""
    return _WITH_OLD_BOOKINGS.search(name) is not None


def is_own(name: str) -> bool:
    """Return whether a collection of this name is one in which the program keeps its own records."""
    return name.startswith(_PREFIX)


def refuse_own(name: str) -> None:
    """Refuse a name of the collections in which the program keeps its own records.

    Raises:
        BadPlace: it is one.
    """
    if is_own(name):
        raise BadPlace(name, "the program keeps its own records in collections of such names")

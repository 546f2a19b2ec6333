"""The kinds of risk: title and advice of each, and the thresholds from which on something is one, which the titles repeat."""

from collections.abc import Sequence
from datetime import date

from booking_migrate.migrate.counts import SAMPLES
from booking_migrate.quantities import agreed
from booking_migrate.runs.plan import Finding

NEAR_PERCENT = 50
"""From which part of the limit on a document is near it: it cannot grow by as much again."""

FIRST_YEAR, LAST_YEAR = 2000, 2099
"""Dates outside are out of range, and not drawn."""

OPLOG_TIMES = 2
"""The oplog must reach this many times as far back as the migration takes."""

_EPOCH = date(1970, 1, 1)
FIRST_DAY, LAST_DAY = (date(FIRST_YEAR, 1, 1) - _EPOCH).days, (date(LAST_YEAR, 12, 31) - _EPOCH).days
"""The days of these years, as days since 1970."""

RISKS: dict[str, tuple[str, str]] = {
    "clients-with-several-currencies": (
        "{client|clients} whose totalSpent adds up several currencies",
        "A sum over currencies is meaningless. Decide before the cut-over which currency counts, or read prices by session.",
    ),
    "documents-over-limit": (
        "{client|clients} whose document would be over the size limit",
        "Their bookings are rejected. Raise --max-document-size (MongoDB takes 16 MiB at most) or archive old ones.",
    ),
    "documents-near-limit": (
        f"{{client|clients}} whose document is over {NEAR_PERCENT} % of the size limit",
        "A document cannot grow past 16 MiB: plan what happens when these clients continue to book.",
    ),
    "client-id-as-text": (
        "{client|clients} whose id is text that spells another client's ObjectId",
        "They become two clients. If they are one person, fix clientId in the source first.",
    ),
    "booked-twice": (
        "{booking that looks|bookings that look} booked twice: same client, expert, date and start, not cancelled",
        "Each becomes a session and counts in totalSpent. Cancel or remove the duplicates in the source first.",
    ),
    "expert-overlaps": (
        "{session that overlaps|sessions that overlap} another one of the same expert, not cancelled",
        "They are migrated unchanged. A unique index on expert and start can no longer prevent them.",
    ),
    "people-not-found": (
        "{booking|bookings} whose user or expert does not exist",
        "They are rejected. Name the collections with --users and --experts, or add the missing people.",
    ),
    "dates-out-of-range": (
        f"{{booking|bookings}} with a date before {FIRST_YEAR} or after {LAST_YEAR}",
        "They are migrated unchanged, but many programs cannot show them. Fix them in the source first.",
    ),
    "totals-wrong": (
        "{client document that keeps|client documents that keep} totals which are not those of {its|their} sessions",
        "No booking is added to them, so they are migrated unchanged. Fix their totalSessions and totalSpent.",
    ),
    "references-by-id": (
        "{field of another collection that refers|fields of other collections that refer} to bookings by id",
        "Their ids are found in sessions.legacyBookingId from then on. Change what reads them, and index it.",
    ),
    "collections-unreadable": (
        "{collection|collections} that this user may not read, and that may refer to bookings",
        "Look again as a user who may read the whole database.",
    ),
    "indexes-lost": (
        "{index|indexes} of the source that the new shape does not have",
        (
            "Create them on sessions.FIELD where queries still need them. A unique index does not apply between the sessions "
            "of one document."
        ),
    ),
    "validator-lost": (
        "validator of the source that the new shape does not have",
        "Write one for client documents and set it on the target, after the migration.",
    ),
    "ttl-index": (
        "{index that makes|indexes that make} the server delete bookings while the migration runs",
        "Drop them before migrating; afterwards nothing expires any more.",
    ),
    "privileges-missing": (
        "{privilege|privileges} that migrate, cutover or rollback need and this user lacks",
        "Run those commands as a user who has them; the built-in roles readWrite and dbAdmin do.",
    ),
    "no-majority": (
        "too few members of the replica set are up to acknowledge writes; its members",
        (
            "Start the members that are down first: until then every command that writes or verifies ends with exit code 10, "
            "and changes that the application makes are not counted here."
        ),
    ),
    "oplog-window-short": (
        f"the oplog reaches back less than {OPLOG_TIMES} times the time estimated, in seconds",
        "Changes made meanwhile could be lost to change streams and secondaries. Enlarge the oplog first.",
    ),
}
"""Title (see `quantities.agreed`) and advice of each risk, by its kind; those of bookings and clients come first, in the
order of reports."""


def risk(kind: str, ids: Sequence[str], count: int | None = None, most: int | None = SAMPLES) -> Finding:
    """Return the finding of a risk.

    Args:
        kind: of `RISKS`.
        ids: what is at risk.
        count: how many are at risk, if not as many as there are ids.
        most: how many ids are named; None: all.
    """
    title, advice = RISKS[kind]
    number = len(ids) if count is None else count
    return Finding(kind, agreed(title, number), number, tuple(ids[:most]), advice)

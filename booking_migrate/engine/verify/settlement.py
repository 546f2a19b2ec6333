"""Bookings that are not in the target as they should be: the rejected records say whether that is right."""

from booking_migrate.domain.rejection import Reason
from booking_migrate.engine.verify.mismatch import REJECTED_FIELD, Kind, Mismatch
from booking_migrate.engine.verify.sessions import OpenBooking
from booking_migrate.stores.base import RejectedRecord, RejectedRecords


def settle(booking: OpenBooking, record: RejectedRecord | None) -> tuple[Mismatch, ...]:
    """What is wrong about a booking, given its record among the rejected; empty if it is rightly rejected."""
    if record is None:
        return booking.differing or (_missing(booking),)
    found = ", ".join(sorted(record.reasons))
    if booking.broken:
        causes = [broken.reason.value for broken in booking.broken]
        if record.reason in causes:
            return ()
        return (
            _about_record(booking, f"rejected for {found} where {booking.broken[0].reason} is the cause"),
        )
    if booking.differing:
        # The session was there before and has changed since: the migration leaves it and rejects the booking.
        return () if record.reason == Reason.CONFLICT.value else booking.differing
    return (_about_record(booking, f"rejected for {found}, but it can be converted"),)


def _missing(booking: OpenBooking) -> Mismatch:
    if not booking.broken:
        detail = "the booking is neither in the target nor among the rejected"
        return Mismatch(Kind.MISSING, booking.client_id, booking.booking_id, detail=detail)
    reasons = ", ".join(broken.reason for broken in booking.broken)
    return _about_record(booking, f"cannot be converted ({reasons}) but is not among the rejected")


def _about_record(booking: OpenBooking, detail: str) -> Mismatch:
    return Mismatch(Kind.MISSING, booking.client_id, booking.booking_id, REJECTED_FIELD, detail=detail)


def without_booking(record: RejectedRecord) -> Mismatch:
    """A rejected record that stands for no booking of the source, or for one that is in the target too."""
    detail = f"rejected for {', '.join(sorted(record.reasons))}, but no booking of the source is missing that is this one"
    return Mismatch(Kind.EXTRA, None, record.booking_id, REJECTED_FIELD, detail=detail)


def is_settled(booking: OpenBooking, records: RejectedRecords) -> bool:
    """Whether a booking is rightly rejected; its record is not taken."""
    return not settle(booking, records.find(booking.raw))

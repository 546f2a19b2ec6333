"""Bookings that are not in the target as they should be: the rejected records say whether that is right."""

from dataclasses import replace

from booking_migrate.domain.rejection import ConflictPolicy, Reason
from booking_migrate.stores.ports import RejectedRecord, RejectedRecords
from booking_migrate.verify.mismatch import REJECTED_FIELD, Kind, Mismatch
from booking_migrate.verify.sessions import OpenBooking


def settle(booking: OpenBooking, record: RejectedRecord | None) -> tuple[Mismatch, ...]:
    """What is wrong about a booking, given its record among the rejected; empty if it is rightly rejected.

    A conflict is never right: it is listed with its differences, unless the record holds a decision for the target.
    """
    if record is None:
        return booking.differing or (_missing(booking),)
    if is_kept(booking, record):
        return ()
    if is_conflict(booking, record):
        return tuple(replace(mismatch, kind=Kind.CONFLICT) for mismatch in booking.differing)
    found = ", ".join(sorted(record.reasons))
    if booking.broken:
        causes = [broken.reason.value for broken in booking.broken]
        if record.reason in causes:
            return ()
        return (
            _about_record(booking, f"rejected for {found} where {booking.broken[0].reason} is the cause"),
        )
    return booking.differing or (_about_record(booking, f"rejected for {found}, but it can be converted"),)


def is_conflict(booking: OpenBooking, record: RejectedRecord) -> bool:
    """Whether a booking was rejected because its session has other content, and still has."""
    return bool(booking.differing) and record.reason == Reason.CONFLICT.value


def is_kept(booking: OpenBooking, record: RejectedRecord) -> bool:
    """Whether a booking's session was kept with other content, by a recorded decision."""
    return is_conflict(booking, record) and record.decision == ConflictPolicy.TARGET.value


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

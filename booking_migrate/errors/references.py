"""Errors of finding and following references from other collections."""

from booking_migrate.errors.base import Refused


class OldIdsNotIndexed(Refused):
    """The new ids of old bookings could only be found by reading all client documents for each batch of them."""

    collection: str
    documents: int
    message = (
        "{collection} has no index on sessions.legacyBookingId, and the old bookings are not kept: each look-up would read all "
        "{documents} client documents"
    )
    hint = "Create it, and run the same command again. To create it: booking-migrate references keep --source {collection}"


class NoReferences(Refused):
    """No field that holds ids of bookings is named."""

    command: str
    message = "{command} needs the fields that hold ids of bookings, and the config file names none"
    hint = "Find them: booking-migrate references find --output references.toml, and then add --config references.toml"

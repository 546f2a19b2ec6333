"""Errors of the map of old ids, and of the index by which they are looked up."""

from collections.abc import Sequence

from booking_migrate.errors.base import SAME_COMMAND, Refused, RefusedUnchanged, another_or_overwrite


class MapExists(Refused):
    """A map, or a file, is there already and may not be replaced."""

    place: str
    effect = "Nothing was written."
    message = "{place} exists, and holds other data than this map"

    @property
    def hint(self) -> str:
        return another_or_overwrite("--out", self.place)


class NotAMap(Refused):
    """A collection holds documents that are not entries of a map; it is never replaced."""

    place: str
    effect = "Nothing was written."
    message = "{place} holds documents that are not entries of a map"
    hint = (
        f"Use a different collection, one that holds nothing but the map: {SAME_COMMAND} --out {{place}}_map"
    )


class NoOldIds(RefusedUnchanged):
    """A collection has no session with `legacyBookingId`, so an index on it would find nothing."""

    place: str
    message = "no session in {place} has a legacyBookingId"
    hint = "The index is kept from the cut-over on with cutover --keep-index, or made after it."


class ReferencesRemain(Refused):
    """Other collections hold ids of old bookings, and what they lead to is to be removed."""

    fields: Sequence[str]
    commands: Sequence[str]
    """The commands that rewrite them."""

    unseen: str
    """Where they were not looked for, in few words: a warning has said it."""

    effect = "Nothing was dropped."

    @property
    def message(self) -> str:
        verb = "holds" if len(self.fields) == 1 else "hold"
        return f"{', '.join(self.fields)} still {verb} ids of old bookings, and --drop-legacy-ids removes what these lead to"

    @property
    def hint(self) -> str:
        first, *more = self.commands
        kept = (
            "If not, or if you do not know: leave the references, and keep the old ids, by which they still lead to the sessions; this drops "
            "the old bookings, which cannot be undone, and after it --drop-legacy-ids does not remove the old ids any more"
        )
        sure = f"Then, only if you know that {self.unseen} hold no ids of bookings (if not, keep the old ids, as above), run the same command again"
        removes = "it drops the old bookings and removes the old ids, which cannot be undone"
        left = "Only if nothing reads these references: leave them, and they lead nowhere afterwards, which cannot be undone"
        return "\n".join(
            [
                f"Nothing is urgent. Ask the developers whether all that reads {', '.join(self.fields)} looks bookings up by new ids.",
                f"{kept}: {SAME_COMMAND} without --drop-legacy-ids",
                f"If it does: rewrite the references first: {first}",
                *(f"And: {command}" for command in more),
                f"{sure}; {removes}: {SAME_COMMAND}",
                f"{left}: {SAME_COMMAND} --leave-references",
            ]
        )

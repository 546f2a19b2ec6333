"""Errors of references from other collections: of finding and following them, of the map of old ids and the index for these."""

from collections.abc import Sequence
from shlex import quote

from booking_migrate.errors.base import SAME_COMMAND, Refused, RefusedUnchanged, another_or_overwrite


class OldIdsNotIndexed(Refused):
    """The new ids of old bookings could only be found by reading all client documents for each batch of them."""

    collection: str
    documents: int
    message = (
        "{collection} has no index on sessions.legacyBookingId, and the old bookings are not kept: each look-up would read all "
        "{documents:client document|client documents}"
    )
    hint = (
        "First create it: booking-migrate references keep --source {collection!q}\n"
        f"Then run the same command again: {SAME_COMMAND}"
    )


class FieldNotFound(RefusedUnchanged):
    """No document of a collection has a field that is named as a reference, or in its condition."""

    collection: str
    database: str
    path: str
    field: str
    """The reference, of whose condition ``path`` is; or the same."""

    near: str
    """A path that documents have, and that was probably meant."""

    is_excludable: bool
    """Whether the command has the option ``--exclude``."""

    named: Sequence[str] = ()
    """The fields that the command line names, as typed; empty: the config file names them."""

    when: Sequence[str] = ()
    """The conditions that the command line names, as typed."""

    @property
    def message(self) -> str:
        what = (
            ""
            if self.path == self.field
            else f", which the condition of {self.collection}.{self.field} names"
        )
        return f"no document of {self.collection} in database {self.database} has the field {self.path}{what}"

    @property
    def hint(self) -> str:
        if self.near and self.named:
            return f"Did you mean {self.near}? {SAME_COMMAND} {self._corrected}"
        if self.near:
            return f"Did you mean {self.near}? Correct it in the config file, then run the same command again: {SAME_COMMAND}"
        if self.is_excludable:
            return (
                "Correct it, or leave the reference out: "
                f"{SAME_COMMAND} --exclude {quote(f'{self.collection}.{self.field}')}"
            )
        return "Correct it, or leave the reference out; in the config file with exclude = true."

    @property
    def _corrected(self) -> str:
        """Return the options that name fields and conditions, with the one that was meant."""
        if self.path == self.field:
            wrong, meant = f"{self.collection}.{self.field}", f"{self.collection}.{self.near}"
            return " ".join(f"--field {quote(meant if each == wrong else each)}" for each in self.named)
        pairs = [each.partition("=") for each in self.when]
        return " ".join(
            f"--when {quote(f'{self.near if path == self.path else path}={value}')}"
            for path, _, value in pairs
        )


class NoReferences(RefusedUnchanged):
    """No field that holds ids of bookings is named."""

    command: str
    config: str = ""
    """The config file in use; empty without one."""

    message = "{command} needs the fields that hold ids of bookings, and the config file names none"

    @property
    def hint(self) -> str:
        find = "First find them: booking-migrate references find --output references.toml"
        if not self.config:
            return f"{find}\nThen run the same command again with that file: {SAME_COMMAND} --config references.toml"
        # The other settings of the file are needed, too, and a command takes one file.
        return (
            f"{find}\nThen append them to the config file: cat references.toml >> {quote(self.config)}\n"
            f"Then run the same command again: {SAME_COMMAND}"
        )


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

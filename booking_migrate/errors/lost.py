"""Errors of runs and old bookings that are not there, or not there any more."""

import json
from collections.abc import Sequence

from booking_migrate.errors.base import SAME_COMMAND, NothingToDo, Refused, RefusedUnchanged, either

_DUMP_AND_URI = (
    "In the commands, DUMP is the folder that mongodump wrote (for a file that it wrote with --archive, put --archive=FILE in its place; "
    "for a dump made with --gzip, add --gzip), and URI the connection string without a database."
)


_ROLL_BACK = f"Then stop the new application, if it still runs, roll back, and start the old one when that is done: {SAME_COMMAND}"


class NoRun(NothingToDo):
    """The run that a command refers to does not exist."""

    what: str
    """Which run was looked for, and where."""

    effect: str = "Nothing was changed."
    by_hand: str = ""
    """What is possible without the records of runs, if they are lost."""

    elsewhere: Sequence[str] = ()
    """The targets of the runs that are known."""

    message = "found no {what}"
    hint = either(
        "elsewhere",
        "This database has runs into {elsewhere}. To see each, with what can be done about it: booking-migrate status",
        "{harmless}s --db right? To see every run of the database: booking-migrate status\n"
        "Or of another one, with its name for DB: booking-migrate status --db DB{by_hand}",
    )
    harmless = either(
        "by_hand",
        "If no migration was ever run in this database, nothing has to be undone: stop here.\nIf one was, i",
        "I",
    )


def without_records(target: str | None, kept: str, archive: str, end: str) -> str:
    """Return what can be done where a run is to be undone whose records are lost, as further lines of a hint.

    Args:
        target: the target of the run, if it is known.
        kept: how a kept copy is called.
        archive: how an archive is called, unless the user has named it.
        end: what the names of both end in, as a regular expression.
    """
    records = (
        f"\nIf its collections booking_migrate_* were dropped, restore them from the newest backup made after the run's last command: "
        f"an older one does not know what was written since, and a rollback would leave that. {_DUMP_AND_URI}\n"
        f"To restore them: mongorestore --uri 'URI' --nsInclude '*.booking_migrate_*' DUMP\n"
        "See whether it shows what the run's last command did, such as a cut-over; if it shows less, do not roll back, but restore a newer "
        "backup with --drop added to mongorestore, which replaces what the older one restored: booking-migrate status\n"
        "Only if it shows that, roll back; if the run was cut over, stop the new application first, if it still runs, and start the old one "
        f"when that is done: {SAME_COMMAND}"
    )
    if target is None:
        return records
    return (
        f"{records}\nIf no backup has them, look whether it was cut over, or migrated in place: documents of the live collection have "
        "the field sessions then. To see one, with the name of the live collection for LIVE, in mongosh: "
        'db.getCollection("LIVE").findOne({sessions: {$exists: true}})\n'
        "If there is one: a rollback is not possible, and the collection that it made live stays live "
        f"with its client documents. The old bookings, as they were then, are in a collection {kept}, or, in place, in its archive, which is "
        f"called {archive} unless --archive has named it; keep it. To see whether there is one, in mongosh: "
        f"db.getCollectionNames().filter(name => /{end}$/.test(name))\n"
        f"If it shows null: the bookings are unchanged, and {target} does no harm; leave it if you are not sure. Only if the one who "
        f"ran the migration confirms that all of {target} is from it, drop it, in mongosh: db.getCollection({json.dumps(target)}).drop()"
    )


class Finalized(NothingToDo):
    """A run can no longer be rolled back, because finalize dropped its old bookings."""

    run_id: str
    archive: str
    source: str
    begin: str
    """What moved the old bookings away: ``the cut-over``, or ``the migration in place``."""

    effect = "Nothing was changed."
    message = "run {run_id} is finalized: {archive}, which kept its old bookings, was dropped"
    hint = (
        "finalize cannot be undone, and {source} stays as it is. If you need the old bookings, restore them under another name.\n"
        f"{_DUMP_AND_URI}\n"
        "Usual, if a backup was made between {begin} and finalize; it has all old bookings: "
        "mongorestore --uri 'URI' --nsInclude '*.{archive}' --nsFrom '*.{archive}' --nsTo '*.{source}_old' DUMP\n"
        "Only if no such backup exists: from one made before {begin}; bookings made or changed between it and {begin} are missing or old "
        "in it: mongorestore --uri 'URI' --nsInclude '*.{source}' --nsFrom '*.{source}' --nsTo '*.{source}_old' DUMP"
    )


class OldBookingsLost(RefusedUnchanged):
    """The collection that kept the old bookings of a run was dropped."""

    kept: str
    going_on: str = ""
    """The command that continues without them, if one does."""

    source: str = ""
    """The collection of which a cut-over made the copy, if one did."""

    message = "{kept}, which kept the old bookings, no longer exists"
    hint = either(
        "going_on",
        f"Restore {{kept}} from a backup of the database, then run the same command again: {SAME_COMMAND}\n"
        "Or, if no backup has it, migrate only the bookings that are still in the old shape, with the name of a new archive for OTHER: {going_on}",
        f"Restore it from a backup of the database; the new application may run meanwhile. {_DUMP_AND_URI}\n"
        "Usual, if a backup was made after the cut-over and before {kept} was dropped; nothing is lost: "
        "mongorestore --uri 'URI' --nsInclude '*.{kept}' DUMP\n"
        "If mongorestore reports 0 document(s), that backup was made after the drop: take an earlier one, from after the cut-over.\n"
        f"{_ROLL_BACK}\n"
        "If no backup exists, or the losses below are not acceptable, do not roll back: {source} stays live as it is; start the new "
        "application again, if it was stopped.\n"
        "If only an older backup exists, from before the cut-over: bookings made between it and the cut-over will then exist "
        "only as sessions in client documents, which the old application does not read; rejected ones of them that the cut-over left out "
        "are lost; bookings deleted in that time come back. In it, the old bookings are still called {source}: "
        "mongorestore --uri 'URI' --nsInclude '*.{source}' --nsFrom '*.{source}' --nsTo '*.{kept}' DUMP\n"
        f"{_ROLL_BACK}",
    )


class ArchiveLostInRollback(Refused):
    """The archive was dropped while a rollback of its run was unfinished: what is in it has not been restored."""

    kept: str

    message = OldBookingsLost.message
    effect = "What had been restored before stays so; nothing else was changed."
    hint = (
        f"Restore {{kept}} from a backup of the database, then run the same command again: {SAME_COMMAND}\n"
        "Or, only if no backup has it: old bookings that are not restored yet stay sessions in client documents, and the rollback lists "
        f"them, if you create an empty one first, in mongosh: db.createCollection('{{kept}}')"
    )


class LiveReplaced(RefusedUnchanged):
    """The live collection was dropped or replaced by others while its rollback was unfinished."""

    source: str
    run_id: str
    kept: str
    restored: str
    """The collection that the rollback builds, which may not exist."""

    message = (
        "{source} is neither the collection of the cut-over of run {run_id} nor the one that its unfinished rollback has built: "
        "others have dropped or replaced it"
    )

    @property
    def hint(self) -> str:
        kept, source = json.dumps(self.kept), json.dumps(self.source)
        return (
            f"{self.kept} has the old bookings as they were at the cut-over; what was built of them with later changes, "
            f"if the rollback came that far, is in {self.restored}. Keep both until you have decided.\n"
            f"To make the old bookings of {self.kept} live, in place of what {self.source} is now, in mongosh: "
            f"db.getCollection({kept}).renameCollection({source}, true)\n"
            f"Then finish the rollback: {SAME_COMMAND}"
        )


class ArchiveNotOwn(Refused):
    """The archive of a collection holds documents of other origin."""

    archive: str
    run_id: str | None
    """The run that moved old bookings to a collection of that name; None: none did."""

    going_on: str = ""
    """The command that continues without them, if there is such a run."""

    message = either(
        "run_id",
        "{archive} holds none of the old bookings that run {run_id} moved there",
        "{archive} holds documents that were not moved there by a run in place",
    )
    hint = either(
        "run_id",
        "Rename the collection that has this name now, restore {archive} from where it was moved or from a backup, then run the same "
        f"command again: {SAME_COMMAND}\n"
        "Or migrate only the bookings that are still in the old shape, with the name of a new archive for OTHER: {going_on}",
        f"Use the name of a collection that does not exist yet: {SAME_COMMAND} --archive {{archive}}_2",
    )


class OtherArchive(RefusedUnchanged):
    """A result in place is to be verified with an archive that is not its own."""

    run_id: str
    source: str
    archive: str
    """The run's."""

    asked: str
    """The one that was named, or is the usual one."""

    command: str
    """The command that verifies it with its archive."""

    message = "run {run_id} migrated {source} in place with the archive {archive}, not with {asked}"
    hint = "Verify it with its archive: {command}\nTo see every run with its archive: booking-migrate status"

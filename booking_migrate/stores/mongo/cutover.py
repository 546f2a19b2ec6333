"""Source, target and the kept copy of a cut-over, in one database of a server; old bookings in the live collection."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from bson import json_util
from pymongo.errors import ExecutionTimeout

from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.errors import WriteFailed
from booking_migrate.stores.cutover import (
    IMAGES,
    IndexNote,
    OldBookings,
    OptionNote,
    Successor,
    comparable,
    is_for_client_documents,
    is_same_index,
    options_after,
    options_of_index,
    successor_of,
    written,
)
from booking_migrate.stores.destination import examine, refuse_unfit
from booking_migrate.stores.mongo.administration import (
    CLIENT_DOCUMENTS_ONLY,
    EVERY_DOCUMENT,
    client_index_name,
    comment_for,
    create,
    create_index,
    end_own_commands,
    ensure_client_index,
    has_same_hash,
    identity,
    indexes_of,
    options_of,
    run_durably,
)
from booking_migrate.stores.mongo.connection import DriverCollection, describe, excess_of
from booking_migrate.stores.mongo.exclusive import drop_index, drop_indexes, rename_over
from booking_migrate.stores.mongo.failures import absent, read, reading, write
from booking_migrate.stores.mongo.fence import SUCCESSOR, FencedSource
from booking_migrate.stores.mongo.inspection import MongoDestination, find_ends
from booking_migrate.stores.mongo.live_swap import guard, set_own_validation, unguard
from booking_migrate.stores.mongo.raw import (
    SIMPLE,
    any_of,
    delete_versions,
    documents_in,
    id_of,
    insert_absent,
)
from booking_migrate.stores.mongo.reader import OLD_SHAPE
from booking_migrate.stores.mongo.retry import settled, with_retry
from booking_migrate.stores.mongo.scan import find_documents
from booking_migrate.stores.validators import is_fenced, unguarded, validation_of

_DOCUMENTS_PER_WRITE = 1000
_SAMPLE = 100
"""How many of the first and of the last client documents conditions are tried out with."""


class MongoLive(FencedSource):
    """The source, which is live, and the target, which is to take its name; both in one database."""

    def __init__(self, source: DriverCollection, target: DriverCollection, *, blocks: bool = False) -> None:
        """Take the live collection, and the one that takes its place; ``blocks`` as of `FencedSource`."""
        super().__init__(source, blocks=blocks)
        self._target = target
        self._database = source.database

    def unfit(self) -> str | None:
        """Return why the source cannot be replaced by a rename: it is a view, capped, a time series, or bears a fence already.

        None if it can.

        Raises:
            UnfitPlace: an index or option of the target conflicts with client documents.
            WritesNotBlockable: all users' writes were to be refused, and that cannot be done.
        """
        if self._blocks:
            self._check_block()
        listed = describe(self._source)
        if listed is None:
            return "it does not exist"
        if listed["type"] != "collection":
            return f"it is a {listed['type']}"
        if self.is_fenced():
            return "another cut-over of it is running, or was interrupted"
        options = listed.get("options", {})
        if "encryptedFields" in options:
            return "it is a collection of Queryable Encryption"
        if options.get("capped"):
            return "it is a capped collection"
        refuse_unfit(
            self._target.name,
            examine(MongoDestination(self._target), find_ends(self._target, _SAMPLE), in_place=False),
            is_filled=True,
        )
        return None

    def excess_of(self, name: str) -> int:
        """Return by how many bytes the name of a collection is too long for the database; at most 0: it is not."""
        return excess_of(self._database.name, name)

    def copy(self, legacy: str) -> None:
        """Copy the source, on the server, to a collection that is replaced if it is there."""
        kept = self._database[legacy]

        def copied() -> None:
            # After a lost answer the earlier command may still run, and rename later.
            end_own_commands(kept)
            # The server writes beside it and renames at the end (manual, $out).
            self._source.aggregate([{"$out": legacy}], comment=comment_for(kept)).close()

        write(self._source, copied)
        if describe(kept) is None:
            # An empty source leaves nothing behind.
            create(kept)

    def is_same(self, legacy: str) -> bool:
        """Return whether the copy holds exactly the source's documents: as many, and of one hash."""
        return self.has_same_count(legacy) and has_same_hash(self._source, legacy)

    def count(self) -> int:
        """Return how many documents the source has."""
        # The server's own count may be wrong after a crash, and does not fall below 0 then.
        return read(self._source, lambda: self._source.count_documents({}))

    def has_same_count(self, legacy: str) -> bool:
        """Return whether both have as many documents."""
        # The server's own counts may be wrong after a crash, and waver while it refuses a delete, which it takes back.
        kept = self._database[legacy]
        return read(self._source, lambda: self._source.count_documents({}) == kept.count_documents({}))

    def drop(self, legacy: str) -> None:
        """Drop the copy, if it is there."""
        end_own_commands(self._database[legacy])
        write(self._source, lambda: self._database.drop_collection(legacy))

    def end_own_commands(self) -> None:
        """End what a killed process has sent about the source as a whole: it might be carried out later."""
        end_own_commands(self._source)

    def guard(self, *, is_live: bool = False, is_lenient: bool = False) -> None:
        """Let a collection refuse documents without an array `sessions`, beside its own validator. May be repeated.

        Args:
            is_live: whether the target has the source's name already, and old bookings may be in it.
            is_lenient: whether old bookings are in the target before that; they may be updated, and no new one added.
        """
        guard(self._source if is_live else self._target, is_lenient=is_live or is_lenient)

    def unguard(self, *, is_live: bool = False) -> None:
        """Take the validator of `guard` off again; the collection's own one stays. May be repeated."""
        unguard(self._source if is_live else self._target)

    def prepare_carry(self) -> None:
        """Build the indexes that `carry` needs: that takes as long as the target is large. The unique one stays until then."""
        write(self._target, lambda: CLIENT_DOCUMENTS_ONLY.build(self._target))
        # A query for a client's documents cannot use an index that leaves some of them out.
        write(self._target, lambda: EVERY_DOCUMENT.build(self._target))

    def carry(self, bookings: Iterable[bytes]) -> int:
        """Insert old bookings beside the client documents of the target; return how many.

        The unique index on `clientId` then counts for client documents only, and another one serves queries for all.
        """
        # At every moment one of the two indexes is there.
        remaining = iter(bookings)
        carried = 0
        while some := list(islice(remaining, _DOCUMENTS_PER_WRITE)):
            if not carried:
                self._restrict_index()
            # Sent again after a lost answer, a booking finds itself there; another one in its place is found below.
            insert_absent(self._target, some)
            self._prove_carried(some)
            carried += len(some)
        return carried

    def _prove_carried(self, bookings: Sequence[bytes]) -> None:
        """Read carried documents again: one that found another document in its place was left out by the insert."""
        ids = [id_of(raw) for raw in bookings]
        with reading(self._target):
            there = set(find_documents(self._target, any_of("_id", ids)))
        lost = next((raw for raw in bookings if raw not in there), None)
        if lost is not None:
            problem = f"rejected document {display_id(id_of(lost))} cannot be in one collection with the client documents"
            raise WriteFailed(self._target.name, problem)

    def _restrict_index(self) -> None:
        if not {CLIENT_DOCUMENTS_ONLY.name, EVERY_DOCUMENT.name} <= set(self._index_names()):
            self.prepare_carry()
        name = client_index_name(self._target)
        if name is not None:
            drop_index(self._target, name)

    def remove_carried(self, bookings: Iterable[bytes], *, keeps_indexes: bool = False) -> None:
        """Undo `carry` of these bookings, however far it came; documents that others put there stay.

        With ``keeps_indexes`` the indexes stay for the next attempt.
        """
        # The index that `carry` begins with shows whether it began.
        if CLIENT_DOCUMENTS_ONLY.name not in self._index_names():
            return
        remaining = iter(bookings)
        while some := list(islice(remaining, _DOCUMENTS_PER_WRITE)):
            delete_versions(self._target, some)
        if keeps_indexes:
            return
        drop_indexes(self._target, [EVERY_DOCUMENT.name])
        ensure_client_index(self._target)
        drop_index(self._target, CLIENT_DOCUMENTS_ONLY.name)

    def _index_names(self) -> Collection[str]:
        return read(self._target, self._target.index_information)

    def swap(self, seconds: float) -> None:
        """Replace the source by the target in one atomic rename.

        Before that it gets the source's images for change streams, and that is read again.

        Args:
            seconds: how long every reader of the source may wait, while others hold it.

        Raises:
            FenceBlocked: they have held it for longer. Whether it happened is to be asked.
        """
        self.take_over_images()
        rename_over(self._target, self._source, seconds)

    def take_over_images(self) -> None:
        """Set the source's images for change streams on the target, before it takes the source's name."""
        wanted = options_of(self._source).get(IMAGES, {"enabled": False})
        if wanted == self._images():
            return
        write(
            self._target,
            lambda: run_durably(self._target.database, {"collMod": self._target.name, IMAGES: wanted}),
        )
        if wanted != self._images():
            raise WriteFailed(self._target.name, f"it did not take over {IMAGES} of {self._source.name}")

    def _images(self) -> Mapping[str, Any]:
        images: Mapping[str, Any] = options_of(self._target).get(IMAGES, {"enabled": False})
        return images

    def options(self, settings: str) -> Sequence[OptionNote]:
        """Return which of the old collection's options are kept, according to the options that the server lists for the live one."""
        old, live = unguarded(json_util.loads(settings)["options"]), unguarded(options_of(self._source))
        return [
            replace(note, reason="the server has not kept it")
            if note.is_kept
            and comparable(note.name, old.get(note.name)) != comparable(note.name, live.get(note.name))
            else note
            for note in options_after(old, live)
        ]

    def settings_of_both(self) -> str:
        """Return `settings` with the identity of the target, which has to exist: by this, `is_swapped` recognizes it."""
        return self.settings(identity(self._target))

    def settings_now(self, settings: str) -> str:
        """Return the settings of both as they are now; as they were, if the source has a fence, or is another collection."""
        current = self.settings_of_both()
        known, now = json_util.loads(settings), json_util.loads(current)
        return settings if now["uuid"] != known["uuid"] or is_fenced(now["options"]) else current

    def is_swapped(self, settings: str) -> bool:
        """Return whether `swap` was carried out, and a majority has that.

        What has the source's name is not the collection of these settings any more, and is the target if they name it.

        Raises:
            PlaceNotFound: others have dropped or renamed the source.
            NoMajority: no majority acknowledges the swap, so that an election may undo it.
        """
        # A rename takes a collection's UUID along (manual, listCollections).
        known = json_util.loads(settings)
        there = identity(self._source)
        if there == known["uuid"]:
            return False
        if there is None:
            raise absent(self._source)
        # Others may have replaced the source, or restored all of it from a backup, while the target waits for its name.
        if there != known.get(SUCCESSOR, there) and identity(self._target) is not None:
            return False
        write(self._source, lambda: settled(self._source))
        return identity(self._source) == there

    def recreate_indexes(self, settings: str) -> Sequence[IndexNote]:
        """Create on the live collection those of the old one's indexes that are useful for client documents."""
        # One that the server refuses is left out and named: data comes first.
        found = [(index, self._successor(index)) for index in json_util.loads(settings)["indexes"]]
        notes = []
        # Those that stay as they are come first: one that moves might take the name of one of them.
        for index, successor in sorted(found, key=lambda each: not each[1].is_unchanged):
            keys = written(tuple(dict(index["key"]).items()))
            reason = successor.reason or self._create(index, successor)
            if keys != "_id 1":
                notes.append(
                    IndexNote(index["name"], keys, None if reason else written(successor.keys), reason)
                )
        return notes

    def _successor(self, index: Mapping[str, Any]) -> Successor:
        """Return the index that succeeds one of the old collection; one that the live collection has already stays as it is."""
        successor = successor_of(index)
        is_own = set(index["key"]) in ({"_id"}, {"clientId"})
        if not is_own and any(is_same_index(index, each) for each in indexes_of(self._source)):
            return Successor(tuple(dict(index["key"]).items()), is_unchanged=True)
        return successor

    def _create(self, index: Mapping[str, Any], successor: Successor) -> str | None:
        """Create an index on the live collection; return the reason if the server refuses it."""
        keys = successor.keys
        if successor.is_unchanged:
            if any(is_same_index(index, each) for each in indexes_of(self._source)):
                return None
            return create_index(self._source, keys, options_of_index(index))
        options = {name: index[name] for name in ("sparse", "collation") if name in index}
        if dict(keys) in ({"clientId": 1}, {"clientId": -1}):
            options["name"] = f"{index['name']}_{index['collation']['locale']}"
        return create_index(self._source, keys, options)

    def carry_validation(self, settings: str) -> None:
        """Set the old validator on the live collection, if it is for client documents and the new one has none."""
        own = unguarded(json_util.loads(settings)["options"])
        if own.get("validator") and is_for_client_documents(own["validator"]):
            set_own_validation(self._source, validation_of(own))


_EXAMPLES = 5


def find_old_bookings(
    collection: DriverCollection, carried: Callable[[], Iterable[bytes]], *, seconds: float | None
) -> OldBookings | None:
    """Return the old bookings in a live collection; None if finding them takes longer than allowed.

    Args:
        collection: the live collection, which is read once by the server.
        carried: returns the old bookings that a cut-over has carried along.
        seconds: how long the server may take; None: as long as it needs.
    """
    limit = None if seconds is None else round(seconds * 1000)

    def old_ids() -> list[Any]:
        fields = {"_id": 1}
        cursor = collection.find_raw_batches(OLD_SHAPE, fields, collation=SIMPLE, max_time_ms=limit)
        return [id_of(raw) for raw in documents_in(cursor)]

    with reading(collection):
        try:
            found = old_ids() if seconds is not None else with_retry(old_ids)
        except ExecutionTimeout:
            return None
    if not found:
        return OldBookings()
    known = {sort_key(id_of(raw)) for raw in carried()}
    later = [each for each in found if sort_key(each) not in known]
    along = [each for each in found if sort_key(each) in known]
    return OldBookings(len(along), len(later), tuple(along[:_EXAMPLES]), tuple(later[:_EXAMPLES]))

"""Source, target and the kept copy of a cut-over, in one database of a server."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from bson import json_util
from pymongo import DeleteOne
from pymongo.errors import OperationFailure
from typing_extensions import override

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id
from booking_migrate.errors import WriteFailed
from booking_migrate.stores.cutover import (
    IMAGES,
    IndexNote,
    LiveCollections,
    OptionNote,
    comparable,
    options_after,
)
from booking_migrate.stores.destination import FENCE_FIELD, examine, refuse_unfit
from booking_migrate.stores.mongo.administration import (
    NO_VALIDATION,
    has_same_hash,
    identity,
    rename,
    run_durably,
    validate,
    validation_of,
)
from booking_migrate.stores.mongo.client_index import client_index_name, drop_index, ensure_client_index
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import (
    reading,
    server_text,
    writing,
)
from booking_migrate.stores.mongo.inspection import MongoDestination, find_ends
from booking_migrate.stores.mongo.majority import await_majority, build_index
from booking_migrate.stores.mongo.raw import SIMPLE, any_of, insert_absent, same_version
from booking_migrate.stores.mongo.retry import attempts, settled, with_retry
from booking_migrate.stores.mongo.scan import find_documents
from booking_migrate.stores.mongo.successor_indexes import successor_of, written

_FENCE: Mapping[str, Any] = {FENCE_FIELD: {"$eq": "writes are refused during a cut-over"}}
"""A validator that no booking meets, and that is recognized among all others."""

_CLIENT_DOCUMENTS_ONLY = "clientId_1_sessions"
_EVERY_DOCUMENT = "clientId_1_every"
_AT_ONCE = 1000
_SAMPLE = 100
"""How many of the first and of the last client documents conditions are tried out with."""


class MongoLive(LiveCollections):
    """See `LiveCollections` for the promises."""

    def __init__(self, source: DriverCollection, target: DriverCollection) -> None:
        self._source = source
        self._target = target
        self._database = source.database

    @override
    def unfit(self) -> str | None:
        listed = describe(self._source)
        if listed is None:
            return "it does not exist"
        if listed["type"] != "collection":
            return f"it is a {listed['type']}"
        if self._is_fenced():
            return "another cut-over of it is running, or was interrupted"
        options = listed.get("options", {})
        if "encryptedFields" in options:
            return "it is a collection of Queryable Encryption"
        if options.get("capped"):
            return "it is a capped collection"
        refuse_unfit(
            self._target.name,
            examine(MongoDestination(self._target), find_ends(self._target, _SAMPLE), in_place=False),
        )
        return None

    @override
    def settings(self) -> str:
        options = (describe(self._source) or {}).get("options", {})
        with reading(self._source):
            indexes = with_retry(lambda: list(self._source.list_indexes()))
        kept = {"uuid": identity(self._source), "options": options, "indexes": indexes}
        return json_util.dumps(kept, json_options=json_util.CANONICAL_JSON_OPTIONS)

    @override
    def raise_fence(self) -> None:
        # Without a majority, writes would be refused for as long as it is waited for.
        await_majority(self._source)
        validate(self._source, {**NO_VALIDATION, "validator": _FENCE})
        with writing(self._source):
            for attempt in attempts():
                with attempt:
                    settled(self._source)

    @override
    def lift_fence(self, settings: str) -> None:
        if not self._is_fenced():
            return
        kept = validation_of(json_util.loads(settings)["options"])
        validate(self._source, {**NO_VALIDATION, **kept})

    @override
    def refuses_writes(self, settings: str) -> bool:
        del settings
        return self._is_fenced()

    def _is_fenced(self) -> bool:
        options = (describe(self._source) or {}).get("options", {})
        return _is_fence(options.get("validator"))

    @override
    def copy(self, legacy: str) -> None:
        # The server writes beside it and renames at the end (manual, $out).
        with writing(self._source):
            for attempt in attempts():
                with attempt:
                    self._source.aggregate([{"$out": legacy}]).close()
        if describe(self._database[legacy]) is None:
            # An empty source leaves nothing behind.
            with writing(self._source):
                self._database.create_collection(legacy)

    @override
    def is_same(self, legacy: str) -> bool:
        if not self.has_same_count(legacy):
            return False
        return has_same_hash(self._source, legacy)

    @override
    def count(self) -> int:
        with reading(self._source):
            return with_retry(self._source.estimated_document_count)

    @override
    def has_same_count(self, legacy: str) -> bool:
        # The counts that the server has at hand waver while it refuses a delete, which it takes back; so they
        # are believed only when they agree, and counted otherwise.
        kept = self._database[legacy]
        with reading(self._source):
            if self.count() == with_retry(kept.estimated_document_count):
                return True
            return with_retry(lambda: self._source.count_documents({}) == kept.count_documents({}))

    @override
    def drop(self, legacy: str) -> None:
        with writing(self._source):
            for attempt in attempts():
                with attempt:
                    self._database.drop_collection(legacy)

    @override
    def carry(self, bookings: Iterable[bytes]) -> int:
        # At every moment one of the two indexes is there.
        remaining = iter(bookings)
        carried = 0
        while some := list(islice(remaining, _AT_ONCE)):
            if not carried:
                self._restrict_index()
            # Sent again after a lost answer, a booking finds itself there; another one in its place is found below.
            insert_absent(self._target, some)
            self._prove_carried(some)
            carried += len(some)
        return carried

    def _prove_carried(self, bookings: Sequence[bytes]) -> None:
        """Read carried documents again: one that found another document in its place was left out by the insert."""
        ids = [value_in(raw, b"_id") for raw in bookings]
        with reading(self._target):
            there = set(find_documents(self._target, any_of("_id", ids)))
        lost = next((raw for raw in bookings if raw not in there), None)
        if lost is not None:
            problem = f"rejected document {display_id(value_in(lost, b'_id'))} cannot stand beside the client documents"
            raise WriteFailed(self._target.name, problem)

    def _restrict_index(self) -> None:
        with writing(self._target):
            with_retry(
                lambda: build_index(
                    self._target,
                    [("clientId", 1)],
                    unique=True,
                    collation=SIMPLE,
                    name=_CLIENT_DOCUMENTS_ONLY,
                    partialFilterExpression={"sessions": {"$type": "array"}},
                )
            )
        name = client_index_name(self._target)
        with writing(self._target):
            if name is not None:
                with_retry(lambda: drop_index(self._target, name))
            # A query for a client's documents cannot use an index that leaves some of them out.
            with_retry(
                lambda: build_index(self._target, [("clientId", 1)], name=_EVERY_DOCUMENT, collation=SIMPLE)
            )

    @override
    def take_back_carried(self, bookings: Iterable[bytes]) -> None:
        # The index that `carry` begins with shows whether it began.
        with reading(self._target):
            if _CLIENT_DOCUMENTS_ONLY not in with_retry(self._target.index_information):
                return
        remaining = iter(bookings)
        while some := list(islice(remaining, _AT_ONCE)):
            operations = [DeleteOne(same_version(raw), collation=SIMPLE) for raw in some]
            with writing(self._target):
                for attempt in attempts():
                    with attempt:
                        self._target.bulk_write(operations, ordered=False)
        with writing(self._target):
            if _EVERY_DOCUMENT in with_retry(self._target.index_information):
                with_retry(lambda: drop_index(self._target, _EVERY_DOCUMENT))
        ensure_client_index(self._target)
        with writing(self._target):
            with_retry(lambda: drop_index(self._target, _CLIENT_DOCUMENTS_ONLY))

    @override
    def swap(self) -> None:
        # After a lost answer, whether it happened is asked first.
        self._take_over_images()
        rename(self._target, self._source)

    def _take_over_images(self) -> None:
        wanted = (describe(self._source) or {}).get("options", {}).get(IMAGES, {"enabled": False})
        if wanted == self._images():
            return
        with writing(self._target):
            for attempt in attempts():
                with attempt:
                    run_durably(self._target.database, {"collMod": self._target.name, IMAGES: wanted})
        if wanted != self._images():
            raise WriteFailed(self._target.name, f"it did not take over {IMAGES} of {self._source.name}")

    def _images(self) -> Mapping[str, Any]:
        options = (describe(self._target) or {}).get("options", {})
        images: Mapping[str, Any] = options.get(IMAGES, {"enabled": False})
        return images

    @override
    def options(self, settings: str) -> Sequence[OptionNote]:
        old = json_util.loads(settings)["options"]
        live = (describe(self._source) or {}).get("options", {})
        return [
            replace(note, reason="the server has not kept it")
            if note.is_kept
            and comparable(note.name, old.get(note.name)) != comparable(note.name, live.get(note.name))
            else note
            for note in options_after(old, live)
        ]

    @override
    def is_swapped(self, settings: str) -> bool:
        # A rename takes a collection's UUID along (manual, listCollections).
        before: str | None = json_util.loads(settings)["uuid"]
        return identity(self._source) != before

    @override
    def recreate_indexes(self, settings: str) -> Sequence[IndexNote]:
        # One that the server refuses is left out and named: data comes first.
        notes = []
        for index in json_util.loads(settings)["indexes"]:
            successor = successor_of(index)
            keys = written(tuple(dict(index["key"]).items()))
            reason = successor.reason or self._create(index, successor.keys)
            if keys != "_id 1":
                notes.append(
                    IndexNote(index["name"], keys, None if reason else written(successor.keys), reason)
                )
        return notes

    def _create(self, index: Mapping[str, Any], keys: Sequence[tuple[str, Any]]) -> str | None:
        """Create an index on the live collection; return the reason if the server refuses it."""
        # Without a collation of its own an index would get the collection's.
        options = {
            "collation": SIMPLE,
            **{name: index[name] for name in ("sparse", "collation") if name in index},
        }
        if dict(keys) in ({"clientId": 1}, {"clientId": -1}):
            options["name"] = f"{index['name']}_{index['collation']['locale']}"
        with writing(self._source):
            try:
                for attempt in attempts():
                    with attempt:
                        build_index(self._source, list(keys), **options)
            except OperationFailure as error:
                return server_text(error)
        return None


def _is_fence(validator: Any) -> bool:
    return isinstance(validator, Mapping) and FENCE_FIELD in validator

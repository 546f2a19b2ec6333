"""Writing new ids into documents that hold references: each document is changed if its references still are what was read.

One command has some thousand updates. None of them is retried by the driver: what was written is found to be so when it is
sent again.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from booking_migrate.bson.document import (
    DOCUMENT,
    Element,
    Opaque,
    element_of,
    identity_of,
    value_in,
    wrap,
)
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.errors import DuplicateKeys, ReferencesRefused, UniqueIndexViolated, ValidationFailed
from booking_migrate.stores.chunks import by_size
from booking_migrate.stores.mongo.administration import run_durably
from booking_migrate.stores.mongo.codes import (
    DUPLICATE_KEY,
    INVALID_DOCUMENT,
    NO_TRANSACTIONS,
    OF_ONE_DOCUMENT,
    PASSING,
    PATH_NOT_VIABLE,
)
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import read, without_content, write
from booking_migrate.stores.mongo.raw import any_of, as_driver_document, find_raw, insert_absent
from booking_migrate.stores.mongo.refusals import refused_documents
from booking_migrate.stores.mongo.retry import in_transaction, with_retry
from booking_migrate.stores.mongo.sessions import Sessions
from booking_migrate.stores.reference_journal import ABSENT, FieldChange, Move, Update

_MOST_OPERATIONS = 10_000
_MOST_BYTES = 8 * 1024 * 1024
_OVERHEAD = 300
"""About how many bytes an operation has beside long values."""

_IN_TRANSACTION = 500
_SIMPLE = {"locale": "simple"}
_BY_ID = {"_id": 1}


class RefusedDocument(NamedTuple):
    """A document that the server does not take as it would be; it is unchanged."""

    position: int
    """Among those that were sent."""

    why: str
    """What refuses it, with the server's facts."""


class UpdatesDone(NamedTuple):
    """The result of updates."""

    is_all: bool
    """Whether all documents still were what was read, and were changed."""

    refused: Sequence[RefusedDocument]
    time: Timestamp | None
    """A cluster time at which everything was written; None: the server has none."""


class MovesDone(NamedTuple):
    """Documents that did not get another `_id`, by position."""

    changed: Sequence[int]
    """They have changed since they were read, or are gone."""

    taken: Sequence[int]
    """Another document has their new `_id`."""

    refused: Sequence[RefusedDocument] = ()


class MongoReferringWrites:
    """The writing side of a collection with references. Everything is durable (majority) when a method returns."""

    def __init__(self, collection: DriverCollection, sessions: Sessions | None = None) -> None:
        self.name: Final = collection.name
        self._collection = collection
        self._sessions = sessions or Sessions(collection)
        self._has_transactions: bool | None = None

    def find(self, ids: Sequence[Any]) -> Mapping[bytes, bytes]:
        """Return the documents of these decoded `_id` values, whole, by the BSON of their ``{_id}``."""
        if not ids:
            return {}
        found = read(self._collection, lambda: list(find_raw(self._collection, any_of("_id", ids))))
        return {identity_of(raw): raw for raw in found}

    def find_in_parts(self, ids: Sequence[Any]) -> Iterator[list[bytes]]:
        """Yield the same documents some megabytes at a time, since nothing is known of their size."""
        left = {sort_key(each): each for each in ids}
        while left:
            asked = any_of("_id", list(left.values()))
            found = read(
                self._collection,
                lambda: list(find_raw(self._collection, asked, most_bytes=_MOST_BYTES)),  # noqa: B023 - called at once
            )
            yield found
            if sum(map(len, found)) < _MOST_BYTES:
                return
            for raw in found:
                left.pop(sort_key(value_in(raw, b"_id")), None)

    def write(self, updates: Sequence[Update]) -> UpdatesDone:
        """Change documents that still have what was read.

        Raises:
            ReferencesRefused: the server refuses one of them for a cause that may concern all.
        """
        is_all, time, sent = True, None, 0
        refused: list[RefusedDocument] = []
        for group in by_size(updates, _size, _MOST_BYTES, _MOST_OPERATIONS):
            command = {"update": self.name, "updates": list(map(_operation, group)), "ordered": False}
            with self._sessions.one() as session:
                sent_once = partial(run_durably, self._collection.database, command, session)
                answer = write(self._collection, sent_once)
            for problem in answer.get("writeErrors", ()):
                code, at = problem["code"], problem["index"]
                if code in PASSING or _is_elsewhere(code, group[at]):
                    continue
                if code not in OF_ONE_DOCUMENT:
                    named = display_id(value_in(group[at].identity, b"_id"))
                    raise ReferencesRefused(self.name, named, self._why(problem))
                refused.append(RefusedDocument(sent + at, self._why(problem)))
            sent += len(group)
            is_all = is_all and answer["n"] == len(group)
            time = answer.get("operationTime")
        return UpdatesDone(is_all, refused, time)

    def _why(self, problem: Mapping[str, Any]) -> str:
        if problem["code"] in (DUPLICATE_KEY, INVALID_DOCUMENT):
            return refused_documents(self.name, [problem]).message
        return without_content(str(problem.get("errmsg", "")), f"code {problem['code']}")

    def refusal(self, documents: Sequence[bytes]) -> ReferencesRefused | None:
        """Return the error of a validator that takes none of some documents as they would be; None if it takes one of them.

        Nothing is written. Servers before 5.1 are not asked.
        """
        if not self.refuses(documents):
            return None
        problem = "its validator refuses such documents"
        return ReferencesRefused(self.name, display_id(value_in(documents[0], b"_id")), problem)

    def refuses(self, documents: Sequence[bytes]) -> bool | None:
        """Return whether the collection's validator takes none of some documents; None: the server cannot say. Nothing is written."""
        options = (describe(self._collection) or {}).get("options", {})
        validator = options.get("validator")
        if (
            not validator
            or options.get("validationAction") == "warn"
            or options.get("validationLevel") == "off"
        ):
            return False
        stages: list[Mapping[str, Any]] = [
            {"$documents": [as_driver_document(each) for each in documents]},
            {"$match": validator},
            {"$limit": 1},
            {"$project": {"_id": 1}},
        ]
        try:
            return not with_retry(lambda: list(self._collection.database.aggregate(stages)))
        except OperationFailure:
            return None

    def move(self, moves: Sequence[Move]) -> MovesDone:
        """Insert documents with their new `_id` and delete the old ones, each if it still is what was read.

        Both is one transaction where the server has any; otherwise the new document is there before the old one is deleted,
        and the same call completes what a kill has left.
        """
        changed: list[int] = []
        taken: list[int] = []
        refused: list[RefusedDocument] = []
        left = [(at, moves[at : at + _IN_TRANSACTION]) for at in range(0, len(moves), _IN_TRANSACTION)]
        while left:
            start, group = left.pop()
            try:
                done = self._move(group)
            except (ValidationFailed, DuplicateKeys, UniqueIndexViolated) as error:
                if len(group) == 1:
                    refused.append(RefusedDocument(start, error.message))
                else:
                    # Which of them it is, is found by halves.
                    half = len(group) // 2
                    left += [(start, group[:half]), (start + half, group[half:])]
                continue
            changed += [start + each for each in done.changed]
            taken += [start + each for each in done.taken]
        return MovesDone(changed, taken, refused)

    def _move(self, moves: Sequence[Move]) -> MovesDone:
        if self._has_transactions is not False:
            try:
                done = write(self._collection, lambda: self._in_transaction(moves))
            except _WithoutTransactions:
                self._has_transactions = False
            else:
                self._has_transactions = True
                return done
        return self._step_by_step(moves)

    def _in_transaction(self, moves: Sequence[Move]) -> MovesDone:
        with self._sessions.one() as session:
            try:
                return in_transaction(session, lambda inside: self._moved(moves, inside))
            except OperationFailure as error:
                if error.code in NO_TRANSACTIONS:
                    raise _WithoutTransactions from None
                raise

    def _moved(self, moves: Sequence[Move], session: ClientSession | None) -> MovesDone:
        now = self._now(moves, session)
        changed, taken, good = _sorted_out(moves, now)
        if good:
            self._collection.insert_many(
                [as_driver_document(each.after) for each in good], ordered=True, session=session
            )
            gone = self._collection.delete_many(
                any_of("_id", [value_in(each.before, b"_id") for each in good]), session=session
            )
            if gone.deleted_count != len(good):
                raise RuntimeError("a transaction deleted other documents than it had read")
        return MovesDone(changed, taken)

    def _now(self, moves: Sequence[Move], session: ClientSession | None = None) -> Mapping[bytes, bytes]:
        ids = [value_in(raw, b"_id") for each in moves for raw in each]
        found = find_raw(self._collection, any_of("_id", ids), session=session)
        return {identity_of(raw): raw for raw in found}

    def _step_by_step(self, moves: Sequence[Move]) -> MovesDone:
        now = read(self._collection, lambda: self._now(moves))
        changed, taken, good = _sorted_out(moves, now)
        with self._sessions.one() as session:
            insert_absent(self._collection, [each.after for each in good], session=session)
        # What an earlier call has inserted is there already, and its old document is not.
        twice = [
            moves[each] for each in taken if now.get(identity_of(moves[each].after)) == moves[each].after
        ]
        taken = [each for each in taken if moves[each] not in twice]
        for each in (*good, *twice):
            whole = _is_whole(each.before)
            named = any_of("_id", [value_in(each.before, b"_id")])
            with self._sessions.one() as session:
                delete = partial(self._collection.delete_one, {"$and": [named, whole]}, session=session)
                write(self._collection, delete)
        return MovesDone(changed, taken)


def _is_elsewhere(code: int, update: Update) -> bool:
    """Return whether an array is now on the path to a value: the condition looks into it, but a change does not."""
    return code == PATH_NOT_VIABLE and update.whole is None


class _WithoutTransactions(Exception):
    """The server has no transactions."""


def _sorted_out(moves: Sequence[Move], now: Mapping[bytes, bytes]) -> tuple[list[int], list[int], list[Move]]:
    """Return the positions of the changed and of the taken ones, and those that are to be moved."""
    changed, taken, good = [], [], []
    for position, each in enumerate(moves):
        old, new = (now.get(identity_of(raw)) for raw in each)
        if old is None and new == each.after:
            # An earlier attempt has done it, and its answer was lost.
            continue
        if old != each.before:
            changed.append(position)
        elif new is not None:
            taken.append(position)
        else:
            good.append(each)
    return changed, taken, good


def _size(update: Update) -> int:
    size = _OVERHEAD * len(update.changes)
    for value in (value for change in update.changes for value in (change.before, change.after)):
        if type(value) is str:
            size += len(value) * 3
        elif type(value) is not ObjectId:
            size += len(element_of("", value).value) if value is not ABSENT else 0
    return size


def _operation(update: Update) -> Mapping[str, Any]:
    """Return one update as the server's command has it (manual, reference/command/update)."""
    document_id = value_in(update.identity, b"_id")
    if update.guard or update.whole is not None or _has_odd_values(document_id, update.changes):
        return _thorough_operation(document_id, update)
    asked: dict[str, Any] = {"_id": document_id}
    set_, unset = {}, {}
    for _field, path, before, after in update.changes:
        # A path leads into arrays too: a value there may be an array that contains the old one, and must stay.
        if before is ABSENT:
            asked[path] = {"$exists": False}
        elif type(before) is list:
            asked[path] = {"$eq": before}
        else:
            asked[path] = {"$eq": before, "$not": {"$type": 4}}
        if after is ABSENT:
            unset[path] = ""
        else:
            set_[path] = after
    change = {operator: values for operator, values in (("$set", set_), ("$unset", unset)) if values}
    return {"q": asked, "u": change, "collation": _SIMPLE, **_hint(document_id)}


def _hint(document_id: Any) -> Mapping[str, Any]:
    # The index on `_id` has texts in the order of the collection's collation, which an update by bytes cannot use.
    return {} if isinstance(document_id, str) else {"hint": _BY_ID}


def _has_odd_values(document_id: Any, changes: Sequence[FieldChange]) -> bool:
    values = [document_id, *(value for each in changes for value in (each.before, each.after))]
    return any(type(value) in (Opaque, dict) for value in values)


def _thorough_operation(document_id: Any, update: Update) -> Mapping[str, Any]:
    """Return an update with values that the driver cannot hold unchanged, or with further conditions."""
    asked: list[Any] = [any_of("_id", [document_id])]
    for each in update.changes:
        if each.before is ABSENT:
            asked.append(_field(each.path, element_of("$exists", value=False)))
        else:
            asked.append(_field(each.path, element_of("$eq", each.before)))
            if type(each.before) is not list:
                no_array = wrap([element_of("$type", 4)])
                asked.append(_field(each.path, Element(DOCUMENT, b"$not", no_array)))
    asked += [any_of(path, list(values)) for path, values in update.guard]
    if update.whole is not None:
        asked[1:] = [_is_whole(update.whole)]
    set_ = [element_of(each.path, each.after) for each in update.changes if each.after is not ABSENT]
    unset = [element_of(each.path, "") for each in update.changes if each.after is ABSENT]
    parts = {"$set": set_, "$unset": unset}
    change = {name: as_driver_document(wrap(values)) for name, values in parts.items() if values}
    return {"q": {"$and": asked}, "u": change, "collation": _SIMPLE, **_hint(document_id)}


def _field(path: str, condition: Element) -> RawBSONDocument:
    return as_driver_document(wrap([Element(DOCUMENT, path.encode(), wrap([condition]))]))


def _is_whole(raw: bytes) -> Mapping[str, Any]:
    """Return the condition that a document still is what was read."""
    return {"$expr": {"$eq": ["$$ROOT", {"$literal": as_driver_document(raw)}]}}

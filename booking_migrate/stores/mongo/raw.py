"""Documents in and out of a collection as raw BSON; queries too, so that each value is asked for in its own type."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, ReplaceOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collation import Collation
from pymongo.errors import BulkWriteError

from booking_migrate.bson.document import CODEC, Element, element_of, elements, value_in, wrap, wrap_bytes
from booking_migrate.stores.chunks import split
from booking_migrate.stores.mongo.codes import DUPLICATE_KEY
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import read, write, writing
from booking_migrate.stores.mongo.refusals import is_on
from booking_migrate.stores.mongo.retry import is_transient, with_retry

SIMPLE = Collation("simple")
"""MongoDB's binary comparison, whatever the collection's default is."""

NATURAL = [("$natural", 1)]
"""The hint for a plain scan of a collection, whatever indexes it has."""

_ARRAY, _DOCUMENT, _UNDEFINED, _REGEX = 0x04, 0x03, 0x06, 0x0B
_NOT_LISTED = frozenset({_ARRAY, _DOCUMENT, _UNDEFINED, _REGEX})
"""The BSON types that ``$in`` refuses or does not compare by equality."""

_NOTHING_OF_IT = {"_id": 0, "booking_migrate": 1}
"""A projection of which nothing is left; the server takes one on no field at all for the whole document."""

_BATCH_SIZE = 1000
_LARGE = 12 * 1024 * 1024
"""Above this size in bytes a document does not fit into a query beside its conditions."""
RAW_OPTIONS = CODEC.with_options(
    document_class=RawBSONDocument, unicode_decode_error_handler="surrogateescape"
)


class _Undecoded(RawBSONDocument):
    """A document with fields: the driver asks whether a replacement is empty, which would decode all of it."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


def as_driver_document(raw: bytes) -> RawBSONDocument:
    """Return a document that the driver sends unchanged, without decoding it."""
    return _Undecoded(raw, RAW_OPTIONS)


def replacing(
    condition: Mapping[str, Any], raw: bytes, *, upsert: bool = False
) -> ReplaceOne[Any] | UpdateOne:
    """Return the operation that puts a document in the place of the one that meets a condition, compared by bytes."""
    document = as_driver_document(raw)
    if b"$" in raw and any(element.name.startswith(b"$") for element in elements(raw)):
        # An insert takes such a name, a replacement does not (manual, core/dot-dollar-considerations).
        whole = [{"$replaceWith": {"$literal": document}}]
        return UpdateOne(condition, whole, upsert=upsert, collation=SIMPLE)
    return ReplaceOne(condition, document, upsert=upsert, collation=SIMPLE)


def find_raw(
    collection: DriverCollection,
    condition: Mapping[str, Any],
    *,
    fields: Mapping[str, Any] | None = None,
    by_id: bool = False,
    at_once: int = _BATCH_SIZE,
    session: ClientSession | None = None,
    most_bytes: int | None = None,
) -> Iterator[bytes]:
    """Yield the documents of a collection that meet a condition, as raw BSON; any trouble ends it.

    Args:
        collection: where to look.
        condition: a query.
        fields: a projection that cuts the documents down; None: they come whole.
        by_id: in the order of `_id`.
        at_once: how many documents the server is asked for at a time.
        session: the snapshot or transaction to read in, if any.
        most_bytes: after how many bytes no further reply of the server is read; None: all are.
    """
    cursor = collection.find_raw_batches(
        condition,
        projection=fields,
        sort=[("_id", 1)] if by_id else None,
        collation=SIMPLE,
        batch_size=at_once,
        session=session,
    )
    yield from documents_in(cursor, most_bytes)


def documents_in(cursor: Any, most_bytes: int | None = None) -> Iterator[bytes]:
    """Yield the documents that a cursor of raw batches finds, up to the end of the batch in which they exceed a size; any trouble ends it."""
    size = 0
    with cursor:
        # The driver's annotation says document; what comes is the bytes of a whole batch.
        for batch in cast("Iterable[bytes]", cursor):
            yield from split(batch).documents()
            size += len(batch)
            if most_bytes is not None and size >= most_bytes:
                return


def find_all(collection: DriverCollection, condition: Mapping[str, Any]) -> list[bytes]:
    """Return the documents of a collection that meet a condition, as raw BSON."""
    return read(collection, lambda: list(find_raw(collection, condition)))


def insert_absent(
    collection: DriverCollection,
    documents: Sequence[bytes],
    *,
    bypasses: bool = False,
    session: ClientSession | None = None,
) -> bool:
    """Insert documents; those whose `_id` is there already are left out, whatever their content.

    Args:
        collection: where to.
        documents: the documents.
        bypasses: whether the collection's validator is bypassed, which takes a privilege of its own.
        session: in which they are inserted; None: in any.

    Returns:
        Whether the server has refused none of them. If not, the caller has to look what is there, if that matters.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed, DuplicateKeys: the server refuses one of them for another cause.
    """
    if not documents:
        return True
    with writing(collection):
        try:
            with_retry(
                lambda: collection.insert_many(
                    map(as_driver_document, documents),
                    ordered=False,
                    bypass_document_validation=bypasses or None,
                    session=session,
                )
            )
        except BulkWriteError as error:
            problems = error.details["writeErrors"]
            is_id_there = all(each["code"] == DUPLICATE_KEY and is_on(each, "_id") for each in problems)
            if is_transient(error) or not is_id_there or error.details["writeConcernErrors"]:
                raise
            return False
    return True


def stores_any(collection: DriverCollection) -> bool:
    """Return whether a collection has a document. Nothing of it is decoded; any trouble ends it."""
    return collection.find_one({}, _NOTHING_OF_IT) is not None


def id_of(raw: bytes) -> Any:
    """Return a document's `_id`, decoded."""
    return value_in(raw, b"_id")


def any_of(field: str, values: Sequence[Any]) -> RawBSONDocument:
    """Return the query for documents whose field equals one of these values, which may be `Opaque`.

    No value is ever read as an operator or a pattern, whatever it is: it may come from the data.
    """
    if values and all(type(value) is ObjectId for value in values):
        return _query([(field, Element(_ARRAY, b"$in", _object_ids(values)))])
    asked = [element_of("", value) for value in values]
    listed = [element for element in asked if element.kind not in _NOT_LISTED]
    array = wrap([element._replace(name=str(index).encode()) for index, element in enumerate(listed)])
    conditions = [(field, Element(_ARRAY, b"$in", array))] if listed or not asked else []
    conditions += [(field, _equal_to(element)) for element in asked if element.kind in _NOT_LISTED]
    if len(conditions) == 1:
        return _query(conditions)
    either = [
        Element(_DOCUMENT, str(index).encode(), _conditions([condition]))
        for index, condition in enumerate(conditions)
    ]
    return as_driver_document(wrap([Element(_ARRAY, b"$or", wrap(either))]))


def _object_ids(values: Sequence[ObjectId]) -> bytes:
    """Return an array of ObjectIds, BSON; most ids are such, and very many are asked for."""
    body = b"".join([b"\x07%d\x00%b" % (index, value.binary) for index, value in enumerate(values)])
    return wrap_bytes(body)


def _equal_to(element: Element) -> Element:
    """Return the condition that a field equals a value. Of undefined values, which the server does not compare, all are equal."""
    if element.kind == _UNDEFINED:
        return element_of("$type", _UNDEFINED)
    return element._replace(name=b"$eq")


def not_before(field: str, value: Element) -> RawBSONDocument:
    """Return the query for documents whose field is not less than a value; those of another type come too."""
    less = wrap([value._replace(name=b"$lt")])
    return _query([(field, Element(_DOCUMENT, b"$not", less))])


def after(field: str, raw: bytes) -> RawBSONDocument:
    """Return the query for documents whose field is greater than this document's, and of its type."""
    value = next(element for element in elements(raw) if element.name == field.encode())
    return _query([(field, value._replace(name=b"$gt"))])


def same_version(before: bytes) -> RawBSONDocument:
    """Return the query for a client document that still is this version: its `_id`, `sessions` and `updatedAt`."""
    fields = {element.name: element for element in elements(before)}
    return _query(
        [(name, _unchanged(fields.get(name.encode()))) for name in ("_id", "sessions", "updatedAt")]
    )


def same_version_within_limits(before: bytes) -> RawBSONDocument:
    """Return the query for a client document that still is this version, which is itself a document of limited size."""
    return same_version(before) if len(before) < _LARGE else same_version_roughly(before)


def same_version_roughly(before: bytes) -> RawBSONDocument:
    """Return the query of `same_version` for a document too large for one: only the number of its sessions is compared."""
    fields = {element.name: element for element in elements(before)}
    count = sum(1 for _session in elements(fields[b"sessions"].value))
    return _query(
        [
            ("_id", _unchanged(fields[b"_id"])),
            ("sessions", element_of("$size", count)),
            ("updatedAt", _unchanged(fields.get(b"updatedAt"))),
        ]
    )


def delete_versions(
    collection: DriverCollection,
    documents: Sequence[bytes],
    unchanged: Callable[[bytes], RawBSONDocument] = same_version,
) -> None:
    """Delete documents that still are these versions; others stay.

    Args:
        collection: where they are.
        documents: as they were read.
        unchanged: the query for a document that still is a version.
    """
    operations = [DeleteOne(unchanged(raw), collation=SIMPLE) for raw in documents]
    write(collection, lambda: collection.bulk_write(operations, ordered=False))


def _unchanged(element: Element | None) -> Element:
    return element_of("$exists", value=False) if element is None else _equal_to(element)


def _query(conditions: Sequence[tuple[str, Element]]) -> RawBSONDocument:
    return as_driver_document(_conditions(conditions))


def _conditions(conditions: Sequence[tuple[str, Element]]) -> bytes:
    return wrap([Element(_DOCUMENT, name.encode(), wrap([condition])) for name, condition in conditions])

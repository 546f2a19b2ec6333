"""Documents in and out of a collection as raw BSON; queries too, so that each value is asked for in its own type."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.collation import Collation

from booking_migrate.domain.bson_document import CODEC, Element, element_of, elements, wrap
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.packed import split

SIMPLE = Collation("simple")
"""MongoDB's binary comparison, whatever the collection's default is."""

_ARRAY, _DOCUMENT = 0x04, 0x03
_BATCH_SIZE = 1000
_LARGE = 12 * 1024 * 1024
"""Above this size in bytes a document does not fit into a query beside its conditions."""
_RAW_OPTIONS = CODEC.with_options(document_class=RawBSONDocument)


def as_driver_document(raw: bytes) -> RawBSONDocument:
    """A document that the driver sends as it stands, without decoding it."""
    return RawBSONDocument(raw, _RAW_OPTIONS)


def find_raw(
    collection: DriverCollection,
    condition: Mapping[str, Any],
    *,
    fields: Mapping[str, Any] | None = None,
    by_id: bool = False,
    session: ClientSession | None = None,
) -> Iterator[bytes]:
    """The documents of a collection that meet a condition, as raw BSON; any trouble ends it.

    Args:
        collection: where to look.
        condition: a query.
        fields: a projection that cuts the documents down; None: they come whole.
        by_id: in the order of `_id`.
        session: the snapshot or transaction to read in, if any.
    """
    cursor = collection.find_raw_batches(
        condition,
        projection=fields,
        sort=[("_id", 1)] if by_id else None,
        collation=SIMPLE,
        batch_size=_BATCH_SIZE,
        session=session,
    )
    with cursor:
        # The driver's annotation says document; what comes is the bytes of a whole batch.
        for batch in cast("Iterable[bytes]", cursor):
            yield from split(batch).documents()


def any_of(field: str, values: Sequence[Any]) -> RawBSONDocument:
    """The query for documents whose field equals one of these values, which may be `Opaque`."""
    listed = wrap([element_of(str(index), value) for index, value in enumerate(values)])
    return _query([(field, Element(_ARRAY, b"$in", listed))])


def not_before(field: str, value: Element) -> RawBSONDocument:
    """The query for documents whose field is not less than a value; those of another type come too."""
    less = wrap([value._replace(name=b"$lt")])
    return _query([(field, Element(_DOCUMENT, b"$not", less))])


def after(field: str, raw: bytes) -> RawBSONDocument:
    """The query for documents whose field is greater than this document's, and of its type."""
    value = next(element for element in elements(raw) if element.name == field.encode())
    return _query([(field, value._replace(name=b"$gt"))])


def same_version(before: bytes) -> RawBSONDocument:
    """The query for a client document that still is this version: its `_id`, `sessions` and `updatedAt`."""
    fields = {element.name: element for element in elements(before)}
    return _query(
        [(name, _unchanged(fields.get(name.encode()))) for name in ("_id", "sessions", "updatedAt")]
    )


def same_version_within_limits(before: bytes) -> RawBSONDocument:
    """The query for a client document that still is this version, which is itself a document of limited size."""
    return same_version(before) if len(before) < _LARGE else same_version_roughly(before)


def same_version_roughly(before: bytes) -> RawBSONDocument:
    """As `same_version` for a document too large to be asked for whole: only the number of its sessions is compared."""
    fields = {element.name: element for element in elements(before)}
    count = sum(1 for _session in elements(fields[b"sessions"].value))
    return _query(
        [
            ("_id", _unchanged(fields[b"_id"])),
            ("sessions", element_of("$size", count)),
            ("updatedAt", _unchanged(fields.get(b"updatedAt"))),
        ]
    )


def _unchanged(element: Element | None) -> Element:
    return element_of("$exists", value=False) if element is None else element._replace(name=b"$eq")


def _query(conditions: Sequence[tuple[str, Element]]) -> RawBSONDocument:
    parts = [Element(_DOCUMENT, name.encode(), wrap([condition])) for name, condition in conditions]
    return as_driver_document(wrap(parts))

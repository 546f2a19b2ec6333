"""Notes of the journal as the documents that stand for them, and back.

Moved bookings are many, and all that is noted of one is its `_id`; nearly always that is an ObjectId. Those of a part are in
one value then, twelve bytes each.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote

_PART = 12 * 1024 * 1024
"""How much of an image one document holds, in bytes; it has to fit beside its names."""

_NOTES = 250
"""How many notes one range holds at most: looking one client up reads its whole range."""

_PACKED_NOTES = 10_000
"""The same of bookings whose ids are in one value."""

_KEY = 256
"""How many bytes of a sort key a range keeps. Cut off, two keys still have the same order, or become equal."""

_PACKED = "object_ids"
_IDENTITY_HEAD, _IDENTITY_SIZE = b"\x16\x00\x00\x00\x07_id\x00", 22
"""How the BSON of ``{_id}`` of an ObjectId begins, and its size; the twelve bytes of the ObjectId are before its last one."""

_ID = slice(len(_IDENTITY_HEAD), _IDENTITY_SIZE - 1)


class RangeDropped(LookupError):
    """A range was dropped while it was read; what is still needed of it was noted under another name before."""


class WrittenRange(NamedTuple):
    """The documents that a note becomes."""

    fields: Mapping[str, Any]
    """That of the range."""

    images: Sequence[Mapping[str, Any]]
    """Those of the documents as they were, in parts."""


def cut_key(key: bytes) -> str:
    """Return a sort key as a range has it."""
    return key[:_KEY].hex()


def written_ranges(run_id: str, names: Iterator[str], noted: RangeNote) -> Iterator[WrittenRange]:
    """Yield a note as the documents that stand for it; each takes the next name."""
    is_packed = noted.kind is NoteKind.MOVED and all(map(_is_plain, noted.notes))
    most = _PACKED_NOTES if is_packed else _NOTES
    for start in range(0, max(1, len(noted.notes)), most):
        name = next(names)
        part = noted.notes[start : start + most]
        fields: dict[str, Any] = {
            "_id": name,
            "run": run_id,
            "kind": noted.kind.value,
            "first": cut_key(noted.first),
            "last": cut_key(noted.last),
            "documents": [] if is_packed else [_described(each) for each in part],
        }
        if is_packed:
            fields[_PACKED] = b"".join([note.identity[_ID] for note in part])
        if noted.clients:
            fields["clients"] = noted.clients
        yield WrittenRange(fields, () if is_packed else _images(run_id, name, part))


def read_range(
    fields: Mapping[str, Any],
    images_of: Callable[[Sequence[int]], Mapping[int, bytes]],
    wanted: Container[bytes] | None = None,
) -> RangeNote:
    """Return the note that a document of a range stands for.

    Args:
        fields: the document of the range.
        images_of: returns the range's documents as they were, at these positions among its notes; it is not asked for none.
        wanted: the BSON of the ``{_id}`` of each document whose notes are read; None: all.

    Raises:
        RangeDropped: the image of a document is gone.
    """
    packed = fields.get(_PACKED, b"")
    ids = (packed[start : start + 12] for start in range(0, len(packed), 12))
    notes = [DocumentNote(b"%b%b\x00" % (_IDENTITY_HEAD, each), None, None) for each in ids]
    described = [
        (position, document)
        for position, document in enumerate(fields["documents"])
        if wanted is None or document["id"] in wanted
    ]
    kept = [position for position, document in described if document["image"]]
    images = images_of(kept) if kept else {}
    if not images.keys() >= set(kept):
        raise RangeDropped(fields["_id"])
    notes += [
        DocumentNote(document["id"], document["after"], images[position] if document["image"] else None)
        for position, document in described
    ]
    first, last = (bytes.fromhex(fields[name]) for name in ("first", "last"))
    return RangeNote(
        NoteKind(fields["kind"]), first, last, notes, fields["_id"], bytes(fields.get("clients", b""))
    )


def _is_plain(note: DocumentNote) -> bool:
    identity = note.identity
    return (
        note.before is None
        and note.after is None
        and len(identity) == _IDENTITY_SIZE
        and identity.startswith(_IDENTITY_HEAD)
    )


def _images(run_id: str, name: str, notes: Sequence[DocumentNote]) -> list[Mapping[str, Any]]:
    return [
        {
            "_id": f"{name}/{position:06d}/{part:03d}",
            "run": run_id,
            "bytes": note.before[start : start + _PART],
        }
        for position, note in enumerate(notes)
        if note.before is not None
        for part, start in enumerate(range(0, len(note.before), _PART))
    ]


def _described(note: DocumentNote) -> Mapping[str, Any]:
    return {
        # As bytes: an `_id` may be of a type that the driver re-types.
        "id": note.identity,
        "after": note.after,
        "image": note.before is not None,
    }

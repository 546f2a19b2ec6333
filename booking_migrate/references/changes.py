"""What a rewrite changes in one document, and where an undo finds it again; pure.

Values are compared with their type, as bytes would be.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from booking_migrate.bson.document import (
    DOCUMENT,
    element_of,
    elements,
    identity_of,
    read_value,
    value_in,
    wrap,
)
from booking_migrate.bson.order import sort_key
from booking_migrate.references.fields import NewId, ReferenceField
from booking_migrate.references.positions import Places, documents_at, rebuilt
from booking_migrate.references.tally import ALREADY, DUPLICATE_NAME, NO_ID, Known, Tally
from booking_migrate.references.values import (
    Occurrence,
    all_occurrences,
    has_duplicates,
    is_id_like,
    occurrences,
    replaced,
)
from booking_migrate.stores.reference_journal import ABSENT, DOCUMENT_ID, DocumentChange, FieldChange
from booking_migrate.stores.references import BookingState, NewIds

_IN_DOCUMENT_ID = f"{DOCUMENT_ID}."

Guard = Sequence[tuple[str, tuple[Any, ...]]]
"""Conditions that have to hold when a document is written: a concrete path, and the values of which it has one. Two fields may
have different conditions of one path."""


class Found(NamedTuple):
    """The references of one document."""

    raw: bytes
    values: Sequence[tuple[ReferenceField, Occurrence]]
    is_ambiguous: bool = False
    """Whether a name on the path of a field, or of its condition, occurs twice: nothing is written then."""


class Planned(NamedTuple):
    """A change of a document, with the conditions under which it may be written."""

    change: DocumentChange
    guard: Guard
    raw: bytes
    """The document that was read, BSON."""


def find(raw: bytes, fields: Sequence[ReferenceField]) -> Found:
    """Return the references of a document; a place that two fields name counts for the first."""
    if any(has_duplicates(raw, path) for each in fields for path in (each.field, *each.when, *each.add)):
        return Found(
            raw, [(each, value) for each in fields for value in all_occurrences(raw, each)], is_ambiguous=True
        )
    if len(fields) == 1:
        (only,) = fields
        return Found(raw, [(only, each) for each in occurrences(raw, only)])
    found: dict[str, tuple[ReferenceField, Occurrence]] = {}
    for each in fields:
        for value in occurrences(raw, each):
            found.setdefault(value.path, (each, value))
    return Found(raw, list(found.values()))


def find_all(raws: Iterable[bytes], fields: Sequence[ReferenceField]) -> list[Found]:
    """Return the documents that have references, with these."""
    return [each for raw in raws if (each := find(raw, fields)).values]


def has_any(found: Found, keys: frozenset[bytes]) -> bool:
    """Return whether a document has one of some ids, by their sort keys."""
    return any(sort_key(each) in keys for _of, value in found.values for each in value.old_ids)


def plan_changes(found: Iterable[Found], known: Known, tally: Tally) -> list[Planned]:
    """Return what changes in documents, as `plan_change`."""
    return [planned for each in found if (planned := plan_change(each, known, tally)) is not None]


def plan_change(found: Found, known: Known, tally: Tally) -> Planned | None:
    """Return how a document changes; None if none of its references is one to a migrated booking.

    Args:
        found: the document.
        known: what its ids stand for.
        tally: where its references are counted, but for those that are rewritten: these count once they are written.
    """
    raw, places = found.raw, Places(found.raw)
    changes: list[FieldChange] = []
    added: dict[str, _Added] = {}
    guard: list[tuple[str, tuple[Any, ...]]] = []
    for of, value in found.values:
        new = _new_ids(value, known)
        if not new:
            _leave(of, raw, value, known, tally)
            continue
        if found.is_ambiguous:
            tally.leave(of, raw, value.path, value.value, DUPLICATE_NAME)
            continue
        mapping = {key: _chosen(ids, of.to) for key, ids in new.items()}
        after = replaced(value.value, mapping)
        is_same = _is_same(after, value.value)
        if is_same:
            # A few ids are their own new ids.
            _count_new(of, raw, value, known, tally)
        else:
            changes.append(FieldChange(of.field, value.path, value.value, after))
        if not is_same or of.add:
            guard += [(_beside(places, of, value.path, path)[0], values) for path, values in of.when.items()]
        ids = next(iter(new.values()))
        for path, to in of.add.items():
            place, is_list = _beside(places, of, value.path, path)
            one = added.setdefault(place, _Added(path, is_list))
            one.values.append((_chosen(ids, to), is_same))
    changes += _merged(
        [each for place, one in added.items() if (each := one.change(places, place)) is not None]
    )
    if not changes:
        return None
    change = DocumentChange(identity_of(raw), sha256(raw).digest(), with_whole_id(raw, changes))
    return Planned(change, guard, raw)


def with_whole_id(raw: bytes, changes: Sequence[FieldChange]) -> tuple[FieldChange, ...]:
    """Return changes of which those within the `_id` are, for each field, one of the `_id` as a whole: it is replaced, not updated."""
    inside = [each for each in changes if each.path.startswith(_IN_DOCUMENT_ID)]
    if not inside:
        return tuple(changes)
    old = next(part for part in elements(raw) if part.name == DOCUMENT_ID.encode())
    before, after = read_value(old), value_in(rebuilt(wrap([old]), inside), b"_id")
    names = dict.fromkeys(each.field for each in inside)
    whole = [FieldChange(name, DOCUMENT_ID, before, after) for name in names]
    return (*whole, *(each for each in changes if not each.path.startswith(_IN_DOCUMENT_ID)))


@dataclass(slots=True)
class _Added:
    """A field that is set beside references."""

    name: str
    """Its configured path."""

    is_list: bool
    """Whether the references are elements of an array, so that the field gets an array, too."""

    values: list[tuple[Any, bool]] = field(default_factory=list)
    """The new ids, each with whether the reference is its own new id: then a second rewrite finds it again."""

    def change(self, places: Places, place: str) -> FieldChange | None:
        """Return the change; None if the field has that value already."""
        before = places.at(place)
        after: Any = self.values[0][0]
        if self.is_list:
            there = before if isinstance(before, list) else None
            after = [*(there or ()), *(each for each, is_same in self.values if there is None or not is_same)]
        if _is_same(before, after):
            return None
        if before is ABSENT:
            return _with_parents(places, FieldChange(self.name, place, before, after))
        return FieldChange(self.name, place, before, after)


def _with_parents(places: Places, change: FieldChange) -> FieldChange:
    """Return the addition of a field as that of the first document on its path that is missing: an undo removes that."""
    names = change.path.split(".")
    depth = next(at for at in range(1, len(names) + 1) if not places.has(".".join(names[:at])))
    after = change.after
    for name in reversed(names[depth:]):
        after = {name: after}
    missing = len(names) - depth
    of = ".".join(change.field.split(".")[: -missing or None])
    return FieldChange(of, ".".join(names[:depth]), ABSENT, after)


def _merged(additions: Sequence[FieldChange]) -> list[FieldChange]:
    """Return additions, those that make the same document as one."""
    merged: dict[str, FieldChange] = {}
    for each in additions:
        other = merged.get(each.path)
        after = each.after if other is None else _united(other.after, each.after)
        merged[each.path] = each._replace(after=after)
    return list(merged.values())


def _united(one: Any, other: Any) -> Any:
    if type(one) is not dict or type(other) is not dict:
        return other
    return {
        **one,
        **{name: _united(one[name], value) if name in one else value for name, value in other.items()},
    }


def _new_ids(value: Occurrence, known: Known) -> Mapping[bytes, NewIds]:
    found = {}
    for each in value.old_ids:
        state = known.states.get(key := sort_key(each))
        if isinstance(state, NewIds):
            found[key] = state
    return found


def _chosen(ids: NewIds, to: NewId) -> Any:
    match to:
        case NewId.SESSION:
            return ids.session_id
        case NewId.CLIENT_DOCUMENT:
            return ids.document_id


def _leave(of: ReferenceField, raw: bytes, value: Occurrence, known: Known, tally: Tally) -> None:
    """Count a reference that is not rewritten, by the most telling of its ids."""
    keys = list(map(sort_key, value.old_ids))
    states = {state for key in keys if isinstance(state := known.states.get(key), BookingState)}
    for reason in (BookingState.REJECTED, BookingState.UNMIGRATED):
        if reason in states:
            tally.leave(of, raw, value.path, value.value, reason.value)
            return
    if not known.new.isdisjoint(keys):
        _count_new(of, raw, value, known, tally)
    else:
        why = BookingState.UNKNOWN.value if is_id_like(value.value) else NO_ID
        tally.leave(of, raw, value.path, value.value, why)


def _count_new(of: ReferenceField, raw: bytes, value: Occurrence, known: Known, tally: Tally) -> None:
    """Count a value that is a new id, unless this rewrite has written it, so that it counts as rewritten."""
    if not known.own or (identity_of(raw), sort_key(value.value)) not in known.own:
        tally.count(of, ALREADY)


def _beside(places: Places, of: ReferenceField, path: str, other: str) -> tuple[str, bool]:
    """Return the concrete path of a field beside a reference, and whether the reference is an element of an array.

    Args:
        places: the document.
        of: the field of the reference.
        path: the reference's concrete path.
        other: a configured path; one with another parent is its own concrete path.
    """
    parts = path.split(".")
    names = [at for at, part in enumerate(parts) if not part.isdecimal()]
    if len(names) <= of.field.count("."):
        # A name looks like a position: only the document says which is which.
        names = places.names_in(parts)
    last = names[of.field.count(".")]
    in_array = any(each.isdigit() for each in parts[last + 1 :])
    prefix = f"{of.parent}." if of.parent else ""
    if not other.startswith(prefix):
        return other, in_array
    return ".".join([*parts[:last], other[len(prefix) :]]), in_array


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def is_after(raw: bytes, changes: Sequence[FieldChange]) -> bool:
    """Return whether a document has all values that changes make, where they make them."""
    places = Places(raw)
    return all(_is_same(places.at(each.path), each.after) for each in changes)


def is_before(raw: bytes, changes: Sequence[FieldChange]) -> bool:
    """Return whether a document has all values that changes replace, where they replace them."""
    places = Places(raw)
    return all(_is_same(places.at(each.path), each.before) for each in changes)


class Reversal(NamedTuple):
    """How the changes of one document are taken back."""

    changes: tuple[FieldChange, ...]
    """What is written, with ``before`` as the document has it now."""

    kept: tuple[FieldChange, ...]
    """The noted changes whose values others have changed since."""


def reversal(raw: bytes, noted: DocumentChange) -> Reversal:
    """Return how a document as it is now gets its old references back, wherever its arrays have them now."""
    places = Places(raw)
    used: set[str] = set()
    back: list[FieldChange] = []
    moved: deque[FieldChange] = deque()
    for each in noted.changes:
        there = _as_it_is(each, places.at(each.path))
        if there is None:
            moved.append(each)
        else:
            used |= _all_paths(each)
            back.append(there)
    kept: list[FieldChange] = []
    by_field: dict[str, _Unused] = {}
    while moved:
        each = moved.popleft()
        if each.field == each.path and _is_same(places.at(each.path), each.before):
            continue
        if each.field not in by_field:
            by_field[each.field] = _Unused(raw, each.field, used)
        place = by_field[each.field].take(each.after)
        if place is not None:
            there = each._replace(path=place)
            used |= _all_paths(there)
            back.append(there)
        elif by_field[each.field].take(each.before) is not None:
            continue
        elif each.before is ABSENT and type(each.after) is dict:
            # Others have added to it, or changed some of it.
            moved += _fields_of(each)
        elif not _is_same(places.at(each.path), each.before):
            kept.append(each)
    turned = tuple(each._replace(before=each.after, after=each.before) for each in back)
    return Reversal(turned, tuple(kept))


def _as_it_is(change: FieldChange, there: Any) -> FieldChange | None:
    """Return a change with the value that its path has now; None if that is another one.

    An array that was added is the same in another order.
    """
    if _is_same(there, change.after):
        return change
    if change.before is not ABSENT or type(there) is not list or type(change.after) is not list:
        return None
    is_same = sorted(map(_spelled, there)) == sorted(map(_spelled, change.after))
    return change._replace(after=there) if is_same else None


class _Unused:
    """The places of one field that no change was found at yet, by their values."""

    def __init__(self, raw: bytes, field: str, used: set[str]) -> None:
        self._used = used
        self._paths: dict[tuple[int, bytes], list[str]] = {}
        found = [(each.path, _spelled(each.value)) for each in occurrences(raw, ReferenceField("", field))]
        found += [(path, (DOCUMENT, inner)) for path, inner in documents_at(raw, field)]
        for path, spelled in reversed(found):
            self._paths.setdefault(spelled, []).append(path)

    def take(self, value: Any) -> str | None:
        """Return the first place with a value, and use it up; None if all of them are used, or it is `ABSENT`."""
        paths = [] if value is ABSENT else self._paths.get(_spelled(value), [])
        while paths:
            path = paths.pop()
            if path not in self._used:
                self._used.add(path)
                return path
        return None


def _spelled(value: Any) -> tuple[int, bytes]:
    """Return the type and the bytes of a value."""
    element = element_of("", value)
    return element.kind, element.value


def _fields_of(change: FieldChange) -> list[FieldChange]:
    """Return the addition of a document as those of its fields."""
    return [
        FieldChange(f"{change.field}.{name}", f"{change.path}.{name}", ABSENT, value)
        for name, value in change.after.items()
    ]


def _all_paths(change: FieldChange) -> set[str]:
    """Return where a change is, and where the fields are of a document that it adds."""
    paths, pending = {change.path}, [change]
    while pending:
        each = pending.pop()
        if each.before is ABSENT and type(each.after) is dict:
            pending += (inner := _fields_of(each))
            paths.update(one.path for one in inner)
    return paths

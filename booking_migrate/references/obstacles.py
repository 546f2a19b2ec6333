"""What a collection has that helps with references, or may prevent rewriting them: indexes and the validator."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.ids import session_id
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.outcome import Obstacle
from booking_migrate.references.positions import rebuilt
from booking_migrate.references.values import Form, occurrences, replaced
from booking_migrate.stores.destination import CollectionFacts, IndexFacts
from booking_migrate.stores.reference_journal import FieldChange

_SCHEMA = "$jsonSchema"
_ALIASES = {"objectId", "string", "binData"}
_RESTRICTS = ("pattern", "enum", "minLength", "maxLength")
_CANNOT_CHANGE = "An _id cannot be changed: a rewrite inserts the document again, and deletes the old one."

_REFUSES = "Asked about some documents with session ids there, the server refuses them."
_ACCEPTS = "Asked about some documents with session ids there, the server accepts them."


def index_on(path: str, facts: CollectionFacts | None) -> str | None:
    """Return the name of an index by which the server finds the values of a field; None without one."""
    indexes = facts.indexes if facts is not None else ()
    serving = [each for each in indexes if each.keys[:1] == (path,) and not each.is_partial]
    # The one with the fewest fields is read fastest.
    return min(serving, key=lambda each: len(each.keys)).name if serving else None


def obstacles_of(
    path: str, forms: Mapping[Form, int], facts: CollectionFacts | None, *, refused: bool | None = None
) -> Iterator[Obstacle]:
    """Yield what a rewrite of a field may run into.

    Args:
        path: the field.
        forms: how its values spell ids.
        facts: what the server says about the collection.
        refused: whether the validator refuses documents with new ids; None: it was not asked.
    """
    if path == "_id" or path.startswith("_id."):
        yield Obstacle("document-id", path, _CANNOT_CHANGE)
        return
    if facts is None:
        return
    for index in facts.indexes:
        if index.unique and path in index.keys:
            yield _unique(path, index)
    rule = _rule_on(path, facts.options.get("validator", {}))
    if rule or refused:
        details = [_consequence(rule, forms)] if rule else []
        if refused is not None:
            details.append(_REFUSES if refused else _ACCEPTS)
        yield Obstacle("validator", path, " ".join(details))


def refuses_new_ids(
    path: str, documents: Sequence[bytes], refuses: Callable[[Sequence[bytes]], bool | None]
) -> bool | None:
    """Return whether a validator refuses documents with session ids in a field; None if it is not known.

    Documents that it refuses as they are do not count.
    """
    sound = [raw for raw in documents if refuses([raw]) is False]
    return any(refuses([_with_new_ids(raw, path)]) for raw in sound) if sound else None


def _with_new_ids(raw: bytes, path: str) -> bytes:
    changes = []
    for each in occurrences(raw, ReferenceField("", path)):
        new = {sort_key(old): session_id(old, 0) for old in each.old_ids if type(old) is not str}
        changes.append(FieldChange(path, each.path, each.value, replaced(each.value, new)))
    return rebuilt(raw, changes)


def _unique(path: str, index: IndexFacts) -> Obstacle:
    others = [each for each in index.keys if each != path]
    if not others:
        detail = (
            "It is unique: bookings of one client get the same client-document id, and only the first could be rewritten. "
            "Session ids are as different as the bookings are."
        )
        return Obstacle("unique-index", index.name, detail)
    detail = (
        f"It is unique together with {', '.join(others)}: where these are equal for two bookings of one client, only the first "
        "could be rewritten to the client-document id."
    )
    return Obstacle("compound-unique-index", index.name, detail)


def _rule_on(path: str, validator: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rule that a validator has for a field; empty if it has none."""
    if path in validator:
        rule = validator[path]
        # What a query operator demands is not evaluated here, but shown by its name.
        return {"query": ", ".join(rule) if isinstance(rule, Mapping) else "a value"}
    schema = validator.get(_SCHEMA, {})
    for name in path.split("."):
        while "items" in schema and isinstance(schema["items"], Mapping):
            schema = schema["items"]
        schema = schema.get("properties", {}).get(name, {})
        if not isinstance(schema, Mapping):
            return {}
    while "items" in schema and isinstance(schema["items"], Mapping):
        schema = schema["items"]
    return {key: schema[key] for key in ("bsonType", "type", *_RESTRICTS) if key in schema}


def _consequence(rule: Mapping[str, Any], forms: Mapping[Form, int]) -> str:
    """Return what a rule means for the new values: text stays text, anything else becomes an ObjectId."""
    if "query" in rule:
        return f"The validator has a condition on it ({rule['query']}): make sure that new ids meet it."
    wanted = rule.get("bsonType", rule.get("type"))
    allowed = set(wanted if isinstance(wanted, list) else [wanted]) & _ALIASES
    needed = {"string" if form.is_text else "objectId" for form in forms}
    if allowed and not needed & allowed:
        return f"The validator requires {' or '.join(sorted(allowed))}, and a new id would be {' or '.join(sorted(needed))}."
    restricted = [name for name in _RESTRICTS if name in rule]
    if restricted:
        return f"The validator restricts its text ({', '.join(restricted)}): make sure that new ids meet it."
    return (
        f"The validator requires {' or '.join(sorted(allowed))}, which new ids are."
        if allowed
        else ("The validator has a rule on it: make sure that new ids meet it.")
    )

"""Documents that the server refuses: by its validator or by a unique index, with what it says and without their content.

What it says of a validator: manual, core/schema-validation/use-json-schema-validation-error.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bson import json_util

from booking_migrate.bson.format import display_id
from booking_migrate.domain.contract import FIELDS
from booking_migrate.errors import BookingMigrateError, DuplicateKeys, UniqueIndexViolated, ValidationFailed
from booking_migrate.quantities import grouped
from booking_migrate.stores.destination import validator_off, validator_on
from booking_migrate.stores.mongo.codes import DUPLICATE_KEY

_LONGEST_RULE = 120
_MOST_RULES = 5
_MOST_KEYS = 3
_LONGEST_QUERY = 200
_BOOKING_FIELDS = frozenset(rule.name for rule in FIELDS)
_WORDS: Mapping[str, str] = {
    "maximum": "must be at most {}",
    "minimum": "must be at least {}",
    "exclusiveMaximum": "must be less than {}",
    "exclusiveMinimum": "must be more than {}",
    "enum": "must be one of {}",
    "$in": "must be one of {}",
    "$nin": "must not be one of {}",
    "maxLength": "must have at most {} characters",
    "minLength": "must have at least {} characters",
    "pattern": "must match the pattern {}",
    "$regex": "must match the pattern {}",
    "maxItems": "must have at most {} items",
    "minItems": "must have at least {} items",
    "multipleOf": "must be a multiple of {}",
    "$eq": "must be {}",
    "$ne": "must not be {}",
    "$gt": "must be more than {}",
    "$gte": "must be at least {}",
    "$lt": "must be less than {}",
    "$lte": "must be at most {}",
    "$size": "must have {} items",
}
"""Rules of validators in plain words; in place of the braces comes what the validator says."""

_TYPES = frozenset({"bsonType", "type", "$type"})
_PARTS = (
    "schemaRulesNotSatisfied",
    "schemasNotSatisfied",
    "clausesNotSatisfied",
    "details",
)
"""Where the server lists the parts of a rule that a document breaks."""


def is_on(problem: Mapping[str, Any], field: str) -> bool:
    """Return whether a duplicate was refused by an index on this field alone (manual, core/index-unique)."""
    keys = problem.get("keyPattern")
    return isinstance(keys, Mapping) and list(keys) == [field]


def duplicates(place: str, problems: Sequence[Mapping[str, Any]]) -> DuplicateKeys:
    """Return our error for documents that were refused as duplicates.

    A client document that another process has made has the same `clientId`, and often the same `_id`. In any other unique
    index it is documents that do not fit beside each other, and those are named first.
    """
    others = [problem for problem in problems if not (is_on(problem, "clientId") or is_on(problem, "_id"))]
    if not others:
        return DuplicateKeys(place, len(problems), _samples(problems))
    first = others[0]
    keys = ", ".join(f"{name} {direction}" for name, direction in (first.get("keyPattern") or {}).items())
    return UniqueIndexViolated(
        place,
        len(others),
        _samples(others),
        _index_name(first),
        keys or "its keys are unknown",
        _query_for(others),
    )


def _samples(problems: Sequence[Mapping[str, Any]]) -> str:
    """Return the first few keys, each with how many documents were refused for it if that is more than one."""
    counted = Counter(map(_key_text, problems))
    shown = [
        f"{key} ({grouped(count)} times)" if count > 1 and len(counted) > 1 else key
        for key, count in counted.most_common(_MOST_KEYS)
    ]
    more = f" and {grouped(len(counted) - len(shown))} more" if len(counted) > len(shown) else ""
    return f"{'; '.join(shown)}{more}"


def _query_for(problems: Sequence[Mapping[str, Any]]) -> str:
    """Return the query for the bookings with the first of the values that are named; empty if they cannot be found by it."""
    ((first, _),) = Counter(map(_key_text, problems)).most_common(1)
    values: Mapping[str, Any] = next(
        each.get("keyValue") or {} for each in problems if _key_text(each) == first
    )
    query = {name.removeprefix("sessions."): value for name, value in values.items()}
    is_simple = all(value is None or isinstance(value, str | int | float) for value in values.values())
    text = json.dumps(query) if query and is_simple and query.keys() <= _BOOKING_FIELDS else ""
    return text if len(text) <= _LONGEST_QUERY else ""


def _key_text(problem: Mapping[str, Any]) -> str:
    keys = problem.get("keyValue") or {}
    return ", ".join(f"{name} {display_id(value)}" for name, value in keys.items()) or "one of an unknown key"


def _index_name(problem: Mapping[str, Any]) -> str:
    """Return the name of the index, which the server says in its text only."""
    text = str(problem.get("errmsg", "")).partition(" index: ")[2].partition(" dup key")[0]
    return text.partition(" collation: ")[0] or "of an unknown name"


def refused_documents(
    place: str, problems: Sequence[Mapping[str, Any]], level: str = "strict"
) -> BookingMigrateError:
    """Return our error for documents that a validator or a unique index refuses; all for the same cause.

    ``problems`` is what the server says of each, as in ``writeErrors``; ``level`` is the collection's `validationLevel`.
    """
    first = problems[0]
    if first.get("code") == DUPLICATE_KEY:
        return duplicates(place, problems)
    info = first.get("errInfo") or {}
    rules = list(dict.fromkeys(broken_rules(info.get("details"))))
    more = [f"and {len(rules) - _MOST_RULES} more"] if len(rules) > _MOST_RULES else []
    problem = "; ".join([*rules[:_MOST_RULES], *more]) or "one of its conditions does not hold"
    document_id = display_id(info.get("failingDocumentId"))
    return ValidationFailed(
        place,
        problem,
        document_id,
        validator_off(place),
        validator_on(place, level),
        _client_of(first),
        len(problems),
    )


def _client_of(problem: Mapping[str, Any]) -> str:
    """Return the client of a refused document, as far as the driver says what was to be written."""
    operation = problem.get("op")
    if not isinstance(operation, Mapping):
        return ""
    document = operation.get("u", operation)
    client_id = document.get("clientId") if isinstance(document, Mapping) else None
    return "" if client_id is None else display_id(client_id)


def broken_rules(details: Any, path: str = "") -> Iterator[str]:
    """Yield which field breaks which rule, in plain words, by what the server says, or by the part of it that is about the field of a path."""
    if isinstance(details, list):
        for each in details:
            yield from broken_rules(each, path)
    if not isinstance(details, Mapping):
        return
    if "propertyName" in details:
        path = _joined(path, details["propertyName"])
    elif "itemIndex" in details:
        path = _joined(path, details["itemIndex"])
    yield from (f"{_joined(path, name)} must be present" for name in details.get("missingProperties", ()))
    # An object or a list of names, by the server's version.
    yield from (f"{_joined(path, name)} is not allowed" for name in details.get("additionalProperties", ()))
    yield from broken_rules(details.get("propertiesNotSatisfied"), path)
    inner = [rule for name in _PARTS for rule in broken_rules(details.get(name), path)]
    yield from inner
    is_whole = not inner and not any(name in details for name in (*_PARTS, "propertiesNotSatisfied"))
    if is_whole and "specifiedAs" in details and details.keys().isdisjoint(_NAMED):
        yield _in_words(details, path)


_NAMED = frozenset({"missingProperties", "additionalProperties"})


def _in_words(details: Mapping[str, Any], path: str) -> str:
    """Return one rule that a field breaks: ``price must be of type double, and is string``. No value of it is shown."""
    operator = str(details.get("operatorName", ""))
    wanted = details["specifiedAs"]
    if isinstance(wanted, Mapping) and operator in wanted:
        wanted = wanted[operator]
    elif isinstance(wanted, Mapping) and len(wanted) == 1:
        # A condition of a query: the field, and below it what it has to be.
        ((path, wanted),) = wanted.items()
        if isinstance(wanted, Mapping) and operator in wanted:
            wanted = wanted[operator]
    subject = path or "the document"
    text = _rule_text(wanted)
    if operator in _TYPES:
        found = details.get("consideredType")
        return f"{subject} must be of type {text}" + (f", and is {found}" if found else "")
    if operator == "$exists":
        return f"{subject} must be {'present' if wanted else 'absent'}"
    words = _WORDS.get(operator, f"must satisfy {operator} {{}}")
    return f"{subject} {words.format(text)}"


def _rule_text(rule: Any) -> str:
    if isinstance(rule, str):
        return rule
    try:
        text = json_util.dumps(rule, json_options=json_util.RELAXED_JSON_OPTIONS, ensure_ascii=False)
    except (TypeError, ValueError):
        return "its rule"
    if isinstance(rule, list) and all(isinstance(each, str) for each in rule):
        text = ", ".join(rule)
    return text if len(text) <= _LONGEST_RULE else f"{text[:_LONGEST_RULE]} ..."


def _joined(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)

"""Which rules of a validator a document breaks, found before anything is written.

The server says that itself only of a document that it refuses. Here each rule is tried out separately, and named in the words of
`refusals`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from booking_migrate.stores.mongo.refusals import broken_rules

_SCHEMA = "$jsonSchema"
_SILENT = frozenset({"title", "description"})
_MOST_TRIED, _MOST_NAMED = 200, 5

Rule = tuple[Mapping[str, Any], str, Mapping[str, Any]]
"""A query that has one rule only; the field that it is about; and the rule as the server would describe it."""


def rules_broken(
    validator: Mapping[str, Any], holds: Callable[[Mapping[str, Any]], bool | None]
) -> Sequence[str]:
    """Return which rules of a validator a document breaks, the first few.

    ``holds`` returns whether the document meets a query; None if the server cannot evaluate it.
    """
    found = dict[str, None]()
    for query, path, details in islice(_rules(validator), _MOST_TRIED):
        if holds(query) is False:
            found.update(dict.fromkeys(broken_rules(details, path)))
        if len(found) == _MOST_NAMED:
            break
    return list(found)


def _rules(validator: Mapping[str, Any]) -> Iterator[Rule]:
    for name, value in validator.items():
        if name == _SCHEMA:
            for query, path, details in _of_schema(value, ()):
                yield {_SCHEMA: query}, path, details
        elif name == "$and":
            for each in value:
                yield from _rules(each)
        elif name.startswith("$"):
            yield {name: value}, "", {"operatorName": name, "specifiedAs": {name: value}}
        else:
            yield from _of_field(name, value)


def _of_field(name: str, value: Any) -> Iterator[Rule]:
    is_condition = isinstance(value, Mapping) and bool(value) and all(key.startswith("$") for key in value)
    for operator, wanted in value.items() if is_condition else [("$eq", value)]:
        # It belongs to `$regex`.
        if operator == "$options":
            continue
        condition = {operator: wanted}
        if operator == "$regex" and "$options" in value:
            condition["$options"] = value["$options"]
        yield {name: condition}, name, {"operatorName": operator, "specifiedAs": {operator: wanted}}


def _of_schema(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Rule]:
    """Yield the rules of a schema for a field; each is a schema again, for the whole document."""
    where = ".".join(path)
    for name, value in schema.items():
        if name == "properties":
            for field, inner in value.items():
                yield from _of_schema(inner, (*path, field))
        elif name == "required":
            for field in value:
                yield _within({name: [field]}, path), where, {"missingProperties": [field]}
        elif name not in _SILENT:
            alone = {name: value}
            if name == "additionalProperties":
                alone |= {"properties": {field: {} for field in schema.get("properties", ())}}
                alone |= {key: schema[key] for key in ("patternProperties",) if key in schema}
            elif name in ("exclusiveMinimum", "exclusiveMaximum"):
                limit = "minimum" if name == "exclusiveMinimum" else "maximum"
                alone |= {limit: schema[limit]} if limit in schema else {}
            yield _within(alone, path), where, {"operatorName": name, "specifiedAs": {name: value}}


def _within(schema: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    for field in reversed(path):
        schema = {"properties": {field: schema}}
    return schema

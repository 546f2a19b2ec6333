"""The values of a rewrite as its record keeps them."""

from collections.abc import Mapping, Sequence
from typing import Any

from booking_migrate.references.changes import Left, Tally
from booking_migrate.references.fields import ReferenceField
from booking_migrate.stores.reference_journal import RewriteRecord


def saved_fields(fields: Sequence[ReferenceField]) -> list[dict[str, Any]]:
    """Return fields as values of BSON, in which names with dots are values."""
    return [
        {
            "collection": each.collection,
            "field": each.field,
            "to": each.to.value,
            "add": [{"field": path, "to": to.value} for path, to in sorted(each.add.items())],
            "when": [{"field": path, "values": list(values)} for path, values in sorted(each.when.items())],
        }
        for each in fields
    ]


def name_of(saved: Mapping[str, Any]) -> str:
    """Return collection and path of a saved field."""
    return f"{saved['collection']}.{saved['field']}"


def counts_of(tally: Tally) -> list[dict[str, Any]]:
    """Return counts as values of BSON."""
    return [
        {"collection": collection, "field": path, "what": what, "number": number}
        for (collection, path, what), number in sorted(tally.values.items())
    ]


def left_of(tally: Tally) -> list[dict[str, str]]:
    """Return samples as values of BSON."""
    return [each._asdict() for each in tally.samples]


def tally_of(record: RewriteRecord) -> Tally:
    """Return the counts and samples that a record has."""
    values = {(each["collection"], each["field"], each["what"]): each["number"] for each in record.counts}
    return Tally(values, [Left(**each) for each in record.left])

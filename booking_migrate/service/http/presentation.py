"""Conversion to JSON: ids as strings, dates in ISO 8601, numbers as numbers, Decimal128 as a string of all its digits."""

import json
import math
from datetime import UTC, datetime
from types import NoneType
from typing import Any

from bson import json_util
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import Document, Opaque
from booking_migrate.service.identifiers import as_text
from booking_migrate.service.listing import Page
from booking_migrate.service.repository import ListedSession
from booking_migrate.service.view import ClientView

_OWNER = ("clientId", "clientUserId", "clientEmail")
_IDS = frozenset({"_id", "clientId", "expertId", "sessionId", "legacyBookingId"})
_AS_THEY_ARE = frozenset({str, int, Int64, bool, NoneType})


def booking(view: ClientView) -> Document:
    """Return a client document in the form of the API."""
    shown = {name: _field(name, value) for name, value in view.fields.items()}
    sessions = [session(one.fields) for one in view.sessions]
    # The sessions follow the fields of the owner, as in the database.
    before = {name: shown.pop(name) for name in ("_id", *_OWNER) if name in shown}
    return {**before, "sessions": sessions, **shown}


def session(fields: Document) -> Document:
    """Return one session in the form of the API."""
    return {name: _field(name, value) for name, value in fields.items()}


def listing(page: Page[ListedSession]) -> Document:
    """Return a page of sessions, each with the booking that it belongs to."""
    return {
        "sessions": [_listed(one) for one in page.items],
        "pagination": {"page": page.page, "limit": page.limit, "total": page.total, "pages": page.pages},
    }


def _listed(one: ListedSession) -> Document:
    owner = {name: _field(name, one.booking.get(name)) for name in _OWNER}
    return {"bookingId": _field("_id", one.booking.get("_id")), **owner, **session(one.session)}


def _field(name: str, value: Any) -> Any:
    text = as_text(value) if name in _IDS else None
    return _value(value) if text is None else text


def _value(value: Any) -> Any:  # noqa: PLR0911 - one line for each kind of BSON value
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is DatetimeMS:
        return _date(value)
    if kind is ObjectId or kind is Decimal128:
        return str(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is dict:
        return {str(name): _value(inner) for name, inner in value.items()}
    if kind is list:
        return [_value(inner) for inner in value]
    if kind is Opaque:
        return None
    return as_text(value) or _rare(value)


def _date(value: DatetimeMS) -> Any:
    seconds, milliseconds = divmod(int(value), 1000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=milliseconds * 1000)
    except (ValueError, OverflowError, OSError):
        return int(value)
    return moment.isoformat(timespec="milliseconds")


def _rare(value: Any) -> Any:
    """Return a value of a type that JSON lacks as Extended JSON."""
    return json.loads(json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS))


def encode(content: Any) -> bytes:
    """Return JSON as bytes of plain ASCII, whatever the texts of the database contain."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")

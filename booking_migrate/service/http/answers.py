"""All answers: BSON values as JSON, the envelope, and what is answered to each problem.

Ids are strings, dates ISO 8601, numbers numbers, and a Decimal128 a string of all its digits.
"""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import NoneType
from typing import Any
from urllib.parse import quote

from bson import json_util
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pymongo.errors import PyMongoError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from booking_migrate.bson.document import Document, Opaque
from booking_migrate.domain.session import OWNER_FIELDS
from booking_migrate.errors import ConnectionProblem
from booking_migrate.service.errors import Busy, NotSignedIn, RequestRefused, Unknown
from booking_migrate.service.repository import Shown
from booking_migrate.service.view import LISTED_FIELDS, ClientView, ListedSession, Page, as_text
from booking_migrate.stores.mongo.codes import TRANSIENT_TRANSACTION
from booking_migrate.stores.mongo.retry import is_transient

_LONGEST_PROBLEM = 200

_IDS = frozenset({"_id", "clientId", "expertId", "sessionId", "legacyBookingId"})
_AS_THEY_ARE = frozenset({str, int, Int64, bool, NoneType})


def booking(view: ClientView) -> Document:
    """Return a client document in the form of the API."""
    shown = plain(view.fields)
    sessions = [plain(one.fields) for one in view.sessions]
    # The sessions follow the fields of the owner, as in the database.
    before = {name: shown.pop(name) for name in LISTED_FIELDS if name in shown}
    return {**before, "sessions": sessions, **shown}


def plain(fields: Document) -> Document:
    """Return the fields of a session or of a client document in the form of the API."""
    return {name: _field(name, value) for name, value in fields.items()}


def listing(page: Page) -> Document:
    """Return a page of sessions, each with the booking that it belongs to."""
    return {
        "sessions": [_listed(one) for one in page.items],
        "pagination": {"page": page.page, "limit": page.limit, "total": page.total, "pages": page.pages},
    }


def _listed(one: ListedSession) -> Document:
    owner = {name: _field(name, one.booking.get(name)) for name in OWNER_FIELDS}
    return {"bookingId": _field("_id", one.booking.get("_id")), **owner, **plain(one.session)}


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


class Answer(Response):
    """JSON in plain ASCII, whatever the database contains; it is for one user, so caches must not store it."""

    media_type = "application/json"

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Set the headers."""
        super().init_headers({"Cache-Control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def success(data: Any, *, message: str | None = None, status: int = 200) -> Answer:
    """Return the answer to a request that succeeded."""
    return Answer(
        {"success": True, **({} if message is None else {"message": message}), "data": data}, status
    )


def moved(shown: Shown, root: str) -> Answer:
    """Return the answer to a request for an old booking: the address of the session that it became.

    Args:
        shown: the session and its booking.
        root: the path that the service is mounted under, such as ``/v2``; empty at the root.

    Raises:
        Unknown: the booking's id cannot be part of an address.
    """
    booking_id, session_id = (
        as_text(each) for each in (shown.booking.fields["_id"], shown.session.session_id)
    )
    if booking_id is None:
        raise Unknown("booking", "bookingId")
    content = {"success": True, "data": {"bookingId": booking_id, "sessionId": session_id}}
    address = f"{root}/api/bookings/{quote(booking_id, safe='')}/sessions/{session_id}"
    return Answer(content, 308, {"Location": address})


def failure(
    status: int, error: str, errors: Sequence[tuple[str, str]] = (), headers: dict[str, str] | None = None
) -> Answer:
    """Return the answer to a request that failed; ``errors`` are fields with their problems."""
    content: dict[str, Any] = {"success": False, "error": error}
    if errors:
        content["errors"] = [{"field": field, "message": message} for field, message in errors]
    return Answer(content, status, headers)


def refusal(problem: RequestRefused) -> Answer:
    """Return the answer to a request that is refused."""
    headers = {"Retry-After": str(problem.retry_after)} if isinstance(problem, Busy) else None
    if isinstance(problem, NotSignedIn):
        headers = {"WWW-Authenticate": "Bearer"}
    named = [] if problem.at_fault is None else [(problem.at_fault, problem.message)]
    return failure(problem.http_status, problem.message, named, headers)


def answer_problems(application: FastAPI) -> None:
    """Register handlers that answer every problem in the envelope."""

    @application.exception_handler(RequestRefused)
    async def refused(_request: Request, problem: RequestRefused) -> Response:
        return refusal(problem)

    @application.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        problems = error.errors()
        if any(problem["type"] == "json_invalid" for problem in problems):
            return failure(400, "the body is not JSON", [("body", "not JSON")])
        named = [(_name(problem["loc"]), str(problem["msg"])[:_LONGEST_PROBLEM]) for problem in problems]
        return failure(422, "some fields are not valid", named)

    @application.exception_handler(HTTPException)
    async def other(_request: Request, error: HTTPException) -> Response:
        return failure(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    @application.exception_handler(ConnectionProblem)
    @application.exception_handler(PyMongoError)
    async def database(_request: Request, error: Exception) -> Response:
        if is_passing(error):
            return refusal(Busy("the database does not answer at the moment"))
        raise error


def is_passing(error: Exception) -> bool:
    """Return whether a failure of the database is temporary."""
    return (
        isinstance(error, ConnectionProblem)
        or is_transient(error)
        or (
            isinstance(error, PyMongoError)
            and (error.timeout or error.has_error_label(TRANSIENT_TRANSACTION))
        )
    )


def _name(location: Sequence[Any]) -> str:
    """Return the name of the field or parameter at fault as a caller writes it: ``sessionId``, not ``body.sessionId``."""
    inner = [str(part) for part in location[1:]]
    return ".".join(inner)[:_LONGEST_PROBLEM] if inner else str(location[0])

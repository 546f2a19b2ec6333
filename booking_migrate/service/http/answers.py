"""The envelope of all answers, and the HTTP status of each refusal."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pymongo.errors import PyMongoError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from booking_migrate.errors import ConnectionProblem
from booking_migrate.service.errors import (
    BadValue,
    Busy,
    NotBookable,
    NotSignedIn,
    NotYours,
    RequestRefused,
    SlotTaken,
    Unknown,
    Unwritable,
    WrongState,
)
from booking_migrate.service.http.presentation import encode
from booking_migrate.stores.mongo.retry import is_transient

STATUSES: dict[type[RequestRefused], int] = {
    BadValue: 422,
    Busy: 503,
    NotBookable: 422,
    NotSignedIn: 401,
    NotYours: 403,
    SlotTaken: 409,
    Unknown: 404,
    Unwritable: 409,
    WrongState: 409,
}

_LONGEST_PROBLEM = 200


class Answer(Response):
    """JSON written by `presentation.encode`; it is for one user, so caches must not store it."""

    media_type = "application/json"

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Set the headers."""
        super().init_headers({"Cache-Control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return encode(content)


def success(data: Any, *, message: str | None = None, status: int = 200) -> Answer:
    """Return the answer to a request that succeeded."""
    return Answer(
        {"success": True, **({} if message is None else {"message": message}), "data": data}, status
    )


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
    return failure(STATUSES[type(problem)], problem.message, named, headers)


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
            and (error.timeout or error.has_error_label("TransientTransactionError"))
        )
    )


def _name(location: Sequence[Any]) -> str:
    """Return the name of the field or parameter at fault as a caller writes it: ``sessionId``, not ``body.sessionId``."""
    inner = [str(part) for part in location[1:]]
    return ".".join(inner)[:_LONGEST_PROBLEM] if inner else str(location[0])

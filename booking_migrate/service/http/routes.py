"""The routes of the API."""

from typing import Annotated, Any

from bson.objectid import ObjectId
from fastapi import APIRouter, Body, Depends, Path, Query
from starlette.responses import Response

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import Contract, utf16_length
from booking_migrate.service.actions import RULES, Action
from booking_migrate.service.appointment import Wish
from booking_migrate.service.errors import BadValue, Busy
from booking_migrate.service.http import models, presentation
from booking_migrate.service.http.access import Gatekeeper
from booking_migrate.service.http.answers import is_passing, refusal, success
from booking_migrate.service.identifiers import LONGEST, meanings
from booking_migrate.service.listing import Filters
from booking_migrate.service.repository import Repository, Shown

_PROBLEMS = {
    400: "the body is not JSON",
    401: "no valid token",
    403: "not yours",
    404: "no such booking, session or expert",
    408: "the body took too long to arrive",
    409: "the slot is taken, or the session's status does not allow it",
    413: "the body is too large",
    415: "the body is not application/json",
    422: "a field is not valid; `errors` names it",
    503: "overloaded at the moment; `Retry-After` says when to repeat the request",
}
_FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": models.Failure, "description": text} for status, text in _PROBLEMS.items()
}

BookingId = Annotated[
    str, Path(alias="bookingId", min_length=1, max_length=LONGEST, description="`_id` of a client's document")
]
SessionPath = Annotated[
    str, Path(alias="sessionId", pattern=r"^[0-9a-fA-F]{24}$", description="24 hex digits")
]


def booking_routes(repository: Repository, gatekeeper: Gatekeeper, contract: Contract) -> APIRouter:
    """Build the routes for bookings.

    Args:
        repository: the bookings.
        gatekeeper: authenticates requests.
        contract: the allowed values.
    """
    router = APIRouter(prefix="/api/bookings", responses=_FAILURES, tags=["bookings"])
    User = Annotated[str, Depends(gatekeeper.user)]  # noqa: N806 - a type

    @router.post("", status_code=201, response_model=models.SessionAnswer, summary="Book a session")
    def book(user: User, wanted: Annotated[models.BookingRequest, Body()]) -> Response:
        wish = Wish(
            session_type=wanted.session_type,
            duration=wanted.duration,
            scheduled_date=models.milliseconds_of(wanted.scheduled_date),
            start_time=wanted.start_time,
            notes=wanted.notes,
        )
        shown = repository.book(repository.people.caller(user), wanted.expert_id, wish)
        return success(_with_session(shown), message="Session booked successfully", status=201)

    @router.get("", response_model=models.ListAnswer, summary="List sessions")
    def list_sessions(user: User, wanted: Annotated[models.ListRequest, Query()]) -> Response:
        filters = _filters(wanted, contract)
        page = repository.list(
            repository.people.caller(user),
            wanted.role,
            filters,
            wanted.sort,
            page=wanted.page,
            limit=wanted.limit,
        )
        return success(presentation.listing(page))

    @router.get("/{bookingId}", response_model=models.BookingAnswer, summary="Show a client's bookings")
    def show(user: User, booking_id: BookingId) -> Response:
        view = repository.find(repository.people.caller(user), booking_id)
        return success({"booking": presentation.booking(view)})

    @router.get(
        "/{bookingId}/sessions/{sessionId}", response_model=models.SessionAnswer, summary="Show one session"
    )
    def show_session(user: User, booking_id: BookingId, session_id: SessionPath) -> Response:
        shown = repository.find_session(repository.people.caller(user), booking_id, ObjectId(session_id))
        return success(_with_session(shown))

    def change(
        user: str, booking_id: str, session_id: str, action: Action, reason: str | None = None
    ) -> Response:
        caller = repository.people.caller(user)
        shown = repository.change(caller, booking_id, ObjectId(session_id), action, reason)
        return success(_with_session(shown), message=f"Session {RULES[action].becomes} successfully")

    @router.put(
        "/{bookingId}/confirm",
        response_model=models.SessionAnswer,
        summary="Confirm a session, as its expert",
    )
    def confirm(
        user: User, booking_id: BookingId, meant: Annotated[models.SessionRequest, Body()]
    ) -> Response:
        return change(user, booking_id, meant.session_id, Action.CONFIRM)

    @router.put("/{bookingId}/cancel", response_model=models.SessionAnswer, summary="Cancel a session")
    def cancel(user: User, booking_id: BookingId, meant: Annotated[models.CancelRequest, Body()]) -> Response:
        longest = contract.maximum_cancellation_reason_length
        if meant.reason is not None and utf16_length(meant.reason) > longest:
            raise BadValue("reason", f"at most {longest} UTF-16 units")
        return change(user, booking_id, meant.session_id, Action.CANCEL, meant.reason)

    @router.put(
        "/{bookingId}/complete",
        response_model=models.SessionAnswer,
        summary="Complete a session, as its expert",
    )
    def complete(
        user: User, booking_id: BookingId, meant: Annotated[models.SessionRequest, Body()]
    ) -> Response:
        return change(user, booking_id, meant.session_id, Action.COMPLETE)

    return router


def probe_routes(repository: Repository) -> APIRouter:
    """Build the routes that report whether the process runs and whether the database answers."""
    router = APIRouter(tags=["probes"])

    @router.get("/health", response_model=models.Health, summary="The process is alive")
    async def health() -> Response:
        return success({"status": "alive"})

    @router.get(
        "/ready",
        response_model=models.Health,
        responses={503: _FAILURES[503]},
        summary="The primary answers",
    )
    def ready() -> Response:
        try:
            repository.check_ready()
        except Exception as error:
            if is_passing(error):
                return refusal(Busy("the database does not answer"))
            raise
        return success({"status": "ready"})

    return router


def _with_session(shown: Shown) -> dict[str, Any]:
    return {
        "booking": presentation.booking(shown.booking),
        "session": presentation.session(shown.session.fields),
    }


def _filters(wanted: models.ListRequest, contract: Contract) -> Filters:
    """Read the filters of a list.

    Raises:
        BadValue: a value that the contract does not allow, or a range that ends before it starts.
    """
    for name, words, allowed in (
        ("status", wanted.status, contract.statuses),
        ("paymentStatus", wanted.payment_status, contract.payment_statuses),
        ("sessionType", wanted.session_type, contract.session_types),
    ):
        if not set(words) <= set(allowed):
            raise BadValue(name, f"one of {', '.join(allowed)}")
    if wanted.first is not None and wanted.last is not None and wanted.last < wanted.first:
        raise BadValue("from", "from is after to")
    return Filters(
        statuses=frozenset(wanted.status),
        payment_statuses=frozenset(wanted.payment_status),
        session_types=frozenset(wanted.session_type),
        expert_keys=None
        if wanted.expert_id is None
        else frozenset(map(sort_key, meanings(wanted.expert_id))),
        first_date=None if wanted.first is None else models.milliseconds_of(wanted.first),
        last_date=None if wanted.last is None else models.milliseconds_of(wanted.last),
    )

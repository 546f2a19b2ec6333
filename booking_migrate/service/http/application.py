"""The application: its routes, and how it is assembled from its parts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio.to_thread import current_default_thread_limiter
from bson.objectid import ObjectId
from fastapi import APIRouter, Body, Depends, FastAPI, Path, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response

from booking_migrate import __version__
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.kinds import utf16_length
from booking_migrate.service.appointment import DAY, RULES, Action, Wish
from booking_migrate.service.errors import BadValue, Busy, Unknown
from booking_migrate.service.http import answers, models
from booking_migrate.service.http.answers import answer_problems, is_passing, refusal, success
from booking_migrate.service.http.gate import AccessLog, Gate, Gatekeeper, WriteLine
from booking_migrate.service.plan import Limits
from booking_migrate.service.repository import Repository, Shown
from booking_migrate.service.view import LONGEST, Filters, meanings

_THREADS_FOR_PROBES = 4

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

_MOVED: dict[str, Any] = {
    "model": models.MovedAnswer,
    "description": "the id is that of an old booking; `Location` is the address of its session",
    "headers": {"Location": {"required": True, "schema": {"type": "string"}}},
}

_bearer = HTTPBearer(
    auto_error=False, description="a JSON Web Token with the user's id in `sub` and an expiry in `exp`"
)


async def _user(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> str:
    """Return the id of the user who sent a request, and leave it to the access log.

    Raises:
        NotSignedIn: the request has no valid token.
    """
    gatekeeper: Gatekeeper = request.app.state.gatekeeper
    user = gatekeeper.user_of(None if credentials is None else credentials.credentials)
    request.state.user = user
    return user


async def _repository(request: Request) -> Repository:
    repository: Repository = request.app.state.repository
    return repository


User = Annotated[str, Depends(_user)]
Bookings = Annotated[Repository, Depends(_repository)]
BookingId = Annotated[
    str, Path(alias="bookingId", min_length=1, max_length=LONGEST, description="`_id` of a client's document")
]
SessionId = Annotated[str, Path(alias="sessionId", pattern=r"^[0-9a-fA-F]{24}$", description="24 hex digits")]

bookings = APIRouter(prefix="/api/bookings", responses=_FAILURES, tags=["bookings"])
probes = APIRouter(tags=["probes"])


@bookings.post("", status_code=201, response_model=models.SessionAnswer, summary="Book a session")
def book(repository: Bookings, user: User, wanted: Annotated[models.BookingRequest, Body()]) -> Response:
    wish = Wish(
        session_type=wanted.session_type,
        duration=wanted.duration,
        scheduled_date=models.milliseconds_of(wanted.scheduled_date),
        start_time=wanted.start_time,
        notes=wanted.notes,
    )
    shown = repository.book(repository.people.caller(user), wanted.expert_id, wish)
    return success(_with_session(shown), message="Session booked successfully", status=201)


@bookings.get("", response_model=models.ListAnswer, summary="List sessions")
def list_sessions(
    repository: Bookings, user: User, wanted: Annotated[models.ListRequest, Query()]
) -> Response:
    filters = _filters(wanted, repository.contract)
    caller = repository.people.caller(user)
    page = repository.list(caller, wanted.role, filters, wanted.sort, page=wanted.page, limit=wanted.limit)
    return success(answers.listing(page))


@bookings.get(
    "/{bookingId}",
    response_model=models.BookingAnswer,
    responses={308: _MOVED},
    summary="Show a client's bookings, or where the session of an old booking is",
)
def show(request: Request, repository: Bookings, user: User, booking_id: BookingId) -> Response:
    caller = repository.people.caller(user)
    try:
        view = repository.find(caller, booking_id)
    except Unknown:
        # Links and messages from before the migration have the id that the booking had then.
        return answers.moved(repository.find_migrated(caller, booking_id), request.scope.get("root_path", ""))
    return success({"booking": answers.booking(view)})


@bookings.get(
    "/{bookingId}/sessions/{sessionId}", response_model=models.SessionAnswer, summary="Show one session"
)
def show_session(repository: Bookings, user: User, booking_id: BookingId, session_id: SessionId) -> Response:
    shown = repository.find_session(repository.people.caller(user), booking_id, ObjectId(session_id))
    return success(_with_session(shown))


@bookings.put(
    "/{bookingId}/confirm", response_model=models.SessionAnswer, summary="Confirm a session, as its expert"
)
def confirm(
    repository: Bookings, user: User, booking_id: BookingId, meant: Annotated[models.SessionRequest, Body()]
) -> Response:
    return _change(repository, user, booking_id, Action.CONFIRM, meant)


@bookings.put("/{bookingId}/cancel", response_model=models.SessionAnswer, summary="Cancel a session")
def cancel(
    repository: Bookings, user: User, booking_id: BookingId, meant: Annotated[models.CancelRequest, Body()]
) -> Response:
    longest = repository.contract.maximum_cancellation_reason_length
    if meant.reason is not None and utf16_length(meant.reason) > longest:
        raise BadValue("reason", f"at most {longest} UTF-16 units")
    return _change(repository, user, booking_id, Action.CANCEL, meant)


@bookings.put(
    "/{bookingId}/complete", response_model=models.SessionAnswer, summary="Complete a session, as its expert"
)
def complete(
    repository: Bookings, user: User, booking_id: BookingId, meant: Annotated[models.SessionRequest, Body()]
) -> Response:
    return _change(repository, user, booking_id, Action.COMPLETE, meant)


@probes.get("/health", response_model=models.Health, summary="The process is alive")
async def health() -> Response:
    return success({"status": "alive"})


@probes.get(
    "/ready", response_model=models.Health, responses={503: _FAILURES[503]}, summary="The primary answers"
)
def ready(repository: Bookings) -> Response:
    try:
        repository.check_ready()
    except Exception as error:
        if is_passing(error):
            return refusal(Busy("the database does not answer"))
        raise
    return success({"status": "ready"})


def _change(
    repository: Repository, user: str, booking_id: str, action: Action, meant: models.SessionRequest
) -> Response:
    caller = repository.people.caller(user)
    reason = meant.reason if isinstance(meant, models.CancelRequest) else None
    shown = repository.change(caller, booking_id, ObjectId(meant.session_id), action, reason)
    return success(_with_session(shown), message=f"Session {RULES[action].becomes} successfully")


def _with_session(shown: Shown) -> dict[str, Any]:
    return {
        "booking": answers.booking(shown.booking),
        "session": answers.plain(shown.session.fields),
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
        first=None if wanted.first is None else models.milliseconds_of(wanted.first),
        behind=None if wanted.last is None else models.milliseconds_of(wanted.last) + DAY,
    )


def make_application(
    repository: Repository,
    gatekeeper: Gatekeeper,
    *,
    limits: Limits,
    write_line: WriteLine,
    hosts: Sequence[str] = ("*",),
) -> FastAPI:
    """Build the application.

    Args:
        repository: the bookings.
        gatekeeper: authenticates requests.
        limits: of concurrent requests and bodies.
        write_line: receives the lines of the access log.
        hosts: the host names that requests may use.
    """

    @asynccontextmanager
    async def lifespan(_application: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = limits.concurrent + _THREADS_FOR_PROBES
        yield

    # The page at /docs takes its assets from a package: a production network often has no way to a CDN.
    application = FastAPIOffline(
        redoc_url=None,
        # Swagger UI would ask a host of its vendor whether the description is valid.
        swagger_ui_parameters={"validatorUrl": None},
        title="Bookings",
        version=__version__,
        description="Bookings in the new structure: one document per client, with sessions. Bookings that are not migrated yet are shown and changed as sessions, too.",
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[
            Middleware(AccessLog, write=write_line),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)),
            Middleware(Gate, limits=limits),
        ],
    )
    answer_problems(application)
    application.state.repository = repository
    application.state.gatekeeper = gatekeeper
    application.include_router(bookings)
    application.include_router(probes)
    return application

"""The application, assembled from its parts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from booking_migrate import __version__
from booking_migrate.domain.contract import Contract
from booking_migrate.service.http.access import Gatekeeper
from booking_migrate.service.http.access_log import AccessLog, WriteLine
from booking_migrate.service.http.answers import answer_problems
from booking_migrate.service.http.gate import Gate, Limits
from booking_migrate.service.http.routes import booking_routes, probe_routes
from booking_migrate.service.repository import Repository

_THREADS_FOR_PROBES = 4


def make_application(
    repository: Repository,
    gatekeeper: Gatekeeper,
    *,
    contract: Contract,
    limits: Limits,
    write_line: WriteLine,
    hosts: Sequence[str] = ("*",),
) -> FastAPI:
    """Build the application.

    Args:
        repository: the bookings.
        gatekeeper: authenticates requests.
        contract: the allowed values.
        limits: of concurrent requests and bodies.
        write_line: receives the lines of the access log.
        hosts: the host names that requests may use.
    """

    @asynccontextmanager
    async def lifespan(_application: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = limits.concurrent + _THREADS_FOR_PROBES
        yield

    application = FastAPI(
        title="Bookings",
        version=__version__,
        description="Bookings in the new structure: one document per client, with sessions. Bookings that are not migrated yet are shown and changed as sessions, too.",
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[
            Middleware(AccessLog, write=write_line),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)),
            Middleware(Gate, limits=limits),
        ],
    )
    answer_problems(application)
    application.include_router(booking_routes(repository, gatekeeper, contract))
    application.include_router(probe_routes(repository))
    return application

"""The booking service over real HTTP, in a thread of this process."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import uvicorn
from bson.objectid import ObjectId

from booking_migrate.domain.ids import session_id
from booking_migrate.service.http.application import make_application
from booking_migrate.service.http.gate import Gatekeeper, TokenRules
from booking_migrate.service.plan import Limits
from booking_migrate.service.repository import Repository
from tests.support.platform import booking_id, document, expert

SECRET = "a secret of the tests, of more than 64 bytes, which is what HS512 wants"
_STARTUP_SECONDS = 30

DOCUMENT = document(0)
"""The id of user 0's document."""

SESSION = str(session_id(booking_id(0), 0))
"""The id of its first session, which is with expert 0."""

WISH = {
    "expertId": str(expert(0)),
    "sessionType": "chat",
    "duration": 30,
    "scheduledDate": "2025-08-29",
    "startTime": "12:30",
    "notes": "Service: Resume Review",
}
"""The body of a request to book."""


def token(user: ObjectId | str, *, key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A token for a user; valid for an hour unless the claims say otherwise."""
    own = {"sub": str(user), "exp": int(time.time()) + 3600}
    return jwt.encode({**own, **claims}, key, algorithm)


@dataclass(frozen=True)
class Service:
    """A service that listens."""

    url: str
    log: list[str] = field(default_factory=list)
    """The lines of its access log."""

    def logged(self, count: int) -> list[str]:
        """The first so many lines of the log; each is written right after its answer was sent."""
        deadline = time.monotonic() + _STARTUP_SECONDS
        while len(self.log) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.log[:count]

    def client(self, user: ObjectId | str | None = None) -> httpx.Client:
        """A client that asks as this user, or as nobody; the caller closes it."""
        headers = {} if user is None else {"Authorization": f"Bearer {token(user)}"}
        # There is no TLS here, and reading the certificates of all authorities takes longer than a request.
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, verify=False)


@contextmanager
def serving(
    repository: Repository, *, limits: Limits | None = None, gatekeeper: Gatekeeper | None = None
) -> Iterator[Service]:
    """A service over a repository, for as long as the context lasts."""
    # With the protocol named: else asyncio leaves Nagle's algorithm on, and each answer takes 40 ms.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        service = Service(f"http://127.0.0.1:{listener.getsockname()[1]}")
        application = make_application(
            repository,
            gatekeeper or Gatekeeper(TokenRules(SECRET.encode(), "HS256")),
            limits=limits or Limits(),
            write_line=service.log.append,
        )
        server = uvicorn.Server(uvicorn.Config(application, log_config=None, access_log=False, backlog=1024))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), name="service")
        thread.start()
        try:
            deadline = time.monotonic() + _STARTUP_SECONDS
            while not server.started:
                assert thread.is_alive(), "the service did not start"
                assert time.monotonic() < deadline, "the service did not start in time"
                time.sleep(0.005)
            yield service
        finally:
            server.should_exit = True
            thread.join(_STARTUP_SECONDS)

"""Limits of incoming work: concurrent and waiting requests, and the size, type and duration of bodies."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from booking_migrate.service.errors import Busy
from booking_migrate.service.http.answers import failure, refusal

PROBES = ("/health", "/ready")
"""Paths that are answered under any load."""

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of concurrent requests and of their bodies."""

    concurrent: int = 32
    """Requests that are handled concurrently."""

    waiting: int = 512
    """Requests that wait in the queue; further ones are answered with 503."""

    body: int = 64 * 1024
    """The largest body of a request, in bytes."""

    seconds: float = 10.0
    """How long the body of a request may take to arrive."""


class Gate:
    """Middleware that limits concurrent requests and queues a few more."""

    def __init__(self, application: ASGIApp, limits: Limits) -> None:
        """Wrap an application."""
        self._application = application
        self._limits = limits
        self._inside = 0
        self._concurrent = asyncio.Semaphore(limits.concurrent)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._application(scope, receive, send)
            return
        if self._inside >= self._limits.concurrent + self._limits.waiting:
            await refusal(Busy("too many requests at once"))(scope, receive, send)
            return
        self._inside += 1
        try:
            # The body is read before a slot is taken, so that slow clients do not block others.
            body = await self._take_in(scope, receive)
            if isinstance(body, Response):
                await body(scope, receive, send)
                return
            async with self._concurrent:
                await self._application(scope, _replay(body, receive), send)
        finally:
            self._inside -= 1

    async def _take_in(self, scope: Scope, receive: Receive) -> bytes | Response:
        """Read the whole body; return an answer instead if it is refused."""
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._limits.body:
            return self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return Response(status_code=408)
                    body += message.get("body", b"")
                    if len(body) > self._limits.body:
                        return self._too_large()
                    more = message.get("more_body", False)
        except TimeoutError:
            return failure(408, "the body took too long to arrive", headers={"Connection": "close"})
        content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if scope["method"] in _WITH_BODY and content_type != b"application/json":
            return failure(
                415, "the body must be application/json", [("Content-Type", "not application/json")]
            )
        return bytes(body)

    def _too_large(self) -> Response:
        problem = f"the body is larger than {self._limits.body} bytes"
        # The rest of the body stays unread, so the connection cannot be reused.
        return failure(413, problem, [("body", problem)], headers={"Connection": "close"})


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Return a receive function that replays the body as one message, then passes on further messages."""
    pending: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return pending.pop() if pending else await receive()

    return next_message

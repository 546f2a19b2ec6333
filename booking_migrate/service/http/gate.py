"""How much work comes in: so many requests at once, so many waiting, bodies so large, of one type, and no slow ones."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from booking_migrate.service.errors import Busy
from booking_migrate.service.http.answers import failure, refusal

PROBES = ("/health", "/ready")
"""What is always answered, however much there is to do."""

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work is done at a time."""

    at_work: int = 32
    """Requests that are worked on at once."""

    waiting: int = 512
    """Requests that wait for their turn; whoever comes then is sent away with 503."""

    body: int = 64 * 1024
    """The largest body of a request, in bytes."""

    seconds: float = 10.0
    """How long the body of a request may take to arrive."""


class Gate:
    """Lets so many requests through at once, and lets some wait."""

    def __init__(self, application: ASGIApp, limits: Limits) -> None:
        """Stand before an application."""
        self._application = application
        self._limits = limits
        self._inside = 0
        self._at_work = asyncio.Semaphore(limits.at_work)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._application(scope, receive, send)
            return
        if self._inside >= self._limits.at_work + self._limits.waiting:
            await refusal(Busy("too many requests at once"))(scope, receive, send)
            return
        self._inside += 1
        try:
            # The body first: who is slow in sending it keeps nobody from working.
            body = await self._take_in(scope, receive)
            if isinstance(body, Response):
                await body(scope, receive, send)
                return
            async with self._at_work:
                await self._application(scope, _replay(body, receive), send)
        finally:
            self._inside -= 1

    async def _take_in(self, scope: Scope, receive: Receive) -> bytes | Response:
        """The whole body, or the answer to one that is not taken."""
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
        # What is left of it is not read: the connection cannot be used again.
        return failure(413, problem, [("body", problem)], headers={"Connection": "close"})


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """The body as one message, then whatever comes from outside."""
    pending: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return pending.pop() if pending else await receive()

    return next_message

"""One line of JSON per request, without headers, query and body, so without tokens and personal notes."""

import json
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from booking_migrate.service.http.answers import failure

_LONGEST = 200

WriteLine = Callable[[str], None]


class AccessLog:
    """Middleware that logs each request with its result, and answers requests that failed unexpectedly."""

    def __init__(self, application: ASGIApp, write: WriteLine) -> None:
        """Wrap an application.

        Args:
            application: the wrapped application.
            write: receives one line without its line end.
        """
        self._application = application
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        started = time.monotonic()
        scope.setdefault("state", {})
        line: dict[str, Any] = {"status": None, "bytes": 0}

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                line["status"] = message["status"]
            line["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._application(scope, receive, watch)
        except Exception as error:  # noqa: BLE001 - the last place where an answer can be sent
            line |= {"error": type(error).__name__, "at": _place(error)}
            if line["status"] is None:
                await failure(500, "something went wrong here")(scope, receive, watch)
        finally:
            self._write(
                json.dumps({**_request(scope), **line, "ms": round((time.monotonic() - started) * 1000, 1)})
            )


def _request(scope: Scope) -> dict[str, Any]:
    client = scope.get("client")
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "client": client[0] if client else None,
        "user": scope["state"].get("user"),
        "method": scope["method"],
        "path": scope["path"][:_LONGEST],
    }


def _place(error: Exception) -> list[str]:
    """Return the last frames of an error's traceback. Its text is not logged: it may quote a document."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]

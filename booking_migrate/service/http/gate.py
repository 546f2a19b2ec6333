"""What a request passes before the routes: the access log, limits of incoming work, and authentication.

`AccessLog` writes one line of JSON per request, without headers, query and body, so without tokens and personal notes.
`Gate` limits concurrent and waiting requests, and the size, type and duration of bodies. `Gatekeeper` takes bearer
tokens (RFC 7519), or one fixed user for a trial on this machine.
"""

import asyncio
import json
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from booking_migrate.errors import BadConfiguration
from booking_migrate.service.errors import Busy, NotSignedIn
from booking_migrate.service.http.answers import failure, refusal
from booking_migrate.service.plan import Limits
from booking_migrate.service.view import LONGEST

_LONGEST_PATH = 200

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
        "path": scope["path"][:_LONGEST_PATH],
    }


def _place(error: Exception) -> list[str]:
    """Return the last frames of an error's traceback. Its text is not logged: it may quote a document."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]


PROBES = ("/health", "/ready")
"""Paths that are answered under any load."""

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


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


KEY = "BOOKING_MIGRATE_JWT_KEY"
ALGORITHM = "BOOKING_MIGRATE_JWT_ALGORITHM"
AUDIENCE = "BOOKING_MIGRATE_JWT_AUDIENCE"
ISSUER = "BOOKING_MIGRATE_JWT_ISSUER"

_SHORTEST_SECRET = 32
"""Bytes: the size of a SHA-256 hash (RFC 7518, section 3.2)."""

_SHORTEST_RSA = 2048
"""Bits (RFC 7518, section 3.3)."""

_SECRET, _PUBLIC_KEY = "HS256", "RS256"


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The conditions that a token has to meet."""

    key: Any
    algorithm: str
    """The one algorithm that fits the key; the algorithm that a token names is ignored."""

    audience: str | None = None
    issuer: str | None = None

    def user_of(self, token: str) -> str:
        """Return the id of the user that a token was issued to.

        Raises:
            NotSignedIn: the token is invalid or has expired.
        """
        try:
            claims = jwt.decode(
                token,
                self.key,
                algorithms=[self.algorithm],
                audience=self.audience,
                issuer=self.issuer,
                options={"require": ["exp", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise NotSignedIn("the token has expired") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise NotSignedIn("the token is not valid") from None
        user = claims["sub"]
        if not isinstance(user, str) or not 0 < len(user) <= LONGEST or not user.isprintable():
            raise NotSignedIn("the token names no user")
        return user


def read_rules(environment: Mapping[str, str]) -> TokenRules | None:
    """Read the rules from environment variables; None if they contain no key.

    Raises:
        BadConfiguration: the key cannot be used, or does not fit the algorithm.
    """
    key = environment.get(KEY, "")
    if not key:
        return None
    is_pem = "-----BEGIN" in key
    fitting = _PUBLIC_KEY if is_pem else _SECRET
    wanted = environment.get(ALGORITHM) or fitting
    if wanted != fitting:
        kind = "a public key in PEM" if is_pem else "a secret"
        raise BadConfiguration(ALGORITHM, f"{wanted!r} does not go with {kind}, which is for {fitting}")
    usable = _read_public_key(key) if is_pem else key.encode()
    if not is_pem and len(usable) < _SHORTEST_SECRET:
        raise BadConfiguration(KEY, f"a secret has at least {_SHORTEST_SECRET} bytes")
    return TokenRules(usable, fitting, environment.get(AUDIENCE) or None, environment.get(ISSUER) or None)


def _read_public_key(text: str) -> Any:
    if "PRIVATE KEY" in text:
        raise BadConfiguration(
            KEY, "this is a private key; use the public key, which is enough to check tokens"
        )
    try:
        # Many places that set variables allow a single line only.
        key = load_pem_public_key(text.replace("\\n", "\n").strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise BadConfiguration(KEY, "this is not a public key in PEM") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < _SHORTEST_RSA:
        raise BadConfiguration(KEY, f"RS256 needs an RSA key of at least {_SHORTEST_RSA} bits")
    return key


class Gatekeeper:
    """Authenticates requests."""

    def __init__(self, rules: TokenRules | None, *, insecure_user: str | None = None) -> None:
        """Set the rules, or the one user of all requests.

        Args:
            rules: the conditions for tokens; None: no token is valid.
            insecure_user: the user of every request, without a token; for trials on a local machine.
        """
        self._rules = rules
        self._insecure_user = insecure_user

    def user_of(self, token: str | None) -> str:
        """Return the id of the user who sent a request with this bearer token, or without one.

        Raises:
            NotSignedIn: the request has no valid token.
        """
        if self._insecure_user is not None:
            return self._insecure_user
        if token is None or self._rules is None:
            raise NotSignedIn("a bearer token is needed")
        return self._rules.user_of(token)

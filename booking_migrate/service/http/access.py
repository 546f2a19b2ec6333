"""Authentication: bearer tokens (RFC 7519), or one fixed user for a trial on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from booking_migrate.errors import BadConfiguration
from booking_migrate.service.errors import NotSignedIn
from booking_migrate.service.identifiers import LONGEST

KEY = "BOOKING_MIGRATE_JWT_KEY"
ALGORITHM = "BOOKING_MIGRATE_JWT_ALGORITHM"
AUDIENCE = "BOOKING_MIGRATE_JWT_AUDIENCE"
ISSUER = "BOOKING_MIGRATE_JWT_ISSUER"

_SHORTEST_SECRET = 32
"""Bytes: the size of a SHA-256 hash (RFC 7518, section 3.2)."""

_SHORTEST_RSA = 2048
"""Bits (RFC 7518, section 3.3)."""

_SECRET, _PUBLIC_KEY = "HS256", "RS256"
_BEARER = HTTPBearer(
    auto_error=False, description="a JSON Web Token with the user's id in `sub` and an expiry in `exp`"
)


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
    # Many places that set variables allow a single line only.
    key = environment.get(KEY, "").replace("\\n", "\n")
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
        key = load_pem_public_key(text.strip().encode())
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

    async def user(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
    ) -> str:
        """Return the id of the user who sent a request.

        Raises:
            NotSignedIn: the request has no valid token.
        """
        if self._insecure_user is not None:
            user = self._insecure_user
        elif credentials is None or self._rules is None:
            raise NotSignedIn("a bearer token is needed")
        else:
            user = self._rules.user_of(credentials.credentials)
        request.state.user = user
        return user

"""Who asks: bearer tokens (RFC 7519), or one user for all in a trial on this machine."""

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
"""Bytes: as many as SHA-256 gives (RFC 7518, section 3.2)."""

_SHORTEST_RSA = 2048
"""Bits (RFC 7518, section 3.3)."""

_SECRET, _PUBLIC_KEY = "HS256", "RS256"
_BEARER = HTTPBearer(
    auto_error=False, description="a JSON Web Token with the user's id in `sub` and an expiry in `exp`"
)


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token has to be."""

    key: Any
    algorithm: str
    """The one algorithm that goes with the key; what a token says of itself does not count."""

    audience: str | None = None
    issuer: str | None = None

    def user_of(self, token: str) -> str:
        """The user that a token is for.

        Raises:
            NotSignedIn: the token is not valid, or not any more.
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
    """The rules that the environment sets; None if it has no key.

    Raises:
        BadConfiguration: the key cannot be used, or not with the algorithm that is asked for.
    """
    # In many places a variable can hold but one line.
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
            KEY, "this is a private key; give the public one, which is enough to check tokens"
        )
    try:
        key = load_pem_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise BadConfiguration(KEY, "this is no public key in PEM") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < _SHORTEST_RSA:
        raise BadConfiguration(KEY, f"RS256 needs an RSA key of at least {_SHORTEST_RSA} bits")
    return key


class Gatekeeper:
    """Tells who asks."""

    def __init__(self, rules: TokenRules | None, *, insecure_user: str | None = None) -> None:
        """Take the rules, or the one user whom everybody counts as.

        Args:
            rules: what a token has to be; None: no token is valid.
            insecure_user: everybody counts as this user, without a token; for trials on one's own machine.
        """
        self._rules = rules
        self._insecure_user = insecure_user

    async def user(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
    ) -> str:
        """The id of the user who asks.

        Raises:
            NotSignedIn: nobody knows who it is.
        """
        if self._insecure_user is not None:
            user = self._insecure_user
        elif credentials is None or self._rules is None:
            raise NotSignedIn("a bearer token is needed")
        else:
            user = self._rules.user_of(credentials.credentials)
        request.state.user = user
        return user

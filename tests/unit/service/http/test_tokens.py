"""Keys and tokens: one algorithm for each kind of key, whatever a token says of itself."""

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from booking_migrate.errors import BadConfiguration
from booking_migrate.service.errors import NotSignedIn
from booking_migrate.service.http.gate import ALGORITHM, AUDIENCE, ISSUER, KEY, TokenRules, read_rules

SECRET = "a secret of the tests, of more than 32 bytes"
PRIVATE = rsa.generate_private_key(65537, 2048)


def public_pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return encoded.decode()


def private_pem(key: Any) -> str:
    form = serialization.PrivateFormat.PKCS8
    encoded: bytes = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return encoded.decode()


PUBLIC = public_pem(PRIVATE)


def claims(**changes: Any) -> dict[str, Any]:
    return {"sub": "7", "exp": int(time.time()) + 3600, **changes}


def rules(**environment: str) -> TokenRules:
    found = read_rules(environment)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("key", "signing", "algorithm"),
    [
        pytest.param(SECRET, SECRET, "HS256", id="a secret"),
        pytest.param(f"{SECRET}\\n", f"{SECRET}\\n", "HS256", id="a secret with a backslash"),
        pytest.param(PUBLIC, PRIVATE, "RS256", id="a public key"),
        pytest.param(PUBLIC.replace("\n", "\\n"), PRIVATE, "RS256", id="a public key in one line"),
    ],
)
def test_the_kind_of_key_settles_the_algorithm(key: str, signing: Any, algorithm: str) -> None:
    """A secret is for HS256 and a public key for RS256; saying so changes nothing."""
    signed = jwt.encode(claims(), signing, algorithm)

    assert "7" == rules(**{KEY: key}).user_of(signed)
    assert "7" == rules(**{KEY: key, ALGORITHM: algorithm}).user_of(signed)


def test_a_public_key_is_no_secret() -> None:
    """A token signed with the public key as if it were a secret is not valid."""
    header, payload = jwt.encode(claims(), SECRET, "HS256").split(".")[:2]
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = jwt.utils.base64url_encode(
        hmac.sign(f"{header}.{payload}".encode(), PUBLIC.encode())
    ).decode()

    with pytest.raises(NotSignedIn):
        rules(**{KEY: PUBLIC}).user_of(f"{header}.{payload}.{signature}")


def test_no_key() -> None:
    """Without a key there are no rules, and there is no default."""
    assert read_rules({}) is None
    assert read_rules({KEY: ""}) is None


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({KEY: "only 22 bytes, not 32"}, id="a short secret"),
        pytest.param({KEY: SECRET, ALGORITHM: "RS256"}, id="a secret for RS256"),
        pytest.param({KEY: PUBLIC, ALGORITHM: "HS256"}, id="a public key for HS256"),
        pytest.param({KEY: SECRET, ALGORITHM: "none"}, id="no algorithm"),
        pytest.param({KEY: private_pem(PRIVATE)}, id="a private key"),
        pytest.param({KEY: public_pem(rsa.generate_private_key(65537, 1024))}, id="a short key"),
        pytest.param({KEY: public_pem(ec.generate_private_key(ec.SECP256R1()))}, id="a key of another kind"),
        pytest.param({KEY: "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"}, id="no key"),
    ],
)
def test_keys_that_cannot_be_used(environment: dict[str, str]) -> None:
    """A key that is weak, of another kind or broken is refused, and never quoted."""
    with pytest.raises(BadConfiguration) as refused:
        read_rules(environment)

    assert environment[KEY] not in str(refused.value)


def test_audience_and_issuer() -> None:
    """Where an audience or an issuer is set, only tokens of it count."""
    strict = rules(**{KEY: SECRET, AUDIENCE: "bookings", ISSUER: "platform"})

    assert "7" == strict.user_of(jwt.encode(claims(aud="bookings", iss="platform"), SECRET))
    for others in ({}, {"aud": "bookings"}, {"aud": "shop", "iss": "platform"}):
        with pytest.raises(NotSignedIn):
            strict.user_of(jwt.encode(claims(**others), SECRET))


@pytest.mark.parametrize("absent", ["sub", "exp"])
def test_what_a_token_must_have(absent: str) -> None:
    """A token without a user or without an expiry is not valid."""
    own = claims()
    del own[absent]

    with pytest.raises(NotSignedIn):
        rules(**{KEY: SECRET}).user_of(jwt.encode(own, SECRET))

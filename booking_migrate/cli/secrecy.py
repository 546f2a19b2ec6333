"""Keeping connection strings out of every output (DESIGN.md, invariant 9)."""

import re
from collections.abc import Iterable
from urllib.parse import unquote, unquote_plus

# One slash is enough: a path has lost the second one.
_USER_INFO = re.compile(r"(://?)[^\s'\"]*@")
_SECRET_PARAMETERS = re.compile(r"[?&](?:[^=&]*password|authmechanismproperties)=([^&#]*)", re.IGNORECASE)
_SHORTEST = 3
_MASK = "***"


def secrets_of(uri: str | None) -> frozenset[str]:
    """The parts of a connection string that nobody may see, as written and as decoded.

    Args:
        uri: a connection string; it need not be a sound one. None if there is none.
    """
    if not uri:
        return frozenset()
    user_info, at, _ = uri.partition("://")[2].rpartition("@")
    found = [uri, *_SECRET_PARAMETERS.findall(uri)]
    if at:
        found += [user_info, user_info.partition(":")[2]]
    decoded = [form for text in found for form in (text, unquote(text), unquote_plus(text))]
    # A shorter secret occurs in text by chance, and masking each letter of a message would give it away.
    return frozenset(text for text in decoded if len(text) >= _SHORTEST)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without the secrets, and without user and password in anything that looks like a connection string."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return _USER_INFO.sub(rf"\1{_MASK}@", text)

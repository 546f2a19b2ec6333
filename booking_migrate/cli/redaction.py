"""Redaction: a password in a connection string never appears in any output, file or state."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote, unquote_plus

# One slash is enough: a path has lost the second one.
_USER_INFO = re.compile(r"(://?)[^\s'\"]*@")
# A password that is not encoded may hold blanks and quotes, so that everything up to the last @ may belong to it.
_CONNECTION_STRING = re.compile(r"(mongodb(?:\+srv)?:/+)[^\n]*@", re.IGNORECASE)
_SECRET_PARAMETERS = re.compile(r"[?&](?:[^=&]*password|authmechanismproperties)=([^&#]*)", re.IGNORECASE)
_SCHEME = re.compile(r"mongodb(?:\+srv)?:/", re.IGNORECASE)
_DELIMITERS = re.compile(r"[:/?#\[\]@%&=;,\s]+")
_ENCODED = re.compile(r"[^:/?#\[\]@\s]*(?::[^:/?#\[\]@\s]*)?")
_SHORTEST = 3
_MASK = "***"


def secrets_of(uri: str | None) -> frozenset[str]:
    """Return the parts of a connection string that must not be shown, as written, as decoded, and as Python quotes them.

    Args:
        uri: a connection string; it need not be valid. None if none is given.
    """
    if not uri or not uri.strip():
        return frozenset()
    uri = uri.strip()
    user_info, at, _ = (uri.partition("://")[2] or uri).rpartition("@")
    found = [uri, *_SECRET_PARAMETERS.findall(uri)]
    if at:
        found += [user_info, user_info.partition(":")[2]]
        # Not encoded: it is not certain which part is what, and messages may quote any of them.
        if not _ENCODED.fullmatch(user_info):
            found += _DELIMITERS.split(user_info)
    decoded = [form for text in found for form in (text, unquote(text), unquote_plus(text))]
    quoted = [form for text in decoded for form in (text, repr(text)[1:-1])]
    # A shorter secret occurs in text by chance, and masking each letter of a message would reveal it.
    return frozenset(text for text in quoted if len(text) >= _SHORTEST)


def secrets_among(arguments: Sequence[str]) -> frozenset[str]:
    """Return the secret parts of connection strings on a command line, also of one that the shell has split at blanks."""
    found: set[str] = set()
    for index, argument in enumerate(arguments):
        start = _SCHEME.search(argument)
        if not start:
            continue
        found |= secrets_of(argument[start.start() :])
        if "@" in argument:
            continue
        chunks = [argument[start.start() :]]
        for chunk in arguments[index + 1 :]:
            if chunk.startswith("--"):
                break
            chunks.append(chunk)
            if "@" in chunk:
                found |= secrets_of(" ".join(chunks)) | {chunk, repr(chunk)[1:-1]}
                break
    return frozenset(found)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without the secrets, and without user and password in anything that looks like a connection string."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return _USER_INFO.sub(rf"\1{_MASK}@", _CONNECTION_STRING.sub(rf"\1{_MASK}@", text))

"""One client for a run, the collections behind it, and what is wrong with a connection string.

That is found before the driver acts on the string, and without quoting a secret.
"""

import atexit
import re
import warnings
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.common import URI_OPTIONS_VALIDATOR_MAP
from pymongo.errors import ConfigurationError, InvalidName, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.synchronous import monitor
from pymongo.uri_parser import parse_uri

from booking_migrate.bson.document import CODEC, Document
from booking_migrate.errors import (
    AuthenticationModuleMissing,
    BadConfiguration,
    MissingUri,
    NameTooLong,
    NotThePrimary,
    SrvModuleMissing,
)
from booking_migrate.stores.mongo.failures import SYSTEM_DATABASES, read
from booking_migrate.stores.mongo.retry import majority_written
from booking_migrate.stores.mongo.servers import watch_primary

DriverCollection = Collection[Document]

DECODED: CodecOptions[Document] = CODEC.with_options(unicode_decode_error_handler="surrogateescape")
"""For what the driver decodes itself: a text that is not valid UTF-8 comes as surrogate escapes, which lose nothing."""

TIMES: CodecOptions[Document] = CodecOptions(tz_aware=True, unicode_decode_error_handler="surrogateescape")
"""For the program's own collections, whose dates are times that Python knows."""

APP_NAME = "booking-migrate"
"""How the program names itself to the server, where its connections and operations are listed."""

_LONGEST_NAME = 255
"""How many bytes the name of a collection may have, with that of its database (manual, limits)."""

_SELECTION_TIMEOUT = 5000
"""How long to look for a server unless the connection string says otherwise, in milliseconds."""

_BRIEFLY: dict[str, Any] = dict.fromkeys(
    ("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS"), 1000
)
"""How long a server may take to say what only makes a message better."""

_SRV = "mongodb+srv://"
_PLAIN = "mongodb://"
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SECRET_OPTIONS = frozenset({"tlscertificatekeyfilepassword", "authmechanismproperties"})
_TLS_FILES = {
    "tlscafile": "tlsCAFile",
    "tlscertificatekeyfile": "tlsCertificateKeyFile",
    "tlscrlfile": "tlsCRLFile",
}
_MODULES = {
    "MONGODB-AWS": (("pymongo_auth_aws",), "aws"),
    "GSSAPI": (("kerberos", "winkerberos"), "gssapi"),
}
"""Which modules an authentication mechanism needs, any one of them, and the driver's extra that brings them."""

_CODES = "@ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25"
ENCODING_HINT = f"Percent-encode the user name and the password: {_CODES}."
_PASSWORD_HINT = f"Percent-encode the password ({_CODES}) and put it behind the user name, as in mongodb://USER:PASSWORD@HOST/DATABASE."
_FORM_HINT = "A connection string has the form mongodb://HOST:PORT/DATABASE?OPTION=VALUE."


def make_client(uri: str) -> MongoClient[Document]:
    """Make a client that connects when it is first used.

    Raises:
        BadConfiguration: the connection string cannot be used. The string is not quoted.
    """
    # At the end of the process the driver would wait up to half a second for its monitors to wake up and notice; they are
    # daemons, and end with it anyway.
    wait_for_monitors = getattr(monitor, "_shutdown_resources", None)
    if wait_for_monitors is not None:
        atexit.unregister(wait_for_monitors)
    options: dict[str, Any] = {"appname": APP_NAME}
    if "serverselectiontimeoutms" not in uri.lower():
        options["serverSelectionTimeoutMS"] = _SELECTION_TIMEOUT
    try:
        with warnings.catch_warnings():
            # What the driver would say to standard error, `parse` has said already.
            warnings.simplefilter("ignore")
            client: MongoClient[Document] = MongoClient(uri, connect=False, **options)
    except (OSError, ConfigurationError) as error:
        has_tls = any(f"{name}=" in uri.lower() for name in _TLS_FILES)
        raise tls_problem(uri, error) if has_tls else _unusable(uri, error) from None
    except (PyMongoError, ValueError, TypeError) as error:
        raise _unusable(uri, error) from None
    watch_primary(client)
    return client


def _unusable(uri: str, error: Exception) -> BadConfiguration:
    # The driver quotes parts of a string that it cannot take apart, and with them perhaps the password.
    reason = "" if "@" in uri else f": {error}"
    return BadConfiguration(
        "--uri", f"no valid connection string{reason}", ENCODING_HINT if "@" in uri else ""
    )


def check_uri(uri: str) -> None:
    """Check a connection string, and warn of each option that has no effect.

    Raises:
        BadConfiguration: the connection string cannot be used.
        AuthenticationModuleMissing: it needs a module that is not installed.
    """
    for complaint in parse(uri)[1]:
        warnings.warn(complaint, stacklevel=2)


def find_database_name(uri: str, place: str) -> str:
    """Return the database in a connection string's path.

    Raises:
        MissingUri: the path is empty.
        BadConfiguration: the connection string cannot be used.
    """
    database, _ = parse(uri)
    if not database:
        raise MissingUri(place, has_server=True, databases=_databases(uri))
    return database


def _databases(uri: str) -> list[str]:
    """Return the names of a server's databases that hold data of users; none if it does not say, or does not answer at once."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with MongoClient[Document](uri, appname=APP_NAME, **_BRIEFLY) as client:
                return sorted(set(client.list_database_names()) - SYSTEM_DATABASES)
    except (PyMongoError, OSError, ValueError, TypeError):
        # The error that a database must be named is the one to report.
        return []


def open_collection(client: MongoClient[Document], database: str, name: str) -> DriverCollection:
    """Return a collection with majority read and write concern on the primary, whatever the connection string says.

    The same goes for its database, and for what is opened there.

    Raises:
        BadConfiguration: the database's name is not valid.
        NameTooLong: the collection's is too long.
    """
    check_name(database, name)
    try:
        opened = client.get_database(
            database,
            codec_options=DECODED,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=majority_written(),
        )
    except InvalidName as error:
        raise BadConfiguration("--db", str(error)) from None
    return opened.get_collection(name)


def excess_of(database: str, name: str) -> int:
    """Return by how many bytes the name of a collection is too long for its database; at most 0: it is not."""
    return len(f"{database}.{name}".encode()) - _LONGEST_NAME


def check_name(database: str, name: str) -> None:
    """Refuse a name that no collection of a database can have.

    Raises:
        NameTooLong: it is too long.
    """
    if (excess := excess_of(database, name)) > 0:
        raise NameTooLong(name, database, excess)


def check_member(client: MongoClient[Document]) -> None:
    """Refuse a connection to a single member that is not the primary: reads from a secondary may be stale.

    Raises:
        NotThePrimary: it is a secondary, an arbiter, or not ready.
        ConnectionProblem: it does not answer.
    """
    if client.topology_description.topology_type_name != "Single":
        return
    admin = client.get_database("admin")
    asked = read(admin.get_collection("system.version"), lambda: admin.command("hello"), waits=False)
    if "setName" not in asked or asked["isWritablePrimary"]:
        return
    if asked.get("arbiterOnly"):
        state = "an arbiter"
    else:
        state = "a secondary" if asked.get("secondary") else "neither primary nor secondary"
    raise NotThePrimary(asked["me"], state, asked["setName"], ",".join(asked.get("hosts", [asked["me"]])))


def describe(collection: DriverCollection, *, waits: bool = True) -> Mapping[str, Any] | None:
    """Return what the server lists about a collection or view (``type``, ``options``), or None if it does not exist.

    ``waits`` as of `retry.with_retry`.
    """
    named = {"name": collection.name}
    find = partial(collection.database.list_collections, filter=named, authorizedCollections=True)
    return next(iter(read(collection, lambda: list(find()), waits=waits)), None)


def parse(uri: str) -> tuple[str | None, list[str]]:
    """Take a connection string apart and check each of its options.

    Returns:
        The database, and what the driver will ignore, one sentence each.

    Raises:
        BadConfiguration: it cannot be parsed, or an option has an impossible value.
        AuthenticationModuleMissing: it names an authentication mechanism whose module is not installed.
        SrvModuleMissing: it has an SRV name, and the module that resolves it is not installed.
    """
    _check_encoding(uri)
    # The scheme with +srv would ask a name server, which neither the database's name nor the options depend on.
    plain = uri.replace(_SRV, _PLAIN, 1)
    options = list(_options(plain))
    try:
        parsed = parse_uri(plain.partition("?")[0], validate=False, warn=False)
    except (PyMongoError, ValueError) as error:
        # The driver quotes parts of a string that it cannot take apart, and with them perhaps the password.
        if "@" in uri:
            raise BadConfiguration("--uri", "no valid connection string", ENCODING_HINT) from None
        raise BadConfiguration(
            "--uri", f"no valid connection string: {_sentence(error)}", _FORM_HINT
        ) from None
    complaints = _check_options(options, is_srv=uri.startswith(_SRV))
    _check_modules(options)
    if parsed["username"] and not parsed["password"] and _takes_password(options):
        raise BadConfiguration(
            "--uri", "no valid connection string: it has a user but no password", _PASSWORD_HINT
        )
    if uri.startswith(_SRV) and find_spec("dns") is None:
        raise SrvModuleMissing
    database: str | None = parsed["database"]
    return database, complaints


def _takes_password(options: list[tuple[str, str]]) -> bool:
    """Return whether the authentication mechanism, which is a SCRAM by default, takes a password."""
    mechanism = next((value for name, value in options if name.lower() == "authmechanism"), "")
    return mechanism.upper() in ("", "DEFAULT", "PLAIN") or mechanism.upper().startswith("SCRAM-")


def tls_problem(uri: str, error: Exception) -> BadConfiguration:
    """Return our error for TLS files that can be read and are not valid."""
    names = [_TLS_FILES[name.lower()] for name, _ in _options(uri) if name.lower() in _TLS_FILES]
    reason = _sentence(error)
    return BadConfiguration(
        "--uri",
        f"the driver cannot use {' and '.join(names) or 'the TLS options'}: {reason}",
        "Name PEM files: the certificates of the authority in tlsCAFile, key and certificate in tlsCertificateKeyFile.",
    )


def _check_encoding(uri: str) -> None:
    """Refuse a string in which it is not certain where the password ends, before anything of it is used."""
    scheme, _, rest = uri.partition("://")
    if scheme not in ("mongodb", "mongodb+srv"):
        # Without the scheme, nothing says which part is the password.
        raise BadConfiguration(
            "--uri", "no valid connection string: it does not begin with mongodb://", _FORM_HINT
        )
    end = re.search(r"[/?]", rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    user_info, at, _ = authority.rpartition("@")
    is_ambiguous = (
        "@" in user_info
        or user_info.count(":") > 1
        or _BARE_PERCENT.search(user_info)
        or (at and re.search(r"[\[\]#\s]", user_info))
        or "@" in tail.partition("?")[0]
        # An option's value may hold an @, a password behind a ? does as well: only names and values that are right pass.
        or ("@" in tail and _are_wrong(_options(uri)))
    )
    if is_ambiguous:
        raise BadConfiguration(
            "--uri",
            "the user name or the password in the connection string is not percent-encoded",
            ENCODING_HINT,
        )


def _are_wrong(options: Iterator[tuple[str, str]]) -> bool:
    try:
        return any(True for _ in _check_options(list(options), is_srv=True))
    except BadConfiguration:
        return True


def _options(uri: str) -> Iterator[tuple[str, str]]:
    query = uri.partition("?")[2]
    for pair in re.split("[&;]", query) if query else ():
        name, is_pair, value = pair.partition("=")
        if not is_pair or not name or not value:
            named = "" if "@" in uri or not name else f" {name!r}"
            raise BadConfiguration(
                "--uri", f"the option{named} in the connection string has no value", _FORM_HINT
            )
        yield name, value


def _check_options(options: list[tuple[str, str]], *, is_srv: bool) -> list[str]:
    """Check the options one by one, since the driver says of a wrong one neither its name nor that it is ignored.

    Returns:
        One sentence for each option that is not known or not available.
    """
    complaints = []
    for name, value in options:
        if is_srv and name.lower().startswith("srv"):
            continue
        if name.lower() not in URI_OPTIONS_VALIDATOR_MAP:
            near = get_close_matches(name.lower(), URI_OPTIONS_VALIDATOR_MAP, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            complaints.append(f"unknown option {name!r} in the connection string is ignored{meant}")
            continue
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                parse_uri(f"{_PLAIN}host/?{name}={value}", validate=True, warn=False)
            except OSError as error:
                raise _unreadable(name, value, error) from None
            except (PyMongoError, ValueError, TypeError) as error:
                reason = "" if name.lower() in _SECRET_OPTIONS else f": {_sentence(error)}"
                raise BadConfiguration(
                    "--uri",
                    f"the option {name} in the connection string has an impossible value{reason}",
                    f"Correct {name}, or leave it out.",
                ) from None
        complaints += [f"the option {name} in the connection string: {warning.message}" for warning in said]
    return complaints


def _unreadable(name: str, path: str, error: OSError) -> BadConfiguration:
    try:
        with Path(path).open("rb"):
            reason = _sentence(error)
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
    return BadConfiguration(
        "--uri",
        f"{name}: {path} cannot be read: {reason}",
        f"Correct the path in {name}, or make the file readable.",
    )


def _check_modules(options: list[tuple[str, str]]) -> None:
    for name, value in options:
        modules, extra = _MODULES.get(value if name.lower() == "authmechanism" else "", ((), ""))
        if modules and not any(find_spec(module) for module in modules):
            raise AuthenticationModuleMissing(value, modules[0], extra)


def _sentence(error: Exception) -> str:
    """Return the driver's reason without its advice, its error numbers and the line of its C source."""
    text = getattr(error, "strerror", None) or str(error)
    text = re.sub(r"\s*\(_ssl\.c:\d+\)|\[(?:Errno -?\d+|[A-Z0-9_]+(?:: \w+)?)\]\s*", "", text)
    return text.partition(" Hint: ")[0].strip(" .") or type(error).__name__

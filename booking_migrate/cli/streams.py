"""What reaches the outside: standard streams that may be closed, full or gone, and no password of a connection string.

Streams tolerate what goes wrong with them, terminals whose size is nonsense too. A secret never appears in any output.
"""

import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO
from urllib.parse import unquote, unquote_plus

from booking_migrate.errors import UNANSWERED, NotConfirmed

_INPUT, _OUTPUT, _ERROR = 0, 1, 2
_YES = frozenset({"y", "yes"})
_SIZES = {"COLUMNS": 20, "LINES": 2}
"""The variables that name the size of a terminal, and the least that each of them can mean."""

_TRAILING_BLANKS = re.compile(r" +((?:\x1b\[[0-9;]*m)*)(?=\n)")
"""Blanks at the end of a line, before what may switch colours off."""

_HOST = r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?"
_SERVER = re.compile(
    rf"mongodb(?:\+srv)?://(?:[^@/?]*@)?(?P<hosts>{_HOST}(?:,{_HOST})*)(?:/(?P<database>[\w-]+)?)?(?:\?[^@]*)?"
)
"""A connection string without any doubt about what its parts are."""

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
PLACEHOLDER = "PASSWORD"
"""What advice has in place of a password. One that is really so is masked beforehand, as a secret of the connection string."""


class TolerantStream(io.TextIOWrapper):
    """A text stream that records the first failure to write, and ends nothing because of it.

    What pads lines to the width of the screen is left out: behind a backslash it would break a command that is copied.
    """

    problem: OSError | None = None
    """Why what was written has not arrived; None: it has."""

    def write(self, text: str, /) -> int:
        """Write, as far as that is possible."""
        with self._noting():
            super().write(_TRAILING_BLANKS.sub(r"\1", text))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written, as far as that is possible."""
        with self._noting():
            super().flush()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.problem = self.problem or error
            # What is still in a buffer has to go somewhere: the interpreter sends it on once more at its end.
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


def make_tolerant() -> None:
    """Keep commands from ending because standard output or standard error is closed, full or gone."""
    _occupy_closed_descriptors()
    sys.stdout = _tolerant(sys.stdout, _OUTPUT)
    sys.stderr = _tolerant(sys.stderr, _ERROR)


def _occupy_closed_descriptors() -> None:
    """Keep the next file that is opened from becoming a standard stream, which others write to."""
    # Opened the wrong way round, so that reading and writing fail as if they were closed. Nothing waits for errors.
    for descriptor, mode in ((_INPUT, os.O_WRONLY), (_OUTPUT, os.O_RDONLY), (_ERROR, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, mode)
            os.set_inheritable(opened, True)


def _tolerant(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return a tolerant stream in place of one; for a closed one, a stream on its descriptor."""
    if stream is None:
        # Unlike `open`, this asks nothing of the descriptor that one opened for reading would refuse.
        buffer: io.BufferedWriter = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
        return TolerantStream(buffer, encoding="utf-8", errors="backslashreplace")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    # Messages are read while the command runs, also through a pipe.
    encoding, by_line = stream.encoding, stream.line_buffering or descriptor == _ERROR
    # A character that the terminal's encoding lacks must not end the run.
    return TolerantStream(
        stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=by_line
    )


def failure_of(stream: TextIO) -> str | None:
    """Return once why what was written to a stream has not arrived; None if it has."""
    stream.flush()
    if not isinstance(stream, TolerantStream) or stream.problem is None:
        return None
    problem, stream.problem = stream.problem, None
    return problem.strerror or str(problem)


def is_interactive() -> bool:
    """Return whether a question can be answered on standard input."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm_by_name(what: str, name: str) -> None:
    """Ask the user at the terminal to type a name.

    Raises:
        NotConfirmed: standard input is not a terminal, or it is another name.
    """
    typed = _answer(what, what, f"Type {name} to continue:")
    if typed != name:
        raise NotConfirmed(what, typed, name)


def confirm(what: str, known: str = "") -> None:
    """Ask the user at the terminal for a yes, after what else is to be known before the answer.

    Raises:
        NotConfirmed: standard input is not a terminal, or it is anything else.
    """
    typed = _answer(what, "; ".join(filter(None, (what, known))), "Continue? [y/N]:")
    if typed.lower() not in _YES:
        raise NotConfirmed(what, typed, "y")


def _answer(what: str, statement: str, question: str) -> str:
    """Return the line that the user types; a signal ends the question as it ends anything else."""
    if not is_interactive():
        raise NotConfirmed(what)
    try:
        sys.stderr.write(f"{statement}. {question} ")
        sys.stderr.flush()
        if line := sys.stdin.readline():
            return line.strip()
        raise KeyboardInterrupt  # noqa: TRY301 - the end of input does not answer it either
    except KeyboardInterrupt as error:
        # What is said next begins a line of its own.
        sys.stderr.write("\n")
        error.add_note(UNANSWERED)
        raise


def ignore_impossible_sizes() -> None:
    """Ignore a terminal size in the environment that no terminal has; some programs set it to 0."""
    for name, least in _SIZES.items():
        text = os.environ.get(name, "")
        is_possible = re.fullmatch(r"[0-9]{1,4}", text) is not None and int(text) >= least
        if name in os.environ and not is_possible:
            del os.environ[name]


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


def named_server(uri: str | None, database: str | None) -> tuple[str | None, str | None]:
    """Return the hosts and the database that a connection string names; None where that is not certain.

    Args:
        uri: a connection string; it need not be valid.
        database: what the user named beside it, which counts first.
    """
    found = _SERVER.fullmatch((uri or "").strip())
    if found is None:
        return None, database
    return found["hosts"], database or found["database"]


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
    return _USER_INFO.sub(_masked, _CONNECTION_STRING.sub(_masked, text))


def _masked(found: re.Match[str]) -> str:
    """Return the mask for user and password; advice that only says where they belong stays."""
    return found[0] if found[0].endswith(f":{PLACEHOLDER}@") else f"{found[1]}{_MASK}@"

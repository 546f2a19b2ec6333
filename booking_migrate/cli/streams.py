"""Standard streams that may be closed, full or gone, and a terminal whose size may be nonsense."""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_INPUT, _OUTPUT, _ERROR = 0, 1, 2
_SIZES = {"COLUMNS": 20, "LINES": 2}
"""The variables that name the size of a terminal, and the least that each of them can mean."""


_TRAILING_BLANKS = re.compile(r" +((?:\x1b\[[0-9;]*m)*)(?=\n)")
"""Blanks at the end of a line, before what may switch colours off."""


class TolerantStream(io.TextIOWrapper):
    """A text stream that takes note of the first failure to write, and ends nothing because of it.

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


def ignore_impossible_sizes() -> None:
    """Ignore a terminal size in the environment that no terminal has; some programs set it to 0."""
    for name, least in _SIZES.items():
        text = os.environ.get(name, "")
        is_possible = re.fullmatch(r"[0-9]{1,4}", text) is not None and int(text) >= least
        if name in os.environ and not is_possible:
            del os.environ[name]

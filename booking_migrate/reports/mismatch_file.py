"""Every mismatch of a verification as a line of canonical Extended JSON, with the values as they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from bson.binary import Binary

from booking_migrate.bson.document import Element, element_of, wrap
from booking_migrate.errors import WriteFailed
from booking_migrate.stores.files.atomic import check_usable, open_output
from booking_migrate.stores.files.extended_json import survives_extended_json, to_json
from booking_migrate.verify.outcome import Mismatch


class MismatchFile:
    """A file that appears as a whole when the verification has finished, and not if it fails."""

    def __init__(self, path: Path) -> None:
        """Open a temporary file beside the path.

        Raises:
            UnusablePlace, WriteFailed, TargetBusy: the file cannot be created.
        """
        check_usable(str(path), path)
        self._output = open_output(str(path), path, compressed=path.suffix.lower() == ".gz", overwrite=True)
        self._is_whole = False
        self.failure: WriteFailed | None = None
        """Why the file cannot be written; None: it can. A verification continues without it."""

    def write(self, mismatch: Mismatch) -> None:
        """Add one mismatch, as long as the file can be written."""
        if self.failure is None:
            with self._noting_failure():
                self._output.write(to_json(_document(mismatch)).encode() + b"\n")

    def finish(self) -> None:
        """Publish the file under its name after the last mismatch, if all could be written."""
        if self.failure is None:
            with self._noting_failure():
                self._output.seal()
                self._output.publish()
                self._is_whole = True

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except WriteFailed as error:
            self.failure = error
            self._output.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove a file that is not whole."""
        if not self._is_whole:
            self._output.abandon()


def _document(mismatch: Mismatch) -> bytes:
    parts = [
        element_of("kind", mismatch.kind.value),
        element_of("rule", mismatch.rule.value),
        _carried("client_id", element_of("", mismatch.client_id)),
        _carried("booking_id", element_of("", mismatch.booking_id)),
        _text("field", mismatch.field),
        # A value that is not there has no field, for null is a value.
        *([] if mismatch.expected is None else [_carried("expected", mismatch.expected)]),
        *([] if mismatch.found is None else [_carried("found", mismatch.found)]),
        _text("detail", mismatch.detail),
    ]
    return wrap(parts)


def _carried(name: str, element: Element) -> Element:
    """Return a value under another name; one that Extended JSON cannot hold as the BSON of a document of that field."""
    named: Element = element._replace(name=name.encode())
    alone = wrap([named])
    return named if survives_extended_json(alone) else element_of(name, Binary(alone))


def _text(name: str, value: Any) -> Element:
    """Return a text without surrogate escapes: a field's name need not be UTF-8."""
    return element_of(name, value if value is None else value.encode("utf-8", "backslashreplace").decode())

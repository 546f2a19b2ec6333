"""A file, or standard output, as a `TargetWriter`: client documents in the order they come, rejects beside them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from typing_extensions import override

from booking_migrate.domain.rejection import Rejection
from booking_migrate.stores.files.atomic import Output
from booking_migrate.stores.files.extended_json import survives_extended_json, to_json
from booking_migrate.stores.places import FileFormat
from booking_migrate.stores.ports import CanHold, Replacement, TargetWriter, stores_any_bson
from booking_migrate.stores.rejects import RejectsKeeper

_ARRAY_START, _ARRAY_NEXT, _ARRAY_END, _ARRAY_EMPTY = b"[\n", b",\n", b"\n]\n", b"[]\n"
_NOTHING_OLDER = "a target file has no older version of a client document"


class FileTarget(TargetWriter):
    """Writes a target file whole; see `TargetWriter` for the promises."""

    def __init__(
        self,
        name: str,
        file_format: FileFormat,
        open_output: Callable[[], Output],
        rejects: RejectsKeeper,
    ) -> None:
        """Take the parts; nothing is opened before `prepare`.

        Args:
            name: what to call the place: the path as given, or ``-``.
            file_format: how documents are written.
            open_output: makes the place where the bytes go.
            rejects: keeps the rejected bookings.
        """
        self._name = name
        self._format = file_format
        self._open_output = open_output
        self._rejects = rejects
        self._output: Output | None = None
        self._is_empty = True

    @property
    @override
    def name(self) -> str:
        return self._name

    @property
    def rejects_name(self) -> str:
        """Return what to call the place of the rejected bookings."""
        return self._rejects.name

    @property
    @override
    def can_store(self) -> CanHold:
        # A BSON file holds everything.
        return stores_any_bson if self._format is FileFormat.BSON else survives_extended_json

    @override
    def prepare(self) -> None:
        self._rejects.prepare()
        self._output = self._open_output()

    def scan_client_documents(self) -> Iterator[bytes]:
        """Return an empty iterator: a target file is replaced whole."""
        return iter(())

    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:  # noqa: ARG002 - the port's signature
        """Return an empty iterator: a target file is replaced whole."""
        return iter(())

    @override
    def join(self, changed: Replacement, removed: Sequence[bytes]) -> None:
        """Refuse to join documents.

        Raises:
            ValueError: always, since a file never showed any document to join.
        """
        raise ValueError(_NOTHING_OLDER)

    @override
    def write(
        self,
        new: Sequence[bytes],
        changed: Sequence[Replacement],
        rejected: Sequence[Rejection],
        removed: Sequence[bytes] = (),
    ) -> None:
        """Write one batch.

        Raises:
            ValueError: there is something to replace, although a file never showed any document.
        """
        if changed or removed:
            raise ValueError(_NOTHING_OLDER)
        output = self._prepared()
        for raw in new:
            output.write(self._framed(raw))
            self._is_empty = False
        for rejection in rejected:
            self._rejects.add(rejection)
        self._rejects.flush()

    @override
    def finish(self) -> bool:
        output = self._prepared()
        if self._format is FileFormat.JSON_ARRAY:
            output.write(_ARRAY_EMPTY if self._is_empty else _ARRAY_END)
        output.seal()
        rejects_changed = self._rejects.finish()
        return output.publish() or rejects_changed

    @override
    def abandon(self) -> None:
        if self._output:
            self._output.abandon()
        self._rejects.abandon()

    def _prepared(self) -> Output:
        if self._output is None:
            raise RuntimeError("prepare comes before everything else")
        return self._output

    def _framed(self, raw: bytes) -> bytes:
        match self._format:
            case FileFormat.BSON:
                return raw
            case FileFormat.JSON_LINES:
                return to_json(raw).encode() + b"\n"
            case FileFormat.JSON_ARRAY:
                return (_ARRAY_START if self._is_empty else _ARRAY_NEXT) + to_json(raw).encode()

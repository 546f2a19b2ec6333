"""A file, or standard output, as a `TargetWriter`: client documents in the order they come, rejects beside them.

For a dry-run nothing is written: both are compared with what is there, and what would be refused is collected, not raised.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from typing_extensions import override

from booking_migrate.domain.rejection import Rejection
from booking_migrate.errors import Refused, TargetHoldsOther
from booking_migrate.stores.files.atomic import (
    Output,
    check_usable,
    holds_something,
    open_existing,
    open_output,
    read_existing,
    write_failures,
)
from booking_migrate.stores.files.extended_json import survives_extended_json, to_json
from booking_migrate.stores.files.text_writer import TextWriter
from booking_migrate.stores.places import FileFormat
from booking_migrate.stores.ports import CanHold, Replacement, StartPool, TargetWriter, stores_any_bson
from booking_migrate.stores.rejects import Ledger, RejectsKeeper


class _Frame(NamedTuple):
    """The text around documents in a file."""

    start: bytes = b""
    between: bytes = b""
    end: bytes = b""
    empty: bytes = b""
    """The text of a file without documents."""


def _frame_of(file_format: FileFormat) -> _Frame:
    match file_format:
        case FileFormat.BSON:
            return _Frame()
        case FileFormat.JSON_LINES:
            return _Frame(between=b"\n", end=b"\n")
        case FileFormat.JSON_ARRAY:
            return _Frame(b"[\n", b",\n", b"\n]\n", b"[]\n")


_NOTHING_OLDER = "a target file has no older version of a client document"


class FileTarget(TargetWriter):
    """Writes a target file whole; see `TargetWriter` for the promises."""

    def __init__(
        self,
        name: str,
        file_format: FileFormat,
        open_output: Callable[[], Output],
        rejects: RejectsKeeper,
        start_pool: StartPool | None = None,
    ) -> None:
        """Take the parts; nothing is opened before `prepare`. Without a pool, this process turns all documents into JSON."""
        self.name = name
        self._format = file_format
        self._open_output = open_output
        self._rejects = rejects
        self._output: Output | None = None
        self._is_empty = True
        self._frame = _frame_of(file_format)
        self._texts = TextWriter(self._write_text, self._frame.between, start_pool)
        self.rejects_name = self._rejects.name
        self.can_store: CanHold = stores_any_bson if file_format.keeps_every_value else survives_extended_json

    @override
    def prepare(self) -> None:
        self._rejects.prepare()
        self._output = self._open_output()

    def scan_clients(self) -> Iterator[Any]:
        """Return an empty iterator, likewise."""
        return iter(())

    def scan_client_documents(self) -> Iterator[bytes]:
        """Return an empty iterator: a target file is replaced whole."""
        return iter(())

    def may_repeat_clients(self) -> bool:
        """Return False: it is replaced whole."""
        return False

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
    def refuse_taken_ids(self, documents: Sequence[bytes], freed: Container[bytes]) -> None:
        """Do nothing: a file is replaced whole."""

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
        if new and self._is_empty:
            self._is_empty = False
            self._write_text(self._frame.start)
        match self._format:
            case FileFormat.BSON:
                for raw in new:
                    self._write_text(raw)
            case FileFormat.JSON_LINES | FileFormat.JSON_ARRAY:
                self._texts.add(new)
        for rejection in rejected:
            self._rejects.add(rejection)
        self._rejects.flush()

    @override
    def finish(self) -> bool:
        output = self._prepared()
        self._texts.flush()
        output.write(self._frame.empty if self._is_empty else self._frame.end)
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

    def _write_text(self, data: bytes) -> None:
        self._prepared().write(data)


class FileRejects(RejectsKeeper):
    """Rejected bookings in a file of canonical Extended JSON lines, sorted. No rejects, no file."""

    def __init__(self, path: Path, *, source: str, target: str, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self._ledger = Ledger(source, target)
        self._output: Output | None = None
        self.name = str(self._path)

    @override
    def prepare(self) -> None:
        check_usable(self.name, self._path)

    @override
    def add(self, rejected: Rejection) -> None:
        self._ledger.add(rejected)

    def flush(self) -> None:
        """Do nothing: the file is written in `finish`."""

    @override
    def finish(self) -> bool:
        # The file appears here, whole.
        if not len(self._ledger):
            return self._remove_stale()
        self._output = open_output(self.name, self._path, compressed=False, overwrite=self._overwrite)
        try:
            self._write_to(self._output)
            return self._output.publish()
        except TargetHoldsOther:
            raise TargetHoldsOther(self.name, "--rejects") from None

    def _write_to(self, output: Output) -> None:
        for record in self._ledger.sorted_records():
            output.write(to_json(record).encode() + b"\n")
        output.seal()

    @override
    def abandon(self) -> None:
        if self._output:
            self._output.abandon()
        self._ledger.close()

    def _remove_stale(self) -> bool:
        with write_failures(self.name):
            if not holds_something(self._path):
                return False
            if not self._overwrite:
                raise TargetHoldsOther(self.name, "--rejects")
            self._path.resolve().unlink()
        return True


class PreviewOutput(Output):
    """An output that is only compared with the file that is there."""

    def __init__(
        self, name: str, path: Path | None, *, compressed: bool = False, overwrite: bool = False
    ) -> None:
        """Open what is there.

        Args:
            name: what to call the file.
            path: where it is; None: standard output, which always changes.
            compressed: whether it is gzip.
            overwrite: whether other content may be replaced.
        """
        self.refusal: Refused | None = None
        """Why the file could not be written, if so."""

        self._name = name
        self._differs = path is None or not path.exists()
        self._may_differ = overwrite
        self._existing: BinaryIO | None = None
        if path is None:
            return
        try:
            check_usable(name, path)
            with write_failures(name):
                self._may_differ |= not holds_something(path)
                if not self._differs:
                    self._existing = open_existing(path, compressed=compressed)
        except Refused as refusal:
            self.refusal = refusal

    @override
    def write(self, data: bytes) -> None:
        if self._existing is not None and not self._differs:
            self._differs = read_existing(self._existing, len(data)) != data

    @override
    def seal(self) -> None:
        if self._existing is None:
            return
        if not self._differs:
            self._differs = read_existing(self._existing, 1) != b""
        if self._differs and not self._may_differ and self.refusal is None:
            self.refusal = TargetHoldsOther(self._name)

    def publish(self) -> bool:
        """Return whether the file would change."""
        return self._differs

    @override
    def abandon(self) -> None:
        if self._existing is not None:
            self._existing.close()


class PreviewRejects(FileRejects):
    """Rejected bookings beside a target file: compared with what is there, and passed on to another keeper."""

    def __init__(self, path: Path, *, source: str, target: str, overwrite: bool, also: RejectsKeeper) -> None:
        super().__init__(path, source=source, target=target, overwrite=overwrite)
        self._also = also
        self.refusal: Refused | None = None
        self.name = self._also.name

    @override
    def prepare(self) -> None:
        self._also.prepare()

    @override
    def add(self, rejected: Rejection) -> None:
        super().add(rejected)
        self._also.add(rejected)

    @override
    def finish(self) -> bool:
        self._also.finish()
        if not len(self._ledger) and not self._path.exists():
            return False
        compared = PreviewOutput(str(self._path), self._path, overwrite=self._overwrite)
        try:
            self._write_to(compared)
        finally:
            compared.abandon()
        self.refusal = compared.refusal
        return compared.publish()

    @override
    def abandon(self) -> None:
        super().abandon()
        self._also.abandon()


class FilePreview(FileTarget):
    """A target file that is only compared with what would be written; see `preview.PreviewTarget`."""

    def __init__(
        self, name: str, file_format: FileFormat, output: PreviewOutput, rejects: PreviewRejects
    ) -> None:
        super().__init__(name, file_format, lambda: output, rejects)
        self._compared = (output, rejects)

    def refusals(self) -> Sequence[Refused]:
        """Return what writing the file and its rejects would be refused for; complete after `finish`."""
        return tuple(place.refusal for place in self._compared if place.refusal is not None)

    @override
    def abandon(self) -> None:
        # The compared file is open from the start, even if `prepare` was never called.
        super().abandon()
        self._compared[0].abandon()

"""A target file and its rejects that are only compared with what would be written; see `preview`."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from booking_migrate.domain.rejection import Rejection
from booking_migrate.errors import Refused, TargetHoldsOther
from booking_migrate.stores.files.atomic import (
    check_usable,
    holds_something,
    open_existing,
    read_existing,
    write_failures,
)
from booking_migrate.stores.files.extended_json import to_json
from booking_migrate.stores.files.target import FileTarget
from booking_migrate.stores.places import FileFormat
from booking_migrate.stores.rejects import Ledger, RejectsKeeper


class FilePreview(FileTarget):
    """A target file that is only compared with what would be written; see `preview.PreviewTarget`."""

    def __init__(
        self,
        name: str,
        file_format: FileFormat,
        output: "ComparedFile | DiscardedOutput",
        rejects: "ComparedRejects",
    ) -> None:
        """Take the parts; see `FileTarget`."""
        super().__init__(name, file_format, lambda: output, rejects)
        self._compared = (output, rejects)

    def refusals(self) -> Sequence[Refused]:
        """Return what writing the file and its rejects would be refused for; complete after `finish`."""
        return tuple(place.refusal for place in self._compared if place.refusal is not None)

    def abandon(self) -> None:
        """Close everything; the compared file is open from the start, even if `prepare` was never called."""
        super().abandon()
        self._compared[0].abandon()


class ComparedFile:
    """An `Output` that is only compared with the file that is there."""

    def __init__(self, name: str, path: Path, *, compressed: bool, overwrite: bool) -> None:
        """Open what is there.

        Args:
            name: what to call the file.
            path: where it is.
            compressed: whether it is gzip.
            overwrite: whether other content may be replaced.
        """
        self.refusal: Refused | None = None
        """Why the file could not be written, if so."""

        self._name = name
        self._differs = not path.exists()
        self._may_differ = overwrite
        self._existing: BinaryIO | None = None
        try:
            check_usable(name, path)
            with write_failures(name):
                self._may_differ |= not holds_something(path)
                if not self._differs:
                    self._existing = open_existing(path, compressed=compressed)
        except Refused as refusal:
            self.refusal = refusal

    def write(self, data: bytes) -> None:
        """Compare the next bytes."""
        if self._existing is not None and not self._differs:
            self._differs = read_existing(self._existing, len(data)) != data

    def seal(self) -> None:
        """Compare the end."""
        if self._existing is not None and not self._differs:
            self._differs = read_existing(self._existing, 1) != b""
        if self._differs and not self._may_differ and self.refusal is None and self._existing is not None:
            self.refusal = TargetHoldsOther(self._name)

    def publish(self) -> bool:
        """Return whether the file would change."""
        return self._differs

    def abandon(self) -> None:
        """Close the file."""
        if self._existing is not None:
            self._existing.close()


class DiscardedOutput:
    """Standard output, on which nothing appears."""

    refusal: Refused | None = None

    def write(self, data: bytes) -> None:
        """Drop it."""

    def seal(self) -> None:
        """Do nothing: no output is kept."""

    def publish(self) -> bool:
        """Return True: standard output always changes."""
        return True

    def abandon(self) -> None:
        """Do nothing: no file is open."""


class ComparedRejects:
    """Rejected bookings beside a target file: compared with what is there, and passed on to another keeper."""

    def __init__(self, path: Path, *, source: str, target: str, overwrite: bool, also: RejectsKeeper) -> None:
        self._path = path
        self._overwrite = overwrite
        self._ledger = Ledger(source, target)
        self._also = also
        self.refusal: Refused | None = None

    @property
    def name(self) -> str:
        """Return where the other keeper has them."""
        return self._also.name

    def prepare(self) -> None:
        """Prepare the other keeper."""
        self._also.prepare()

    def add(self, rejected: Rejection) -> None:
        """Record one rejected booking, and pass it on to the other keeper."""
        self._ledger.add(rejected)
        self._also.add(rejected)

    def flush(self) -> None:
        """Do nothing: records are compared in `finish`."""

    def finish(self) -> bool:
        """Return whether a migration would change the file."""
        self._also.finish()
        if not len(self._ledger) and not self._path.exists():
            return False
        compared = ComparedFile(str(self._path), self._path, compressed=False, overwrite=self._overwrite)
        try:
            for record in self._ledger.sorted_records():
                compared.write(to_json(record).encode() + b"\n")
            compared.seal()
        finally:
            compared.abandon()
        self.refusal = compared.refusal
        return compared.publish()

    def abandon(self) -> None:
        """Close the ledger and abandon the other keeper."""
        self._ledger.close()
        self._also.abandon()

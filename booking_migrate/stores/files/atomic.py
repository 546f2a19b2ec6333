"""Writing a file whole or not at all: beside and renamed, or only compared with what is there.

A file that exists and may not be overwritten is compared with what would be written, byte for byte and uncompressed,
and never touched. Any other one is written as a hidden ``.NAME.partial`` beside it, made durable and renamed; the lock
on that partial file keeps a second process out. ``TARGET.run.json``, the sidecar, has what is known of the run that wrote a target.
"""

import errno
import fcntl
import gzip
import hashlib
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import override

from booking_migrate.errors import JournalTooNew, TargetBusy, TargetHoldsOther, UnusablePlace, WriteFailed
from booking_migrate.stores.journal import JOURNAL_VERSION, RunRecord
from booking_migrate.stores.places import SIDECAR_SUFFIX

_BLOCK = 1 << 18


class Output(Protocol):
    """Somewhere that bytes go, and that appears only as a whole."""

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            TargetHoldsOther: an existing file differs here.
            WriteFailed: the disk is full, the pipe is gone.
        """

    def seal(self) -> None:
        """Make the output durable, or compare its end, after the last `write`. Nothing appears yet.

        Raises:
            TargetHoldsOther, WriteFailed: as `write`.
        """

    def publish(self) -> bool:
        """Publish it under its name; return whether that changed anything. Called after `seal`."""

    def abandon(self) -> None:
        """Remove what was written, unless it was published. May be called twice."""


@contextmanager
def write_failures(name: str) -> Iterator[None]:
    """Turn failures of the operating system into WriteFailed, naming the place."""
    try:
        yield
    except OSError as error:
        raise WriteFailed(name, error.strerror or str(error)) from error


def check_usable(name: str, path: Path) -> None:
    """Refuse a path that cannot become a file, before anything is written anywhere.

    Raises:
        UnusablePlace: it is a directory or a device, or its directory does not exist or may not be written.
    """
    with write_failures(name):
        if path.exists() and not path.is_file():
            raise UnusablePlace(name, "it is a directory" if path.is_dir() else "it is not a regular file")
        parent = path.resolve().parent
        if not parent.is_dir():
            raise UnusablePlace(name, "its directory does not exist")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise UnusablePlace(name, "its directory may not be written")


def check_standard_output() -> None:
    """Refuse standard output that cannot be written to at all.

    Raises:
        UnusablePlace: it is closed.
    """
    # A stream without a descriptor is one of a test, and open.
    with suppress(io.UnsupportedOperation):
        if fcntl.fcntl(sys.stdout.fileno(), fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise UnusablePlace("-", "standard output is closed")


def holds_something(path: Path) -> bool:
    """Return whether there is a file and it is not empty."""
    return path.exists() and path.stat().st_size > 0


def open_output(name: str, path: Path, *, compressed: bool, overwrite: bool) -> Output:
    """Choose how a file comes about: compared if it holds something and may not be overwritten, else written.

    Raises:
        UnusablePlace, WriteFailed: the path cannot be written.
        TargetBusy: another process is writing it.
    """
    check_usable(name, path)
    with write_failures(name):
        if not overwrite and holds_something(path):
            return ComparedFile(name, path, compressed=compressed)
        return ReplacedFile(name, path.resolve(), compressed=compressed, overwrite=overwrite)


class ComparedFile(Output):
    """An existing file that must turn out to be what would be written."""

    def __init__(self, name: str, path: Path, *, compressed: bool) -> None:
        self._name = name
        self._existing = open_existing(path, compressed=compressed)

    @override
    def write(self, data: bytes) -> None:
        if read_existing(self._existing, len(data)) != data:
            raise TargetHoldsOther(self._name)

    @override
    def seal(self) -> None:
        if read_existing(self._existing, 1) != b"":
            raise TargetHoldsOther(self._name)

    def publish(self) -> bool:
        """Return False: the file exists already and is unchanged."""
        self.abandon()
        return False

    @override
    def abandon(self) -> None:
        self._existing.close()


class ReplacedFile(Output):
    """A file written beside its name and renamed."""

    def __init__(self, name: str, path: Path, *, compressed: bool, overwrite: bool) -> None:
        self._name = name
        self._path = path
        self._compressed = compressed
        self._overwrite = overwrite
        self._partial = path.with_name(f".{path.name}.partial")
        self._file: BinaryIO | None = _open_locked(name, self._partial)
        self._out: BinaryIO = self._file
        if compressed:
            # No name and no time in the header, so that the same documents become the same bytes.
            zipped = gzip.GzipFile(filename="", mode="wb", fileobj=self._file, mtime=0, compresslevel=6)
            self._out = cast("BinaryIO", zipped)

    @override
    def write(self, data: bytes) -> None:
        with write_failures(self._name):
            self._out.write(data)

    @override
    def seal(self) -> None:
        if self._file is None:
            return
        with write_failures(self._name):
            if self._compressed:
                self._out.close()
            self._file.flush()
            os.fsync(self._file.fileno())

    @override
    def publish(self) -> bool:
        # A file that already has this content stays as it is.
        with write_failures(self._name):
            if self._path.exists():
                if self._is_there():
                    self.abandon()
                    return False
                if not self._overwrite and holds_something(self._path):
                    raise TargetHoldsOther(self._name)
            self._partial.replace(self._path)
            self._partial = self._path
            _sync_directory(self._path.parent)
            self._close()
        return True

    @override
    def abandon(self) -> None:
        if self._file is not None and self._partial != self._path:
            # Removed before the lock is released: afterwards it may be the partial file of another process.
            self._partial.unlink(missing_ok=True)
        self._close()

    def _is_there(self) -> bool:
        with (
            open_existing(self._path, compressed=self._compressed) as existing,
            open_existing(self._partial, compressed=self._compressed) as written,
        ):
            while block := read_existing(written, _BLOCK):
                if read_existing(existing, len(block)) != block:
                    return False
            return read_existing(existing, 1) == b""

    def _close(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        # What is still in a buffer belongs to a file that is no longer wanted; a full disk must not speak up again.
        for stream in (self._out, file):
            with suppress(OSError):
                stream.close()


class StandardOutput(Output):
    """Standard output: it appears as it is written, and cannot be taken back."""

    name = "-"

    @override
    def write(self, data: bytes) -> None:
        try:
            sys.stdout.buffer.write(data)
        except OSError as error:
            raise _broken_output(error) from error

    @override
    def seal(self) -> None:
        try:
            sys.stdout.buffer.flush()
        except OSError as error:
            raise _broken_output(error) from error

    def publish(self) -> bool:
        """Return True: the bytes have been written to standard output already."""
        return True

    def abandon(self) -> None:
        """Do nothing: bytes on standard output cannot be taken back."""


def _broken_output(error: OSError) -> WriteFailed:
    # The interpreter flushes standard output once more at its end and would complain about the same pipe again
    # (Python manual, library/signal, note on SIGPIPE). A stream without a descriptor has no such flush.
    with suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return WriteFailed("standard output", error.strerror or str(error))


def open_existing(path: Path, *, compressed: bool) -> BinaryIO:
    """Open a file that is there for reading, uncompressed; a failure is an OSError."""
    if compressed:
        return cast("BinaryIO", gzip.GzipFile(path, "rb"))
    return path.open("rb", buffering=_BLOCK)


def read_existing(existing: BinaryIO, size: int) -> bytes | None:
    """Return up to ``size`` bytes, or None if the file is not a valid gzip stream, which no result equals."""
    try:
        return existing.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return None


def _open_locked(name: str, partial: Path) -> BinaryIO:
    """Open the partial file for writing from its start, as its only writer."""
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(partial, descriptor):
                os.ftruncate(descriptor, 0)
                return os.fdopen(descriptor, "wb", buffering=_BLOCK)
            os.close(descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise TargetBusy(name, f"it holds {partial.name}") from None
            raise


def _is_still(path: Path, descriptor: int) -> bool:
    """Return whether the name still means this file: its last writer may have renamed it before we got the lock."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return stat.S_ISREG(here.st_mode) and os.path.samestat(there, here)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class WrittenFile(BaseModel):
    """One file that the run wrote."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Its path, seen from the sidecar's folder, so that a folder can be moved as a whole."""

    sha256: str | None = None
    """Of its bytes, in hex digits; None while the run is not done, and if the file does not exist."""


class SidecarRecord(BaseModel):
    """What a sidecar holds."""

    model_config = ConfigDict(frozen=True)

    version: int = JOURNAL_VERSION
    run: RunRecord
    files: Sequence[WrittenFile]


class Sidecar:
    """The sidecar of one target file."""

    def __init__(self, target: Path) -> None:
        """Take the target file's path; nothing is read or written yet."""
        self.path = target.with_name(target.name + SIDECAR_SUFFIX)

    def read(self) -> SidecarRecord | None:
        """Return its record, or None if the file does not exist.

        Raises:
            JournalTooNew: a newer version of the program wrote it.
            UnusablePlace: it cannot be read, or is not a sidecar.
        """
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnusablePlace(str(self.path), error.strerror or str(error)) from error
        try:
            version = _Versioned.model_validate_json(text).version
            if version > JOURNAL_VERSION:
                raise JournalTooNew(str(self.path), version, JOURNAL_VERSION)
            return SidecarRecord.model_validate_json(text)
        except ValidationError as error:
            raise UnusablePlace(str(self.path), "it is not a record of a run") from error

    def write(self, record: SidecarRecord) -> None:
        """Write it, beside itself first, and durably.

        Raises:
            WriteFailed: it cannot be written.
        """
        beside = self.path.with_name(f".{self.path.name}.partial")
        with write_failures(str(self.path)):
            with beside.open("w", encoding="utf-8") as file:
                file.write(record.model_dump_json(indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)

    def remove(self) -> None:
        """Remove it, if it is there."""
        with write_failures(str(self.path)):
            self.path.unlink(missing_ok=True)

    def relative(self, path: Path) -> str:
        """Return a path as the sidecar names it."""
        return os.path.relpath(path, self.path.parent)

    def resolve(self, file: WrittenFile) -> Path:
        """Return the path of a file that the sidecar names."""
        return self.path.parent / file.path


class _Versioned(BaseModel):
    version: int


def digest_of(path: Path) -> str | None:
    """Return the SHA-256 of a file in hex digits; None if it is not there.

    Raises:
        WriteFailed: it cannot be read.
    """
    with write_failures(str(path)):
        if not path.exists():
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

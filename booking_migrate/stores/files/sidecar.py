"""``TARGET.run.json``: what is known of the run that wrote a target file, beside that file."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from booking_migrate.errors import JournalTooNew, UnusablePlace
from booking_migrate.stores.files.atomic import write_failures
from booking_migrate.stores.journal import JOURNAL_VERSION, RunRecord
from booking_migrate.stores.places import SIDECAR_SUFFIX

_BLOCK = 1 << 20


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
    digest = hashlib.sha256()
    with write_failures(str(path)):
        if not path.exists():
            return None
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()

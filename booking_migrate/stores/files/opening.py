"""Opening files and standard input for reading, gzip or not, with failures in terms of the place."""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, cast

from booking_migrate.bson.document import Document
from booking_migrate.errors import PlaceNotFound, UnusablePlace
from booking_migrate.stores.files.advice import folder_advice
from booking_migrate.stores.files.recognition import check_gzip
from booking_migrate.stores.places import FilePlace, StreamPlace

_BUFFER = 1 << 18


class FileDocument(NamedTuple):
    """One document of a file."""

    raw: bytes
    """Its BSON bytes."""

    fields: Document | None
    """The decoded document, if decoding it was possible; good for reading keys, not for writing it again."""


@contextmanager
def open_input(place: FilePlace | StreamPlace) -> Iterator[BinaryIO]:
    """Open a place for reading bytes, uncompressed, and name it in every failure while it is read.

    Raises:
        PlaceNotFound: the file does not exist.
        UnusablePlace: it is a directory, may not be read, or is not compressed as its name says.
    """
    try:
        if isinstance(place, StreamPlace):
            yield _standard_input()
            return
        with place.path.open("rb", buffering=_BUFFER) as stream:
            if place.gzip:
                check_gzip(cast("io.BufferedReader", stream).peek(), place)
                with gzip.GzipFile(fileobj=stream, mode="rb") as unzipped:
                    # GzipFile reads lines in Python; the buffer reads them in C.
                    yield cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", unzipped), _BUFFER))
            else:
                yield stream
    except FileNotFoundError:
        raise PlaceNotFound(place.name) from None
    except IsADirectoryError:
        raise UnusablePlace(place.name, "it is a folder", folder_advice(place.name)) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnusablePlace(place.name, f"its gzip stream is cut off or damaged ({error})") from error
    except OSError as error:
        raise UnusablePlace(place.name, error.strerror or str(error)) from error


@contextmanager
def open_bytes(place: FilePlace) -> Iterator[BinaryIO]:
    """Open a file for reading its bytes as they stand on disk.

    Raises:
        PlaceNotFound, UnusablePlace: as `open_input`.
    """
    with open_input(FilePlace(place.name, place.format)) as stream:
        yield stream


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise UnusablePlace("-", "standard input is closed")
    return sys.stdin.buffer

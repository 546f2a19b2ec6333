"""A file, or standard input, as a `DocumentReader`: its format's reader, sorted by a `Spool`."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, assert_never

from typing_extensions import override

from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.stores.blocks import Chunk, pack
from booking_migrate.stores.chunks import whole_clients
from booking_migrate.stores.files.bson_dump import read_dump
from booking_migrate.stores.files.json_files import is_pretty_printed, read_array, read_lines
from booking_migrate.stores.files.opening import FileDocument, open_input
from booking_migrate.stores.files.recognition import check_content, looked_ahead
from booking_migrate.stores.people import HoldsPeople
from booking_migrate.stores.places import FileFormat, FilePlace, JsonFormat, StreamPlace
from booking_migrate.stores.ports import ComparedReader, ScannedDocument
from booking_migrate.stores.spool import Spool


class FileReader(HoldsPeople, ComparedReader):
    """Reads a file once, whole, when it is first asked for a document; see `DocumentReader` for the promises."""

    def __init__(
        self, place: FilePlace | StreamPlace, json_format: JsonFormat | None, listener: Listener
    ) -> None:
        self._place = place
        self._json_format = json_format
        self._listener = listener
        self._spool: Spool | None = None

    @property
    def name(self) -> str:
        """Return the path as given, or ``-``."""
        return self._place.name

    @override
    def check(self) -> None:
        self._filled()

    def estimate_count(self) -> int | None:
        """Return the exact count once the file has been read, None before."""
        return self._spool.count if self._spool else None

    @override
    def scan_by_client(self) -> Iterator[ScannedDocument]:
        # Within a client, documents come as they stood in the file.
        yield from self._filled().scan()

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        return whole_clients(pack(self.scan_by_client()), documents)

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        yield from self._filled().scan_grouped()

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        yield from self._filled().find(ids)

    @override
    def conflicting(self) -> Iterator[bytes]:
        yield from self._filled().conflicting()

    def missing(self) -> None:
        """Return None: a file that does not exist is refused when it is opened."""

    @property
    def is_live(self) -> bool:
        """Return False: a file is read once."""
        return False

    def cut(self) -> None:
        """Return None: a file has no index."""

    @override
    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        yield from self._filled().find_by_client(client_ids)

    @override
    def close(self) -> None:
        if self._spool:
            self._spool.close()
            self._spool = None

    def _filled(self) -> Spool:
        if self._spool is None:
            self._listener.notify(PhaseStarted(f"reading {self.name}", total=None))
            spool = Spool()
            try:
                with open_input(self._place) as stream:
                    spool.fill(self._documents(stream), self._report)
            except BaseException:
                spool.close()
                raise
            self._spool = spool
            self._listener.notify(PhaseEnded())
        return self._spool

    def _report(self, documents: int) -> None:
        self._listener.notify(Advanced(documents))

    def _documents(self, stream: BinaryIO) -> Iterator[FileDocument]:
        head, stream = looked_ahead(stream)
        check_content(head, self._place)
        file_format = FileFormat.JSON_LINES if isinstance(self._place, StreamPlace) else self._place.format
        match file_format:
            case FileFormat.JSON_LINES if not is_pretty_printed(head):
                return read_lines(stream, self.name, self._json_format)
            case FileFormat.JSON_LINES | FileFormat.JSON_ARRAY:
                return read_array(stream, self.name, self._json_format)
            case FileFormat.BSON:
                return read_dump(stream, self.name)
        assert_never(file_format)


class AbsentReader:
    """A place that does not exist and need not: it has no documents."""

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self) -> None:
        """Do nothing: an absent place is accepted."""

    def estimate_count(self) -> int | None:
        """Return 0."""
        return 0

    def scan_by_client(self) -> Iterator[ScannedDocument]:
        """Return an empty iterator."""
        return iter(())

    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:  # noqa: ARG002 - the port's signature
        """Return an empty iterator."""
        return iter(())

    def scan_client_documents(self) -> Iterator[bytes]:
        """Return an empty iterator."""
        return iter(())

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:  # noqa: ARG002 - the port's signature
        """Return an empty iterator."""
        return iter(())

    @property
    def is_live(self) -> bool:
        """Return False: a place that is created later is read when the command is run again."""
        return False

    def cut(self) -> None:
        """Return None: an absent place has no ranges of clients."""

    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:  # noqa: ARG002 - the port's signature
        """Return an empty iterator."""
        return iter(())

    def close(self) -> None:
        """Do nothing: no resource is open."""

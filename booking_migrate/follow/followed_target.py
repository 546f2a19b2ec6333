"""The target of a result that is followed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from typing_extensions import override

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.rejection import Rejection
from booking_migrate.follow.selection import NO_CLIENT
from booking_migrate.migrate.journaled_target import JournaledTarget
from booking_migrate.runs.provenance import Trace, client_key_of
from booking_migrate.stores.journal import DocumentNote
from booking_migrate.stores.ports import Replacement


class FollowedTarget(JournaledTarget):
    """The target of some clients of a result that is followed.

    A change of others is found before it is overwritten. It is written while the next clients are converted.
    """

    def __init__(
        self,
        *arguments: Any,
        existing: Mapping[bytes, Sequence[bytes]],
        is_watched: bool,
        begin: Callable[[], None],
    ) -> None:
        """Take the parts.

        Args:
            arguments: those of `JournaledTarget`.
            existing: the documents of these clients, by the sort key of `clientId`, as they were read a moment ago: only what
                is still the same is overwritten.
            is_watched: whether documents that others changed are looked for.
            begin: called once, before the first write or at the end: the target is used for one part after the other.
        """
        super().__init__(*arguments)
        self._existing = existing
        self._is_watched = is_watched
        self._begin: Callable[[], None] | None = begin
        self.foreign: list[Any] = []
        """The `_id` values of documents that others changed, among those that were about to be overwritten."""

    @override
    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        for key in (*map(sort_key, client_ids), NO_CLIENT):
            yield from self._existing.get(key, ())

    def begin(self) -> None:
        """Wait for the part before; what it wrote is durable then."""
        # Not kept: it refers to the part before, with all its documents, and that one to those before it.
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()

    @override
    def write(
        self,
        new: Sequence[bytes],
        changed: Sequence[Replacement],
        rejected: Sequence[Rejection],
        removed: Sequence[bytes] = (),
    ) -> None:
        self.begin()
        super().write(new, changed, rejected, removed)

    @override
    def finish(self) -> bool:
        self.begin()
        return super().finish()

    @override
    def note_of(self, raw: bytes, after: bytes | None, before: bytes | None) -> DocumentNote:
        return super().note_of(raw, after, before)._replace(client=client_key_of(raw))

    @override
    def trace(self, documents: Sequence[bytes]) -> Sequence[Trace]:
        traces = super().trace(documents)
        if self._is_watched:
            pairs = zip(documents, traces, strict=True)
            self.foreign += [value_in(raw, b"_id") for raw, trace in pairs if trace.is_changed]
        return traces

    @override
    def found(self, documents: Sequence[bytes]) -> Sequence[bytes | None]:
        # A change of others is found even if it equals the derived document.
        return (
            [each.found for each in self.trace(documents)] if self._is_watched else super().found(documents)
        )

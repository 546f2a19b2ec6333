"""The target of a result that is followed."""

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from booking_migrate.bson.document import value_in
from booking_migrate.migrate.journaled_target import JournaledTarget
from booking_migrate.runs.provenance import Trace, client_key_of
from booking_migrate.stores.journal import DocumentNote


class FollowedTarget(JournaledTarget):
    """The target of a followed run; a change of others is found before it is overwritten."""

    is_watched = False
    """Whether changes of others are looked for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.foreign: list[Any] = []
        """The `_id` values of documents that others changed, among those that were about to be overwritten."""

    @override
    def note_of(self, raw: bytes, after: bytes | None, before: bytes | None) -> DocumentNote:
        return super().note_of(raw, after, before)._replace(client=client_key_of(raw))

    @override
    def trace(self, documents: Sequence[bytes]) -> Sequence[Trace]:
        traces = super().trace(documents)
        if self.is_watched:
            pairs = zip(documents, traces, strict=True)
            self.foreign += [value_in(raw, b"_id") for raw, trace in pairs if trace.is_changed]
        return traces

    @override
    def found(self, documents: Sequence[bytes]) -> Sequence[bytes | None]:
        # A change of others is found even if it equals the derived document.
        return [each.found for each in self.trace(documents)] if self.is_watched else super().found(documents)

"""The target of a result that is followed."""

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from booking_migrate.bson.document import value_in
from booking_migrate.migrate.journaled_target import JournaledTarget
from booking_migrate.runs.provenance import Trace, client_key_of
from booking_migrate.stores.journal import DocumentNote


class FollowedTarget(JournaledTarget):
    """The target of a result that is followed: what others have changed in it is found before it is written over."""

    is_watched = False
    """Whether that is looked for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.foreign: list[Any] = []
        """The `_id` values of documents that others changed, of those that were read to be written again."""

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
        # What others changed is found also if it is what is derived.
        return [each.found for each in self.trace(documents)] if self.is_watched else super().found(documents)

"""What the validator of a collection makes of documents that are tried out with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many documents a validator was tried out with, and what it made of them."""

    tested: int = 0
    refused: int = 0
    sample: str = ""
    """The client of one that it refuses, as text."""

    rules: tuple[str, ...] = ()
    """Which of its rules that one breaks, in plain words; empty: not known."""

    def after(
        self, documents: Sequence[bytes], matching: Sequence[bytes], broken: Callable[[bytes], Sequence[str]]
    ) -> "Verdict":
        """Return the verdict with further documents.

        Args:
            documents: the documents.
            matching: those of them that meet the validator.
            broken: returns which rules a document breaks, in plain words.
        """
        failing = {display_id(value_in(raw, b"clientId")): raw for raw in set(documents) - set(matching)}
        refused = len(set(documents) - set(matching))
        if self.refused or not refused:
            return Verdict(self.tested + len(documents), self.refused + refused, self.sample, self.rules)
        sample = min(failing)
        return Verdict(self.tested + len(documents), refused, sample, tuple(broken(failing[sample])))

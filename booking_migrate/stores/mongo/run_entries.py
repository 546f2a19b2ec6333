"""What a run keeps of single things in a collection that all runs share, by names that begin with the run's id."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from pymongo.collection import Collection

from booking_migrate.stores.mongo.connection import TIMES, DriverCollection
from booking_migrate.stores.mongo.failures import writing
from booking_migrate.stores.mongo.retry import attempts


class RunEntries:
    """The entries of one run."""

    def __init__(self, collection: DriverCollection, run_id: str) -> None:
        """Take the collection, and the run whose entries are meant."""
        self.collection: Collection[dict[str, Any]] = collection.with_options(codec_options=TIMES)
        self._run_id = run_id

    def name(self, kind: str, key: bytes) -> str:
        """Return the `_id` of an entry."""
        return f"{self._run_id}/{kind}/{sha256(key).hexdigest()}"

    def all(self, after: str = "") -> Mapping[str, Any]:
        """Return the condition of all entries of the run, or of those behind a name; the index on `_id` serves it."""
        # "0" follows "/".
        return {"_id": {"$gt": after or f"{self._run_id}/", "$lt": f"{self._run_id}0"}}

    def of_kind(self, kind: str) -> Mapping[str, Any]:
        """Return the condition of all entries of a kind."""
        return {"_id": {"$gt": f"{self._run_id}/{kind}/", "$lt": f"{self._run_id}/{kind}0"}}

    def write(self, operations: Sequence[Any]) -> None:
        """Carry out writes that may be repeated.

        Raises:
            ConnectionProblem, NotPermitted, WriteFailed: they cannot be carried out.
        """
        if not operations:
            return
        with writing(self.collection):
            for attempt in attempts():
                with attempt:
                    self.collection.bulk_write(operations, ordered=False)

    def clear(self) -> None:
        """Remove all entries of the run."""
        with writing(self.collection):
            for attempt in attempts():
                with attempt:
                    self.collection.delete_many(self.all())

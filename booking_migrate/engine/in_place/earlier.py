"""The client documents that the application had made before a migration in place added to them."""

from collections.abc import Callable
from typing import Any

from booking_migrate.domain.booking import read_booking
from booking_migrate.domain.contract import is_client_id
from booking_migrate.domain.ordering import sort_key
from booking_migrate.engine.journal import STANDING
from booking_migrate.stores.journal import RunJournal


def earlier_documents(journal: RunJournal, collection: str) -> Callable[[Any], bytes | None]:
    """A function that says what the journal knows of a client's document before any run changed it; it only reads.

    Args:
        journal: the journal.
        collection: the name of the collection that was migrated in place.
    """
    runs = [run for run in journal.runs(collection) if run.archive is not None and run.state in STANDING]

    def find(client_id: Any) -> bytes | None:
        key = sort_key(client_id)
        for run in reversed(runs):
            for noted in journal.between(run.run_id, key, key):
                for note in noted.notes:
                    if note.before is not None and _client_key(note.before) == key:
                        return note.before
        return None

    return find


def _client_key(raw: bytes) -> bytes | None:
    client_id = read_booking(raw).fields.get("clientId")
    return sort_key(client_id) if is_client_id(client_id) else None

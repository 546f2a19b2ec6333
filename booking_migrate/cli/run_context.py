"""What the commands of a run's life share: where it is kept, and who is at work."""

import os
from pathlib import Path

from booking_migrate.cli.open_places import Places
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.states import run_options
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.journal import Holder
from booking_migrate.stores.open_journal import open_journal, open_undoable_target
from booking_migrate.stores.process import birth_of, host_name, user_name


def holder_of(command: str, run_id: str) -> Holder:
    """This process, as others read it who find the lock taken."""
    pid = os.getpid()
    return Holder(run_id, command, user_name(), host_name(), pid, birth_of(pid))


def stores_of(connection: Connection, *, target: str, source: str) -> RunStores:
    """Where the life of a run into a collection is kept.

    Args:
        connection: the server and the database.
        target: the target collection's name.
        source: the source as given.

    Raises:
        MissingUri, BadConfiguration: there is no such place.
    """
    places = open_journal(connection)
    return RunStores(
        places.journal,
        places.locks,
        open_undoable_target(connection, target, source_name=source),
        places.lag,
    )


def run_options_of(plan: MigrationPlan, places: Places, rejects: Path | None = None) -> dict[str, str]:
    """Everything that decides a run's result, as its journal has it (see `runs.states.run_options`)."""
    named = {
        "source": places.source,
        "target": places.target,
        "rejects": None if rejects is None else str(rejects),
        "json-format": places.json_format,
        **{option.removeprefix("--"): place.name for option, (place, _) in places.people.items()},
    }
    return run_options(plan, named)

"""What the journal costs a migration within MongoDB: ``python -m tests.benchmarks.journal --bookings 300000``.

The same bookings are migrated with and without a journal, in turn; the medians are compared.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from statistics import median
from time import monotonic

from booking_migrate.cli.open import current_process, open_run_stores
from booking_migrate.events import NullListener
from booking_migrate.migrate.journaled_run import migrate
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.session import RunRequest
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.states import run_options
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import open_reader, open_target
from booking_migrate.stores.places import parse_place
from tests.benchmarks.data import insert_bookings
from tests.support.migration import migrate as migrate_plainly
from tests.support.server import Server, running_server

_DATABASE = "journal_benchmark"
_INSERTED_AT_ONCE = 10_000


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.journal", description=__doc__)
    parser.add_argument("--bookings", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with running_server() as server:
        _fill(server, arguments.bookings)
        plain: list[float] = []
        journaled: list[float] = []
        for number in range(arguments.rounds):
            plain.append(_measured(server, partial(_plain, server)))
            journaled.append(_measured(server, partial(_journaled, server, f"run{number}")))
            sys.stderr.write(f"{plain[-1]:.2f} s without, {journaled[-1]:.2f} s with a journal\n")
        server.client().drop_database(_DATABASE)
    cost = median(journaled) / median(plain) - 1
    sys.stdout.write(f"The journal costs {cost:+.1%} of the time of {arguments.bookings:,} bookings.\n")


def _fill(server: Server, count: int) -> None:
    collection = server.client()[_DATABASE]["bookings"]
    insert_bookings(collection, count)
    collection.create_index("clientId")


def _measured(server: Server, work: Callable[[], None]) -> float:
    database = server.client()[_DATABASE]
    for name in database.list_collection_names():
        if name != "bookings":
            database.drop_collection(name)
    began = monotonic()
    work()
    return monotonic() - began


def _plain(server: Server) -> None:
    migrate_plainly("bookings", "clients", uri=server.uri, db=_DATABASE)


def _journaled(server: Server, run_id: str) -> None:
    plan = MigrationPlan()
    with closing(Connection(server.uri, _DATABASE)) as connection:
        source, users, experts = (
            open_reader(parse_place(name), connection, required=False)
            for name in ("bookings", "users", "experts")
        )
        migrate(
            plan,
            source,
            open_target(parse_place("clients"), connection, source_name="bookings"),
            stores=open_run_stores(connection, target="clients", source="bookings"),
            request=RunRequest(
                run_id=run_id,
                source="bookings",
                target="clients",
                options=run_options(plan, {}),
                holder=current_process("migrate", run_id),
            ),
            users=users,
            experts=experts,
            listener=NullListener(),
            signal_guard=SignalGuard(),
        )


if __name__ == "__main__":
    main()

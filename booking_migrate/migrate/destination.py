"""Whether a collection can take client documents, found out before the first write with documents such as would be written."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import read_booking
from booking_migrate.domain.consolidate import ClientCase, consolidate
from booking_migrate.domain.session import Converter, Session
from booking_migrate.migrate.lookup import Directory, FindsById
from booking_migrate.runs.outcome import Finding
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.stores.destination import PlaceFinding, examine

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoDestination

SAMPLE = 100
"""How many of the oldest and how many of the newest bookings are converted to try out conditions."""


def sample_documents(
    plan: MigrationPlan, documents: Iterable[bytes], directory: Directory
) -> tuple[bytes, ...]:
    """Make the client documents that some bookings would become if their clients had no other ones.

    Args:
        plan: what is to be done.
        documents: documents of the source; client documents among them are left out.
        directory: where people are looked up.
    """
    converter = Converter(plan.rules)
    read = (read_booking(raw) for raw in documents)
    bookings = [booking for booking in read if not booking.is_client_document]
    people = directory.find(each for each in bookings if each.lacks_client() or each.lacks_expert())
    clients: dict[bytes, list[Session]] = {}
    for booking in bookings:
        outcome = converter.convert(booking, people)
        if isinstance(outcome, Session):
            clients.setdefault(sort_key(outcome.client_id), []).append(outcome)
    made = (consolidate(ClientCase(sessions), plan.rules).document for sessions in clients.values())
    return tuple(document for document in made if document is not None)


def examine_target(
    plan: MigrationPlan,
    target: "MongoDestination",
    bookings: Iterable[bytes],
    *,
    users: FindsById | None,
    experts: FindsById | None,
) -> tuple[PlaceFinding, ...]:
    """Find what the indexes and options of a target do to client documents. Nothing is written.

    Args:
        plan: what is to be done.
        target: the collection.
        bookings: bookings of the source to try conditions out with.
        users: where users are looked up; None if nowhere.
        experts: where experts are looked up; None if nowhere.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: the server does not say.
    """
    documents = sample_documents(plan, bookings, Directory(users, experts, plan.people))
    return examine(target, documents, in_place=False)


def findings_of(place: str, found: Sequence[PlaceFinding]) -> Iterator[Finding]:
    """Yield what is only named about a collection."""
    for finding in found:
        if not finding.is_refused:
            yield Finding(
                kind=finding.kind,
                title=f"{place}: {finding.text}",
                count=1,
                sample_ids=(finding.name,),
                advice=f"If that is not wanted, first: {finding.remedy}",
            )

"""What ``verify`` and ``explain`` have in common: the places that they read, and the rules that decide what is right."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from booking_migrate.cli.open_places import Places, opened
from booking_migrate.cli.path_conflicts import check_distinct
from booking_migrate.domain.rejection import ConflictPolicy, Reason
from booking_migrate.errors import BookingMigrateError, ConnectionProblem, NotPermitted, SamePlace
from booking_migrate.events import Warned
from booking_migrate.stores.open import (
    CollectionPlace,
    Connection,
    FileFormat,
    FilePlace,
    Place,
    open_reader,
    parse_place,
)

if TYPE_CHECKING:
    from booking_migrate.domain.contract import Contract
    from booking_migrate.events import Listener
    from booking_migrate.stores.baseline import Baseline
    from booking_migrate.stores.ports import ComparedReader, DocumentReader, RejectedRecords
    from booking_migrate.verify import PeopleFields, VerificationRules


@dataclass(frozen=True, slots=True)
class VerifyInputs:
    """The open places."""

    connection: Connection
    source: "ComparedReader"
    target: "ComparedReader"
    rejected: "RejectedRecords"
    users: "DocumentReader | None"
    experts: "DocumentReader | None"
    has_client_index: Callable[[], bool] | None
    """None if the target is a file, which needs no index."""


@dataclass(frozen=True, slots=True)
class ProofPlaces(Places):
    """Where everything is, as the user wrote it; with the rejected bookings."""

    rejects: Path | None = None
    archive: str | None = None
    """In place: the collection that the old bookings were moved to. Source and target are one collection then."""

    @property
    def named(self) -> list[str]:
        """Every place that the user named."""
        places = (self.source, self.target, self.users, self.experts, self.rejects)
        return [str(place) for place in places if place is not None]

    def contact(self, connection: Connection) -> None:
        """Find the server, if any place is a collection.

        Raises:
            ConnectionProblem: none answers.
        """
        people = [place for place, _ in self.people.values()]
        for place in (parse_place(self.source), parse_place(self.target), *people):
            if isinstance(place, CollectionPlace):
                connection.contact(place.name)
                return

    @contextmanager
    def open(self, listener: "Listener") -> Iterator[VerifyInputs]:
        """Open everything for reading; nothing is contacted before the first question.

        Raises:
            SamePlace, BadPlace, MissingUri, BadConfiguration: the places make no sense.
        """
        # Here and not above: sqlite3 and bson are not needed to print help.
        from booking_migrate.stores.rejects_reader import open_rejected_records  # noqa: PLC0415

        if self.archive is not None:
            with self._open_in_place(self.archive, listener) as evidence:
                yield evidence
            return
        target = parse_place(self.target)
        if self.source == self.target:
            raise SamePlace(self.target)
        check_distinct({"--source": parse_place(self.source)}, {"--target": target})
        with opened(self, listener) as sides, ExitStack() as stack:
            connection = sides.connection
            theirs = open_reader(target, connection, json_format=self.json_format, listener=listener)
            rejected = open_rejected_records(
                target, connection, source_name=self.source, rejects=self.rejects
            )
            yield VerifyInputs(
                connection=connection,
                source=sides.source,
                target=stack.enter_context(closing(theirs)),
                rejected=stack.enter_context(closing(rejected)),
                users=sides.users,
                experts=sides.experts,
                has_client_index=_index_question(target, connection),
            )

    @contextmanager
    def _open_in_place(self, archive: str, listener: "Listener") -> Iterator[VerifyInputs]:
        # Here and not above: sqlite3 and bson are not needed to print help.
        from booking_migrate.stores.open_in_place import open_proof  # noqa: PLC0415
        from booking_migrate.stores.rejects_reader import open_rejected_records  # noqa: PLC0415

        with opened(self, listener) as sides, ExitStack() as stack:
            connection = sides.connection
            proof = open_proof(connection, source=self.source, archive=archive)
            rejected = open_rejected_records(parse_place(self.source), connection, source_name=self.source)
            yield VerifyInputs(
                connection=connection,
                source=stack.enter_context(closing(proof.old)),
                target=stack.enter_context(closing(proof.new)),
                rejected=stack.enter_context(closing(rejected)),
                users=sides.users,
                experts=sides.experts,
                has_client_index=proof.has_client_index,
            )


def check_own_archive(places: ProofPlaces, connection: Connection) -> None:
    """Refuse to compare with an archive that was dropped, or that is another collection of the same name.

    Raises:
        OldBookingsLost, ArchiveNotOwn: the archive is not what runs in place moved old bookings to.
        ConnectionProblem: no server answers.
    """
    # Here and not above: the journal is not needed to print help.
    from booking_migrate.in_place.archive import check_archive  # noqa: PLC0415
    from booking_migrate.stores.open_in_place import open_in_place  # noqa: PLC0415
    from booking_migrate.stores.open_journal import open_journal  # noqa: PLC0415

    if places.archive is None:
        return
    collection = open_in_place(connection, source=places.source, archive=places.archive)
    try:
        check_archive(collection, open_journal(connection).journal)
    except NotPermitted:
        # Without the journal the comparison itself has to show it; `baselines` says that it cannot be read.
        return


def _index_question(target: Place, connection: Connection) -> Callable[[], bool] | None:
    if not isinstance(target, CollectionPlace):
        return None
    collection = connection.collection(target.name)
    from booking_migrate.stores.mongo.client_index import has_client_index  # noqa: PLC0415 - the driver is slow to import

    return partial(has_client_index, collection)


def baselines(
    places: Places, connection: Connection, listener: "Listener"
) -> Callable[[Sequence[bytes]], "Mapping[bytes, Baseline]"]:
    """Return what looks up the client documents that the target held before the migration, as far as a journal knows.

    A journal that cannot be read does not stop the verification: a warning says so, and nothing is known.

    Raises:
        ConnectionProblem: the server does not answer, so nothing can be verified either.
    """
    # Here and not above: the driver is not needed to print help.
    from booking_migrate.runs.provenance import verified_history  # noqa: PLC0415
    from booking_migrate.stores.open_journal import open_journal  # noqa: PLC0415

    if isinstance(parse_place(places.target), CollectionPlace):
        try:
            journal = open_journal(connection).journal
            return verified_history(journal, source=places.source, target=places.target).baselines
        except ConnectionProblem:
            raise
        except BookingMigrateError as error:
            said = f"what was in {places.target} before the run is not known: {error.message}"
            listener.notify(Warned(said))
    return lambda _documents: {}


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides what must have come out; the options are those of ``migrate``."""

    accept: frozenset[Reason]
    maximum_document_size: int
    user_id_field: str
    user_email_field: str
    expert_user_field: str
    on_conflict: ConflictPolicy = ConflictPolicy.REJECT

    @property
    def people(self) -> "PeopleFields":
        """Where users and experts keep what sessions need."""
        from booking_migrate.verify import PeopleFields  # noqa: PLC0415 - not needed to print help

        return PeopleFields(self.user_id_field, self.user_email_field, self.expert_user_field)

    def for_target(
        self, target: str, contract: "Contract", *, allow_later: bool = False, allow_changed: bool = False
    ) -> "VerificationRules":
        """The rules for a target as the user wrote it; a JSON file cannot hold every document."""
        from booking_migrate.stores.files.extended_json import survives_extended_json  # noqa: PLC0415 - likewise
        from booking_migrate.stores.ports import stores_any_bson  # noqa: PLC0415 - likewise
        from booking_migrate.verify import VerificationRules  # noqa: PLC0415 - not needed to print help

        place = parse_place(target)
        holds_all = isinstance(place, CollectionPlace) or (
            isinstance(place, FilePlace) and place.format is FileFormat.BSON
        )
        return VerificationRules(
            contract=contract,
            accepted=self.accept,
            maximum_document_size=self.maximum_document_size,
            can_store=stores_any_bson if holds_all else survives_extended_json,
            allow_later=allow_later,
            on_conflict=self.on_conflict,
            allow_changed=allow_changed,
        )

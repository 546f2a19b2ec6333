"""From the options to what a verification needs: both sides, open, its rules, and what was there before the migration."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from booking_migrate.cli.open import OpenPlaces, Places, is_same_place, open_places
from booking_migrate.cli.options import RuleOptions
from booking_migrate.domain.contract import Contract
from booking_migrate.errors import (
    BookingMigrateError,
    BookingNotFound,
    ConnectionProblem,
    NothingToCompare,
    NotPermitted,
    PlaceNotFound,
    Refused,
    SamePlace,
)
from booking_migrate.events import Announced, Listener, Warned
from booking_migrate.in_place.archive import check_archive, refuse_other_archive
from booking_migrate.runs.commands import going_back, possible_commands
from booking_migrate.runs.control import VERIFY
from booking_migrate.runs.plan import Finding
from booking_migrate.runs.provenance import live_history, runs_of_live, verified_history
from booking_migrate.runs.regulator import Regulator, Unregulated
from booking_migrate.runs.states import FINAL, WITHOUT_RESULT, VerifiedRun, in_words, newest_result
from booking_migrate.runs.status import NOTHING_MIGRATED, cut_over_run, unfinished_run
from booking_migrate.stores.connection import Connection, client_index_check, open_journal
from booking_migrate.stores.files.extended_json import survives_extended_json
from booking_migrate.stores.in_place import Proof, open_cut_over_proof, open_in_place, open_proof
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.locks import Holder
from booking_migrate.stores.open import open_reader, open_rejected_records
from booking_migrate.stores.own_collections import default_archive
from booking_migrate.stores.places import CollectionPlace, FilePlace, parse_place
from booking_migrate.stores.ports import Baseline, ComparedReader, DocumentReader, stores_any_bson
from booking_migrate.stores.rejects import RejectedRecords
from booking_migrate.verify import Mismatch, VerificationOutcome, VerificationPlan, VerificationRules
from booking_migrate.verify.run import ignore, verify

RECHECK_SECONDS = 1.0
"""What a difference on a collection waits by default: longer than a majority write takes to be seen."""


def verification_plan(
    contract: Contract,
    rules: RuleOptions,
    places: Places,
    *,
    allow_later: bool = False,
    allow_changed: bool = False,
    allow_deleted: bool = False,
    **more: Any,
) -> VerificationPlan:
    """Return the plan to verify places as the user wrote them; a JSON file cannot hold every document."""
    target = parse_place(places.target)
    holds_all = isinstance(target, CollectionPlace) or (
        isinstance(target, FilePlace) and target.format.keeps_every_value
    )
    agreed = rules.under(contract)
    checked = VerificationRules(
        contract,
        agreed.accepted,
        agreed.maximum_document_size,
        agreed.on_conflict,
        can_store=stores_any_bson if holds_all else survives_extended_json,
        allow_later=allow_later,
        allow_changed=allow_changed,
        allow_deleted=allow_deleted,
    )
    return VerificationPlan(rules=checked, people=places.people.fields, **more)


@dataclass(frozen=True, slots=True)
class VerifyInputs:
    """Both sides of a comparison, open."""

    connection: Connection
    source: ComparedReader
    target: ComparedReader
    rejected: RejectedRecords
    users: DocumentReader | None
    experts: DocumentReader | None
    has_client_index: Callable[[], bool] | None
    """None if the target is a file, which needs no index."""

    cut_over: RunRecord | None = None
    """The run by whose cut-over the target is live: its kept copy and the live collection are compared, in use."""

    def names(self, places: Places) -> tuple[str, str]:
        """Return what is compared, as the user would write it: the source and the target."""
        run = self.cut_over
        return (places.source, places.target) if run is None else (run.legacy or "", run.source)

    def in_use(self, plan: VerificationPlan, allow_later: bool | None = None) -> VerificationPlan:
        """Return a plan under which the sessions that a new application has added or changed since are counted, unless the user forbids it."""
        if self.cut_over is None or allow_later is False:
            return plan
        return replace(plan, rules=replace(plan.rules, allow_later=True, allow_changed=True))

    def verify(
        self,
        plan: VerificationPlan,
        places: Places,
        listener: Listener,
        sink: Callable[[Mismatch], None] = ignore,
        *,
        regulator: Regulator | Unregulated | None = None,
    ) -> VerificationOutcome:
        """Compare both sides, with what the journal knows of the target before the migration.

        A journal that cannot be read does not stop the verification: a warning says so, and nothing is known.

        Raises:
            ConnectionProblem: the server does not answer, so nothing can be verified.
        """
        return verify(
            replace(plan, baselines=_baselines(places, self.connection, listener, self.cut_over)),
            self.source,
            self.target,
            self.rejected,
            users=self.users,
            experts=self.experts,
            has_client_index=self.has_client_index,
            sink=sink,
            listener=listener,
            regulator=regulator or Unregulated(),
        )


@contextmanager
def open_verify_inputs(places: Places, listener: Listener, *, workers: int = 1) -> Iterator[VerifyInputs]:
    """Open everything that ``verify`` and ``explain`` read; nothing is contacted before the first question.

    Raises:
        SamePlace, BadPlace, MissingUri, BadConfiguration: the places are not valid.
    """
    one, other = parse_place(places.source), parse_place(places.target)
    if places.archive is None and (places.source == places.target or is_same_place(one, other)):
        raise SamePlace(places.target)
    place = other if places.archive is None else one
    with open_places(places, listener, workers=workers) as sides, ExitStack() as stack:
        connection = sides.connection
        run, rejects, proof = _cut_over_run(places, connection), places.rejects, None
        if run is not None:
            proof, rejects = _open_live(run, connection, listener), _rejects_of(run, places)
        elif places.archive is not None:
            proof, rejects = open_proof(connection, source=places.source, archive=places.archive), None
        has_client_index: Callable[[], bool] | None
        if proof is not None:
            source = stack.enter_context(closing(proof.old))
            target, has_client_index = proof.new, proof.has_client_index
        else:
            source, has_client_index = sides.source, client_index_check(connection, place)
            target = open_reader(
                place,
                connection,
                json_format=places.json_format,
                listener=listener,
                start_pool=sides.start_pool,
            )
        rejected = open_rejected_records(place, connection, source_name=places.source, rejects=rejects)
        if proof is not None:
            rejected.superseded = proof.superseded
        inputs = VerifyInputs(
            connection=connection,
            source=source,
            target=stack.enter_context(closing(target)),
            rejected=stack.enter_context(closing(rejected)),
            users=sides.users,
            experts=sides.experts,
            has_client_index=has_client_index,
            cut_over=run,
        )
        try:
            yield inputs
        except (PlaceNotFound, BookingNotFound) as error:
            if (
                isinstance(error, PlaceNotFound)
                and places.archive is not None
                and error.place == places.archive
            ):
                raise _before_any_run(error, places) from None
            if isinstance(place, CollectionPlace) and places.archive is None and run is None:
                _refuse_finalized(error, places, connection)
                _name_cut_over(error, places, connection)
                _name_migrate(error, places, connection)
            raise


@contextmanager
def open_beside(places: Places, sides: OpenPlaces, source: ComparedReader) -> Iterator[VerifyInputs]:
    """Open the target of a run side by side, to compare it with a collection of old bookings that is open already."""
    target, connection = parse_place(places.target), sides.connection
    index_check = client_index_check(connection, target)
    with (
        closing(open_reader(target, connection)) as result,
        closing(open_rejected_records(target, connection, source_name=places.source)) as rejected,
    ):
        yield VerifyInputs(connection, source, result, rejected, sides.users, sides.experts, index_check)


def unfinished_findings(places: Places, connection: Connection) -> Sequence[Finding]:
    """Return what to say about a run that has not finished the target; nothing where the journal cannot be read.

    That it cannot be read is reported where the target's baselines are looked up.
    """
    if not isinstance(parse_place(places.target), CollectionPlace):
        return ()
    journal, locks, _ = open_journal(connection)
    try:
        found = unfinished_run(journal, locks, target=places.target)
    except Refused:
        return ()
    return () if found is None else (found,)


def nothing_migrated(places: Places, inputs: VerifyInputs, migrate: str) -> Sequence[Finding]:
    """Return the finding that no run has migrated the source into the target, which is empty; nothing if that is not so."""
    is_beside = places.archive is None and places.are_collections
    if not is_beside or inputs.target.estimate_count() or _has_run(places, inputs.connection):
        return ()
    title = f"nothing was migrated yet from {places.source} to {places.target}"
    return (Finding(NOTHING_MIGRATED, title, 1, (), f"Migrate first: {migrate}"),)


def _has_run(places: Places, connection: Connection) -> bool:
    """Return whether the result of a run from the source into the target stands; true if the journal cannot be read."""
    try:
        runs = open_journal(connection).journal.runs(places.target)
    except Refused:
        return True
    return any(each.source == places.source and each.state not in WITHOUT_RESULT for each in runs)


def regulator_of(
    connection: Connection, verified: VerifiedRun | None, process: Holder, listener: Listener
) -> Regulator | Unregulated:
    """Return what holds the reading back by what others ask; nothing does if nothing may be recorded."""
    if verified is None or verified.run_id is None:
        return Unregulated()
    return Regulator(
        open_journal(connection).journal,
        listener,
        command=VERIFY,
        process=process,
        run_id=lambda: verified.run_id,
        beats=True,
    )


def newest_run(places: Places, connection: Connection) -> RunRecord | None:
    """Return the newest run from the source into the target; None too where the journal cannot be read, or of files."""
    if not places.are_collections:
        return None
    try:
        run = newest_result(open_journal(connection).journal, places.target)
    except Refused:
        # That it cannot be read is reported where the target's baselines are looked up.
        return None
    return run if run is not None and run.source == places.source else None


def _cut_over_run(places: Places, connection: Connection) -> RunRecord | None:
    """Return the newest run of the target if its cut-over made that live."""
    run = None if places.archive is not None else newest_run(places, connection)
    return run if run is not None and run.state is RunState.CUT_OVER else None


def _open_live(run: RunRecord, connection: Connection, listener: Listener) -> Proof:
    kept = run.legacy or ""
    said = f"{run.target} is live as {run.source} since the cut-over of run {run.run_id}: comparing it with {kept}"
    listener.notify(Announced(said))
    runs = runs_of_live(open_journal(connection).journal, run)
    archives = dict.fromkeys(each.archive for each in runs if each.archive is not None)
    return open_cut_over_proof(connection, live=run.source, kept=kept, archives=list(archives))


def _rejects_of(run: RunRecord, places: Places) -> Path | None:
    """Return the file that a run put its rejected bookings into; None without one."""
    recorded = run.options.get("rejects")
    return places.rejects if places.rejects is not None or recorded is None else Path(recorded)


def _refuse_finalized(error: BookingMigrateError, places: Places, connection: Connection) -> None:
    """Raise instead of an error that the target does not exist that finalize has ended its run.

    Raises:
        NothingToCompare: it has, or has begun to.
    """
    if not isinstance(error, PlaceNotFound):
        return
    try:
        runs = open_journal(connection).journal.runs(places.target)
    except Refused:
        return
    newest = next((each for each in runs if each.state not in WITHOUT_RESULT), None)
    if newest is None or newest.state not in FINAL or newest.source != places.source:
        return
    completion = next((each.command for each in possible_commands(newest, is_newest=True)), "")
    raise NothingToCompare(
        newest.run_id, places.source, places.target, in_words(newest.state), completion
    ) from error


def _name_cut_over(error: BookingMigrateError, places: Places, connection: Connection) -> None:
    """Add to an error that something is absent that a cut-over has given the source's name to the target."""
    try:
        run = cut_over_run(open_journal(connection).journal, places.source, places.target)
    except BookingMigrateError as trouble:
        error.add_note(f"Whether a cut-over is the cause is not known: {trouble.message}.")
        return
    if run is not None:
        error.add_note(
            f"Since the cut-over of run {run.run_id}, {run.target} is live as {run.source}, and {run.legacy} keeps the old "
            f"bookings. To look there: booking-migrate explain ID --source {run.legacy} --target {run.source}\n"
            f"{going_back(run)}"
        )


def _name_migrate(error: BookingMigrateError, places: Places, connection: Connection) -> None:
    """Add to an error that the target does not exist that nothing was migrated yet."""
    if isinstance(error, PlaceNotFound) and error.place == places.target and not _has_run(places, connection):
        command = shlex.join(["--source", places.source, "--target", places.target])
        error.add_note(
            f"If nothing was migrated yet from {places.source} to {places.target}: booking-migrate migrate {command}"
        )


def _before_any_run(error: PlaceNotFound, places: Places) -> PlaceNotFound:
    """Return an error that an archive does not exist that names no other collection, but the migration that makes it."""
    command = shlex.join(["--source", places.source])
    if places.archive is not None and places.archive != default_archive(places.source):
        command += f" {shlex.join(['--archive', places.archive])}"
    unmeant = replace(error, near="")
    unmeant.add_note(
        f"If nothing was migrated yet within {places.source}: booking-migrate migrate --in-place {command}"
    )
    return unmeant


def check_own_archive(places: Places, connection: Connection) -> None:
    """Refuse to compare with an archive that was dropped, or that is another collection of the same name.

    Raises:
        OtherArchive, OldBookingsLost, ArchiveNotOwn: the archive is not what runs in place moved old bookings to.
        ConnectionProblem: no server answers.
    """
    if places.archive is None:
        return
    collection = open_in_place(connection, source=places.source, archive=places.archive)
    journal = open_journal(connection).journal
    try:
        refuse_other_archive(journal, source=places.source, archive=places.archive)
        check_archive(collection, journal)
    except NotPermitted:
        # Without the journal the comparison itself has to show it; `VerifyInputs.verify` says that it cannot be read.
        return


def _baselines(
    places: Places, connection: Connection, listener: Listener, cut_over: RunRecord | None
) -> Callable[[Sequence[bytes]], Mapping[bytes, Baseline]]:
    """Return a function that looks up the client documents that the target held before the migration."""
    if isinstance(parse_place(places.target), CollectionPlace):
        try:
            journal = open_journal(connection).journal
            if cut_over is not None:
                return live_history(journal, cut_over).baselines
            return verified_history(journal, source=places.source, target=places.target).baselines
        except ConnectionProblem:
            raise
        except BookingMigrateError as error:
            said = f"what was in {places.target} before the run is not known: {error.message}"
            listener.notify(Warned(said))
    return lambda _documents: {}

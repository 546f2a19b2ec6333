"""The command ``finalize``: the end of a migration in place, from which there is no way back."""

from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from booking_migrate.cli import options, run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.open_places import is_from_environment
from booking_migrate.cli.printed_commands import GivenOptions
from booking_migrate.cli.streams import is_interactive
from booking_migrate.cli.verify_inputs import ProofPlaces, Rules, baselines
from booking_migrate.domain.rejection import ConflictPolicy
from booking_migrate.errors import NotConfirmed
from booking_migrate.stores.open_in_place import default_archive, open_in_place

if TYPE_CHECKING:
    from booking_migrate.cli.verify_inputs import VerifyInputs
    from booking_migrate.domain.contract import Contract
    from booking_migrate.events import Listener
    from booking_migrate.in_place.finalize import FinalizeOutcome
    from booking_migrate.reports.model import Report
    from booking_migrate.verify.outcome import VerificationOutcome

HELP = filled("""
End a migration in place: verify it once more, then drop the archive with the old bookings. There is no way back.

If the verification finds a mismatch, nothing is dropped, and the exit code is 4. Give the same --users, --experts,
--accept, --max-document-size and \\[contract] as for the migration. With --drop-legacy-ids, legacyBookingId is taken out of all sessions
too, a few client documents at a time. If it is interrupted, give it again. Rejected bookings stay where they are.

\b
[bold]Examples[/bold]
  When the team is sure:
    MONGODB_URI=mongodb://localhost booking-migrate finalize --db shop --source bookings
  In a script:
    booking-migrate finalize --source bookings --drop-legacy-ids --yes --json
""")

_RECHECK_SECONDS = 1.0

DropLegacyIds = Annotated[
    bool,
    options.option(
        "--drop-legacy-ids",
        panel="In place",
        help="Take legacyBookingId out of all sessions, too: nothing tells any more which booking one was.",
    ),
]


def finalize(
    ctx: typer.Context,
    *,
    source: options.Source = "bookings",
    archive: options.Archive = None,
    drop_legacy_ids: DropLegacyIds = False,
    uri: options.Uri = None,
    db: options.Db = None,
    users: options.Users = None,
    experts: options.Experts = None,
    user_id_field: options.UserIdField = "user_id",
    user_email_field: options.UserEmailField = "email",
    expert_user_field: options.ExpertUserField = "userId",
    accept: options.Accept = None,
    max_document_size: options.MaxDocumentSize = options.DEFAULT_DOCUMENT_SIZE,
    on_conflict: options.OnConflict = ConflictPolicy.REJECT,
    yes: options.Yes = False,
    json: options.Json = False,
    report: options.Reports = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_finalize`."""
    places = ProofPlaces(
        source=source,
        target=source,
        users=users,
        experts=experts,
        uri=uri,
        is_uri_from_environment=is_from_environment(ctx, "uri"),
        db=db,
        json_format=None,
        archive=archive or default_archive(source),
    )
    rules = Rules(
        frozenset(accept or ()),
        max_document_size,
        user_id_field,
        user_email_field,
        expert_user_field,
        on_conflict,
    )
    asked = run.Invocation(
        command="finalize",
        source=source,
        target=source,
        places=[*places.named, *(str(path) for path in (config,) if path is not None)],
        uri=uri,
        json=json,
        reports=tuple(report or ()),
        quiet=quiet,
        verbose=verbose,
        given=GivenOptions.of(ctx),
    )

    def body(run_id: str, listener: "Listener") -> "Report":
        from booking_migrate.reports.life.model import report_of_finalize  # noqa: PLC0415 - not needed to print help

        began = monotonic()
        with places.open(listener) as evidence:
            if not yes:
                _confirm(places, evidence)
            proof = _proof(places, rules, contract_of(ctx), evidence, listener)
            outcome = _finalize(places, evidence, proof, run_id, listener, drop_legacy_ids=drop_legacy_ids)
        return report_of_finalize(outcome, seconds=monotonic() - began)

    run.execute(asked, body)


def _finalize(
    places: ProofPlaces,
    evidence: "VerifyInputs",
    proof: "_Proof",
    run_id: str,
    listener: "Listener",
    *,
    drop_legacy_ids: bool,
) -> "FinalizeOutcome":
    # Here and not above: stores and engine are not needed to print help.
    from booking_migrate.cli.run_context import holder_of, stores_of  # noqa: PLC0415
    from booking_migrate.in_place.finalize import FinalizePlan, finalize  # noqa: PLC0415

    return finalize(
        FinalizePlan(
            collection=open_in_place(evidence.connection, source=places.source, archive=places.archive or ""),
            stores=stores_of(evidence.connection, target=places.source, source=places.source),
            holder=holder_of("finalize", run_id),
            verify=proof,
            drop_legacy_ids=drop_legacy_ids,
            listener=listener,
        )
    )


class _Proof:
    """The verification, to be done when the lock is held."""

    def __init__(
        self,
        places: ProofPlaces,
        rules: Rules,
        contract: "Contract",
        evidence: "VerifyInputs",
        listener: "Listener",
    ) -> None:
        self._places = places
        self._rules = rules
        self._contract = contract
        self._evidence = evidence
        self._listener = listener

    def __call__(self) -> "VerificationOutcome":
        """Verify as ``verify --in-place`` does."""
        from booking_migrate.verify import VerificationPlan, verify  # noqa: PLC0415 - as above

        evidence = self._evidence
        plan = VerificationPlan(
            rules=self._rules.for_target(
                self._places.target, self._contract, allow_later=True, allow_changed=True
            ),
            people=self._rules.people,
            recheck_seconds=_RECHECK_SECONDS,
        )
        known = baselines(self._places, evidence.connection, self._listener)
        return verify(
            replace(plan, baselines=known),
            evidence.source,
            evidence.target,
            evidence.rejected,
            users=evidence.users,
            experts=evidence.experts,
            has_client_index=evidence.has_client_index,
            listener=self._listener,
        )


def _proof(
    places: ProofPlaces, rules: Rules, contract: "Contract", evidence: "VerifyInputs", listener: "Listener"
) -> _Proof:
    return _Proof(places, rules, contract, evidence, listener)


def _confirm(places: ProofPlaces, evidence: "VerifyInputs") -> None:
    """Ask whoever is at the terminal to type the archive's name.

    Raises:
        NotConfirmed: nobody is, or it is another name.
    """
    from booking_migrate.in_place.finalize import runs_to_finalize  # noqa: PLC0415 - as above
    from booking_migrate.stores.open_journal import open_journal  # noqa: PLC0415

    archive = places.archive or ""
    journal = open_journal(evidence.connection).journal
    chosen = runs_to_finalize(journal, source=places.source, archive=archive)[0]
    what = f"finalize of run {chosen.run_id} (drops {archive}, and with it every way back)"
    if not is_interactive():
        raise NotConfirmed(what)
    typed = typer.prompt(f"{what}. Type {archive} to go on", err=True, default="", show_default=False)
    if typed != archive:
        raise NotConfirmed(what, typed, archive)

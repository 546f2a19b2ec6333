"""From a run's record to the plan by which it was made, for commands that take none of its options."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack

from pydantic import ValidationError

from booking_migrate.cli.cutover_parts import open_tail
from booking_migrate.cli.following import FollowContext
from booking_migrate.cli.open import Places, open_places
from booking_migrate.cli.options import ConnectionOptions, PeopleOptions
from booking_migrate.cutover.tail import TailParts
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.rejection import ConflictPolicy, Reason
from booking_migrate.domain.rules import PeopleFields, Rules
from booking_migrate.errors import CutoverRefused
from booking_migrate.events import Listener
from booking_migrate.runs.commands import command_of
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.states import options_as_text
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.places import DEFAULT_EXPERTS, DEFAULT_USERS, JsonFormat

_CONTRACT = "contract."


def plan_of(run: RunRecord) -> MigrationPlan | None:
    """Return the plan that a run's record says it was made by; None if the text does not determine it."""
    options = run.options
    try:
        rules = Rules(
            Contract.model_validate(_contract(options)),
            frozenset(map(Reason, _words(options["accept"]))),
            int(options["max-document-size"]),
            ConflictPolicy(options["on-conflict"]),
        )
        people = PeopleFields(
            options["user-id-field"], options["user-email-field"], options["expert-user-field"]
        )
    except (KeyError, ValueError, ValidationError):
        return None
    plan = MigrationPlan(
        rules=rules,
        people=people,
        merge_client_documents=options.get("merge-client-documents") == str(True),
    )
    recorded = options_as_text(plan)
    return plan if all(options.get(name) == text for name, text in recorded.items()) else None


def _contract(options: Mapping[str, str]) -> dict[str, object]:
    given: dict[str, object] = {}
    for name, field in Contract.model_fields.items():
        text = options[_CONTRACT + name]
        if text == str(None):
            given[name] = None
        else:
            given[name] = tuple(_words(text)) if "tuple" in str(field.annotation) else text
    return given


def _words(text: str) -> list[str]:
    return text.split(", ") if text else []


def recorded_tail(
    connection: ConnectionOptions,
    stores: RunStores,
    stack: ExitStack,
    *,
    listener: Listener,
    signal_guard: SignalGuard,
) -> Callable[[RunRecord, HeldLock], TailParts]:
    """Return a function that opens the parts for what passed the fence of a run's cut-over, by what its record says; the stack closes them."""

    def opened(run: RunRecord, lock: HeldLock) -> TailParts:
        plan = plan_of(run)
        if plan is None:
            raise CutoverRefused(
                run.target,
                "the record of the run does not determine how its bookings were converted",
                f"Complete the cut-over first: {command_of(run, 'cutover')}",
            )
        places = _places(run, plan.people, connection)
        context = FollowContext(
            places=places,
            sides=stack.enter_context(open_places(places, listener)),
            stores=stores,
            plan=plan,
            listener=listener,
            signal_guard=signal_guard,
        )
        return open_tail(context)(run, lock)

    return opened


def _places(run: RunRecord, fields: PeopleFields, connection: ConnectionOptions) -> Places:
    json_format = run.options.get("json-format")

    def named(kind: str, default: str) -> str | None:
        """Return the place of people, if it is not the default one, which need not exist."""
        place = run.options.get(kind)
        return None if place == default else place

    return Places(
        source=run.source,
        target=run.target,
        rejects=None,
        json_format=None if json_format is None else JsonFormat(json_format),
        people=PeopleOptions(
            users=named("users", DEFAULT_USERS),
            experts=named("experts", DEFAULT_EXPERTS),
            user_id_field=fields.user_id,
            user_email_field=fields.email,
            expert_user_field=fields.expert_user,
        ),
        connection=connection,
        is_uri_from_environment=False,
    )

"""Plans in files: written by ``dry-run --plan``, followed by ``migrate --plan``."""

from pathlib import Path

from pydantic import ValidationError

from booking_migrate.cli.open import Places
from booking_migrate.errors import BadConfiguration, PlanDiffers
from booking_migrate.events import Listener, Warned
from booking_migrate.reports.files import replace_file
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.saved_plan import Fingerprint, SavedPlan, options_of
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import fingerprint, parse_place


def current_plan(places: Places, plan: MigrationPlan, connection: Connection) -> SavedPlan:
    """Return what would be migrated now, by these options, over the data as it is.

    Raises:
        PlaceNotFound, UnusablePlace, NotPermitted, ConnectionProblem: something cannot be read.
    """
    people = {option.removeprefix("--"): place for option, (place, _) in places.people_places.items()}
    fingerprints: dict[str, Fingerprint] = {
        "source": fingerprint(parse_place(places.source), connection),
        **{name: fingerprint(place, connection, only_count=True) for name, place in people.items()},
    }
    named = {name: place.name for name, place in people.items()}
    return SavedPlan(
        places={"source": places.source, "target": places.target, **named},
        options=options_of(plan),
        fingerprints=fingerprints,
    )


def check_plan(
    path: Path, places: Places, plan: MigrationPlan, connection: Connection, listener: Listener
) -> None:
    """Refuse to migrate other than planned, and warn of what has changed in the collections since.

    Raises:
        PlanDiffers: options, contract or files are no longer those of the plan, or a collection has been emptied.
        BadConfiguration: the file is not a plan.
    """
    saved = _read(path)
    current = current_plan(places, plan, connection)
    if differences := saved.differences(current):
        raise PlanDiffers(str(path), differences)
    for change in saved.changes(current):
        listener.notify(Warned(f"since {path} was made, {change}"))


def _read(path: Path) -> SavedPlan:
    try:
        return SavedPlan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadConfiguration("--plan", f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadConfiguration(
            "--plan", f"{path} is not a plan of this version: {where or 'it'}: {first['msg']}"
        ) from error


def write_plan(path: Path, plan: SavedPlan) -> None:
    """Save a plan; what the file held before is replaced.

    Raises:
        WriteFailed: the file cannot be written.
    """
    replace_file(path, plan.model_dump_json(indent=2) + "\n")

"""What each writing command checks before anything is changed, by the checks of `preflight` that it does not make itself anyway."""

from booking_migrate.cli.open import Places
from booking_migrate.preflight.privileges import refuse_lacking
from booking_migrate.stores.connection import Connection, open_inspector
from booking_migrate.stores.places import CollectionPlace, parse_place, refuse_own


def refuse_unready(row: str, places: Places, connection: Connection) -> None:
    """Refuse a command that the server would not permit its user to complete.

    Everything else that prevents it, such as a lock, a run, a validator or too few members, it finds out itself before it writes.

    Args:
        row: the command's row in the table of privileges.
        places: its places.
        connection: the server and the database.

    Raises:
        BadPlace: the target is a collection of the program's own.
        NotReady: the user lacks a privilege; nothing was changed.
        ConnectionProblem: the server cannot be asked.
    """
    sides = [parse_place(side) for side in (places.source, places.target)]
    if isinstance(sides[1], CollectionPlace):
        refuse_own(sides[1].name)
    people = [place for place, _ in places.people_places.values()]
    names = [place.name for place in (*sides, *people) if isinstance(place, CollectionPlace)]
    refuse_lacking(open_inspector(connection, names[0]), row, names)

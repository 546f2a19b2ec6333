"""Whether two places are one: what is read must never be overwritten."""

from collections.abc import Mapping
from pathlib import Path

from booking_migrate.errors import BadConfiguration, SamePlace
from booking_migrate.stores.open import CollectionPlace, FilePlace, Place, StreamPlace


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Return whether two paths lead to one file, through links too; neither needs to exist."""
    first, second = Path(one), Path(other)
    if first.resolve() == second.resolve():
        return True
    try:
        return first.exists() and second.exists() and first.samefile(second)
    except OSError:
        # Such as a name that is too long: it is not a file, and opening it says why.
        return False


def is_same_place(one: Place, other: Place) -> bool:
    """Return whether two places are one file or one collection; standard input and output are two."""
    if isinstance(one, FilePlace) and isinstance(other, FilePlace):
        return is_same_file(one.path, other.path)
    return isinstance(one, CollectionPlace) and one == other


def check_distinct(read: Mapping[str, Place], written: Mapping[str, Place]) -> None:
    """Refuse to write what is read, or to write two things to one place.

    Args:
        read: the places that are read, by the options that name them.
        written: the places that are written, likewise.

    Raises:
        SamePlace: ``--source`` and ``--target`` are the same.
        BadConfiguration: any other two are.
    """
    streams = [option for option, place in read.items() if isinstance(place, StreamPlace)]
    if len(streams) > 1:
        raise BadConfiguration(streams[1], f"standard input is also given as {streams[0]}")
    everything = {**read, **written}
    for option, place in written.items():
        for other, neighbour in everything.items():
            if option == other or not is_same_place(place, neighbour):
                continue
            if {option, other} == {"--source", "--target"}:
                raise SamePlace(place.name)
            raise BadConfiguration(option, f"{place.name} is also given as {other}")

"""What a target held before a migration, as a verification needs it."""

from typing import NamedTuple


class Baseline(NamedTuple):
    """What stood in the place of a client document of the target before the migration."""

    document: bytes
    """The last version that others wrote, which a run then continued from."""

    oldest: bytes | None
    """The version before the first run; None if it was not there then."""

"""The parts of a cut-over that hold up the application: the fence, the guard and the swap, each within a time limit."""

from collections.abc import Mapping
from typing import Any

from bson.timestamp import Timestamp

from booking_migrate.stores.mongo.administration import options_of
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.exclusive import rename_over, validate
from booking_migrate.stores.mongo.fence import raise_fence
from booking_migrate.stores.validators import (
    NO_VALIDATION,
    enforced_validator,
    guarded,
    is_fenced,
    is_guarded,
    unguarded,
    validation_of,
)


class LiveSwap:
    """Fence and swap of one source and target, of one database."""

    def __init__(self, source: DriverCollection, target: DriverCollection) -> None:
        self._source = source
        self._target = target

    def raise_fence(self, seconds: float) -> Timestamp:
        """Make the source refuse inserts and updates; return the cluster time from which on it does.

        Raises:
            FenceBlocked: it did not get the collection in time. Whether the fence is raised has to be checked.
        """
        answer = raise_fence(self._source, seconds)
        fenced: Timestamp = answer["operationTime"]
        return fenced

    def is_fenced(self) -> bool:
        """Return whether the source refuses inserts and updates."""
        return is_fenced(options_of(self._source))

    def swap(self, seconds: float) -> Timestamp:
        """Rename the target to the source's name in one atomic step, which drops the source; return its cluster time.

        Raises:
            FenceBlocked: it did not get the collections in time. Whether it happened is to be asked.
        """
        answer = rename_over(self._target, self._source, seconds)
        swapped: Timestamp = answer["operationTime"]
        return swapped


def guard(collection: DriverCollection, *, is_lenient: bool) -> None:
    """Let a collection refuse documents without an array `sessions`, beside its own validator.

    Where the guard is there and has been switched off since, it is enforced again. With ``is_lenient``, documents that are in it
    already may still be updated.
    """
    options = (describe(collection) or {}).get("options", {})
    if is_guarded(options) and enforced_validator(options):
        return
    validate(collection, guarded(validation_of(unguarded(options)), is_lenient=is_lenient))


def set_own_validation(collection: DriverCollection, validation: Mapping[str, Any]) -> None:
    """Set a validator on a collection beside the guard, if the guard is there; one of its own stays. May be repeated."""
    options = (describe(collection) or {}).get("options", {})
    if unguarded(options).get("validator"):
        return
    if is_guarded(options):
        # In one step: in between, old bookings would be accepted.
        is_lenient = options.get("validationLevel") == "moderate"
        validate(collection, guarded(validation, is_lenient=is_lenient))
    else:
        validate(collection, {**NO_VALIDATION, **validation})


def unguard(collection: DriverCollection) -> None:
    """Take the guard's validator off; the collection's own one stays, with its level and action."""
    options = (describe(collection) or {}).get("options", {})
    if is_guarded(options):
        validate(collection, validation_of(unguarded(options)))

"""What is done to whole collections, the same for a cut-over and for its way back."""

from collections.abc import Mapping
from typing import Any

from pymongo.database import Database
from pymongo.errors import CollectionInvalid, WriteConcernError

from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.retry import attempts, majority_written

NO_VALIDATION: Mapping[str, Any] = {"validator": {}, "validationLevel": "strict", "validationAction": "error"}
"""What a collection has that was never given a validator (manual, reference/command/collMod)."""


def run_durably(database: Database[Any], command: Mapping[str, Any]) -> None:
    """Send a command that writes; when it returns, a majority has what it did.

    Raises:
        PyMongoError: the server refuses it, or a majority has not acknowledged it in time, which the driver overlooks.
    """
    answer = database.command({**command, "writeConcern": majority_written().document})
    unacknowledged = answer.get("writeConcernError")
    if unacknowledged:
        raise WriteConcernError(unacknowledged.get("errmsg", ""), unacknowledged.get("code"), unacknowledged)


def identity(collection: DriverCollection) -> str | None:
    """Return what identifies a collection, whatever it is called; None if it does not exist."""
    listed = describe(collection)
    return None if listed is None else bytes(listed["info"]["uuid"]).hex()


def validation_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a collection's options that are about its validator."""
    return {name: options[name] for name in NO_VALIDATION if name in options}


def validate(collection: DriverCollection, validation: Mapping[str, Any]) -> None:
    """Set a collection's validator; when it returns, that is durable.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it.
    """
    with writing(collection):
        for attempt in attempts():
            with attempt:
                run_durably(collection.database, {"collMod": collection.name, **validation})


def collation_of(options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a collection's default collation, without the version of the library behind it; None if it compares bytes."""
    collation = options.get("collation")
    if not collation:
        return None
    return {name: value for name, value in collation.items() if name != "version"}


def create_like(collection: DriverCollection, model: DriverCollection) -> bool:
    """Create a collection with the default collation of another one that has any; return whether it was created.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it.
    """
    collation = collation_of((describe(model) or {}).get("options", {}))
    if collation is None or describe(collection) is not None:
        return False
    with writing(collection):
        for attempt in attempts():
            with attempt:
                try:
                    collection.database.create_collection(collection.name, collation=collation)
                except CollectionInvalid:
                    # It was made by an attempt whose answer got lost.
                    continue
    return True


def has_same_hash(collection: DriverCollection, other: str) -> bool:
    """Return whether the server's hash of the documents of two collections is one (manual, reference/command/dbHash)."""
    with reading(collection):
        for attempt in attempts():
            with attempt:
                hashes = collection.database.command("dbHash", collections=[collection.name, other])
    digests: Mapping[str, str] = hashes["collections"]
    return digests[collection.name] == digests[other]


def rename(successor: DriverCollection, live: DriverCollection) -> None:
    """Replace a collection by another atomically; the replaced one is dropped (manual, reference/command/renameCollection).

    After a lost answer, whether it happened is asked first.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it.
    """
    database = live.database
    name = identity(successor)
    with writing(successor):
        for attempt in attempts():
            with attempt:
                if attempt.num > 1 and identity(live) == name:
                    continue
                run_durably(
                    database.client.admin,
                    {
                        "renameCollection": f"{database.name}.{successor.name}",
                        "to": f"{database.name}.{live.name}",
                        "dropTarget": True,
                    },
                )

"""Errors of the command line, and of places and the documents in them."""

from collections.abc import Sequence
from shlex import quote

from booking_migrate.errors.base import (
    OutputProblem,
    Refused,
    Unexpected,
    UsageProblem,
    beside,
    either,
)

_NAMES_SHOWN = 8
"""How many names a hint lists."""


class BadPlace(UsageProblem):
    """A place that is neither a file of a known kind nor a collection name."""

    text: str
    problem: str
    advice: str = (
        "A place is a collection name, a .jsonl, .ndjson, .json or .bson file (each also .gz), or -."
    )
    message = "{text!r} is not a valid place: {problem}"


class SamePlace(UsageProblem):
    """Source and target are one and the same."""

    place: str
    message = "source and target are both {place}"
    hint = "Use a different --target: a side-by-side migration never changes its source."


class MissingUri(UsageProblem):
    """A place is a collection, but nothing says on which server or in which database."""

    place: str
    has_server: bool
    """Whether the database is lacking, not the server."""

    databases: Sequence[str] = ()
    """The databases of the server, as far as the user may know."""

    lacking = either("has_server", "database", "server")
    message = "no {lacking} was named for the collection {place!r}"
    hint = either(
        "has_server",
        "Pass --db, or put the database's name into the connection string.{there}",
        "Pass --uri or set MONGODB_URI; for a file, write a path such as ./bookings.jsonl.",
    )

    @property
    def there(self) -> str:
        more = len(self.databases) - len(self.databases[:_NAMES_SHOWN])
        named = ", ".join(self.databases[:_NAMES_SHOWN]) + (f" and {more} more" if more else "")
        return f" The server has {named}." if named else ""

    @property
    def again(self) -> str:
        if not self.has_server:
            return "--uri mongodb://HOST:27017/DATABASE"
        return f"--db {quote(self.databases[0])}" if len(self.databases) == 1 else "--db NAME"


class BadConfiguration(UsageProblem):
    """An option, an environment variable or the config file has a value that cannot be used."""

    where: str
    """The config file, the variable or the option."""

    problem: str
    advice: str = ""
    message = "{where}: {problem}"


class MissingExtra(UsageProblem):
    """A command needs packages that are not installed."""

    command: str
    extra: str
    message = "{command} needs packages that are not installed"
    hint = "Install them into the environment of this program: pip install 'booking-migrate[{extra}]'"


class PlaceNotFound(Refused):
    """A source file or collection does not exist."""

    place: str
    database: str = ""
    """Where it was looked for, if it is a collection."""

    hosts: str = ""
    near: str = ""
    """The collection that was probably meant."""

    near_database: str = ""
    """The database that was probably meant; this one has no collections."""

    message = either(
        "database",
        "collection {place} does not exist in database {database} at {hosts}",
        "{place} does not exist",
    )

    @property
    def hint(self) -> str:
        if not self.database:
            return "Check the path."
        if self.near_database:
            return f"The database {self.database} is empty. Did you mean the database {self.near_database}?"
        if self.near:
            return f"Did you mean {self.near}?"
        return "Check the names of the collection and of the database (--db or the connection string)."


class NoBookings(Refused):
    """A database in which no collection holds bookings."""

    database: str
    collections: Sequence[str]
    """The first of those that were looked at."""

    count: int
    """How many were looked at."""

    others: Sequence[str]
    """The other databases of the server, as far as the user may know."""

    message = either(
        "count",
        "no collection of database {database} holds bookings; {count:collection has|collections have} documents: "
        "{collections:, |{count}}",
        "database {database} does not have any documents",
    )

    @property
    def hint(self) -> str:
        there = f" The server also has {', '.join(self.others)}." if self.others else ""
        return f"Is it the right database? Name another one with --db.{there}"

    @property
    def again(self) -> str:
        return f"--db {quote(self.others[0])}" if len(self.others) == 1 else "--db NAME"


class OutputExists(Refused):
    """A file that is to be written exists."""

    place: str
    message = "{place} exists"
    hint = "Use another file. Only if nothing in {place} is needed any more, replace it with --overwrite: what it holds is lost."

    @property
    def again(self) -> str:
        return f"--output {quote(beside(self.place))}\n--overwrite"


class UnusablePlace(Refused):
    """A place exists but cannot be used: a directory, no permission, a view, a capped collection."""

    place: str
    problem: str
    advice: str = ""
    message = "{place} cannot be used: {problem}"


class BrokenDocument(Refused):
    """A file holds something that is not a document."""

    place: str
    position: str
    """``line 12`` or ``byte 4711``."""

    problem: str
    advice: str = "Nothing was written. Fix the file, or export it again."
    message = "{place}, {position}: {problem}"


class BookingNotFound(Refused):
    """A booking that is asked for is not in the source."""

    booking_id: str
    place: str
    message = "booking {booking_id!r} is not in {place}"
    hint = (
        "Check the id and the --source: it is the _id of an old booking, which its session has as legacyBookingId (24 hex digits, a "
        "whole number, text, or any other value in Extended JSON)."
    )


class AmbiguousPeople(Refused):
    """Users or experts of which several documents with other content have one `_id`."""

    place: str
    noun: str
    """``users`` or ``experts``."""

    ids: Sequence[str]
    """The first few of these ids."""

    count: int
    effect = "Nothing was written."
    message = "{place} has several different {noun} with the same _id: {ids:, |{count}}"
    hint = "Keep one document for each _id, then run the same command again."


class TargetHoldsOther(Refused):
    """A target file exists and is not what this run would write."""

    place: str
    option: str = "--target"
    """The option that names it."""

    effect = "Nothing was written."
    message = "{place} exists, and holds other data than this run would write"
    hint = "Use another file. Only if nothing in {place} is needed any more, replace it with --overwrite: what it holds is lost."

    @property
    def again(self) -> str:
        return f"{self.option} {quote(beside(self.place))}\n--overwrite"


class TargetInOldShape(Refused):
    """A target collection holds documents that are not client documents."""

    place: str
    sample_id: str
    effect = "Nothing was written."
    message = "{place} holds a document that is not a client document: _id {sample_id}"
    hint = "Use a different --target, or swap --source and --target if they are mixed up."
    again = "--target {place}_2"


class DuplicateClientDocuments(Refused):
    """Clients that have more than one client document."""

    clients: Sequence[str]
    """One line a client: its id and the ids of its documents. Only the first few."""

    count: int
    advice: str = "Join them into the older one, which a rollback undoes:"
    effect = "Nothing was written."
    message = "{count:client has|clients have} more than one client document: {clients:; |{count}}"
    again = "--merge-client-documents"


class UnfitPlace(Refused):
    """Indexes or options of a collection would refuse, delete or change client documents; nothing was written."""

    place: str
    problems: Sequence[str]
    """One line each: what prevents it, its definition, and what it would do."""

    remedies: Sequence[str]
    """The commands that help, for the server's shell or this program."""

    later: Sequence[str] = ()
    """The commands that take a remedy back, when the validator has been changed."""

    effect = "Nothing was written."
    again = None
    message = "{place} cannot take client documents: {problems:; }"

    @property
    def hint(self) -> str:
        lines = [f"First{', in mongosh' if each.startswith('db.') else ''}: {each}" for each in self.remedies]
        lines.append("Then run the same command again.")
        lines += [
            "From then on, what the application writes there is not validated either. Once the validator allows client documents, "
            f"switch it on again, in mongosh: {each}"
            for each in self.later
        ]
        return "\n".join(lines)


class NoTransactions(Refused):
    """A migration in place beside an application needs transactions, which a standalone server does not have."""

    hosts: str
    effect = "Nothing was written."
    message = "a migration in place needs transactions, and {hosts} is not a replica set"
    hint = (
        "Leave out --in-place: side by side, a standalone server will do. Or make it a replica set (mongod --replSet, "
        "rs.initiate()). Or stop the application, and only then use --without-transactions."
    )
    again = ""
    again_without = "--in-place"


class LagNotMeasurable(Refused):
    """The run is to wait for secondaries, and how far they are behind cannot be measured."""

    problem: str
    message = "the lag of the secondaries, which --max-lag limits, cannot be measured: {problem}"
    hint = (
        "It takes a replica set whose members are up, and the role clusterMonitor on the database admin, which an administrator "
        "grants. Or leave out --max-lag, and secondaries may fall behind:"
    )
    again = ""
    again_without = "--max-lag"


class RecordTooLarge(Refused):
    """A rejected booking together with its reason is larger than any document may be."""

    place: str
    booking_id: str
    message = "the rejected booking {booking_id} is too large for {place} together with its reason"
    hint = "Use --rejects FILE: a file has no such limit."


class WriteFailed(Refused):
    """The target cannot take the result: a full disk, a validator."""

    place: str
    problem: str
    message = "cannot write to {place}: {problem}"


class DiskFull(WriteFailed):
    """The server has no room left on its disk."""

    message = "the disk of the server is full: cannot write to {place} ({problem})"
    hint = "Free space on the server's disk, or enlarge it; then run the same command again: what was written is kept."


class ValidationFailed(WriteFailed):
    """The validator of a collection refuses a document."""

    document_id: str
    remedy: str
    """The command that switches the validator off, for the server's shell."""

    client: str = ""
    """The client whose document it is, as text."""

    count: int = 1
    """How many documents it refuses of those that were written together."""

    whose = either("client", " of client {client}")
    message = "the validator of {place} refuses document {document_id}{whose}: {problem}"
    hint = "Change the validator so that it allows client documents, or switch it off, in mongosh: {remedy}"


class OutputFailed(OutputProblem):
    """A report or another output of a command cannot be written; what the command did remains in effect."""

    command: str
    output: str
    """``report``, ``plan`` or another output."""

    place: str
    problem: str
    is_done: bool = True
    """Whether the command itself did what it was asked for."""

    ended = either("is_done", "is done", "ended with an error")
    message = "{command} {ended}; its {output} could not be written to {place}: {problem}"


class DuplicateKeys(Unexpected):
    """The unique index on `clientId` refused documents: another process writes client documents, too."""

    place: str
    count: int
    sample: str
    """The first of the keys that are there already, as text."""

    message = "{place} refused {count:client document|client documents} as duplicates, such as {sample}"
    hint = "Another process writes client documents to {place}. Stop it, then run the same command again: what is already there is kept."


class DocumentIdTaken(DuplicateKeys):
    """A client document of the source has an `_id` under which the target holds the document of another client."""

    client: str
    other: str
    message = "{place} holds the document of client {other} under the _id {sample}, which that of client {client} has in the source"
    hint = "If they have exchanged it since a run, undo that, then migrate again: booking-migrate rollback --target {place}"


class UniqueIndexViolated(DuplicateKeys):
    """A unique index other than the one on `clientId` refused documents as duplicates."""

    index: str
    keys: str
    """The indexed fields and their directions, as text."""

    message = "{place} refused {count:document|documents} as duplicates in its unique index {index} ({keys}), such as {sample}"
    hint = (
        "Clients have the same value in these fields, or lack it. Fix the source, or drop the index; then run the same command "
        "again, which continues. To drop it, in mongosh: "
        'db.getCollection("{place}").dropIndex("{index}")'
    )

"""Errors of the command line, and of places and the documents in them."""

from collections.abc import Sequence
from shlex import quote

from booking_migrate.errors.base import (
    SAME_COMMAND,
    OutputProblem,
    Refused,
    RefusedUnchanged,
    UsageProblem,
    another_or_overwrite,
    beside,
    either,
)

_NAMES_SHOWN = 8
"""How many names a hint lists."""


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - len(names[:_NAMES_SHOWN])
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more else "")


class BadPlace(UsageProblem):
    """A place that is neither a file of a known kind nor a collection name."""

    text: str
    problem: str
    advice: str = (
        "A place is a collection name, a .jsonl, .ndjson, .json or .bson file (each also .gz), or -."
    )
    message = "{text!r} is not a valid place: {problem}"


class NameTooLong(RefusedUnchanged):
    """A collection that would be made cannot have its name."""

    name: str
    database: str
    excess: int
    """By how many bytes."""

    option: str = ""
    """The option with a word for the name that the user can choose; empty: the name is the user's own, or made of it."""

    message = "the name {name} is, with that of database {database}, longer than a server allows, by {excess:byte|bytes}"
    hint = either(
        "option",
        f"Choose a shorter name: {SAME_COMMAND} {{option}}",
        "Choose a shorter name for the collection.",
    )


class SamePlace(UsageProblem):
    """Source and target are one and the same."""

    place: str
    message = "source and target are both {place}"

    @property
    def hint(self) -> str:
        other = quote(beside(self.place))
        return f"Use a different target, because a side-by-side migration never changes its source: {SAME_COMMAND} --target {other}"


class MissingUri(UsageProblem):
    """A place is a collection, but nothing says on which server or in which database."""

    place: str
    """The collection that the user knows of; empty: one of the program's own, of which only the database matters."""

    has_server: bool
    """Whether the database is lacking, not the server."""

    databases: Sequence[str] = ()
    """The databases of the server, as far as the user may know."""

    lacking = either("has_server", "database", "server")
    sought = either("place", ", so the collection {place} cannot be found")
    message = "no {lacking} was given{sought}"
    is_file = either("place", "; for a file, write a path such as ./bookings.jsonl")
    hint = either(
        "has_server",
        "Pass --db, or put the database's name into the connection string.{there}",
        "Pass --uri or set MONGODB_URI{is_file}.",
    )

    @property
    def there(self) -> str:
        return f" The server has {listed(self.databases)}." if self.databases else ""

    @property
    def again(self) -> str:
        if not self.has_server:
            return "--uri 'mongodb://HOST:27017/DATABASE'"
        return f"--db {quote(self.databases[0])}" if len(self.databases) == 1 else "--db NAME"


class BadConfiguration(UsageProblem):
    """An option, an environment variable or the config file has a value that cannot be used."""

    where: str
    """The config file, the variable or the option."""

    problem: str
    advice: str = ""
    message = "{where}: {problem}"

    @property
    def hint(self) -> str:
        # A hint that has a command, or asks for other words on the command line, is complete.
        if "booking-migrate " in self.advice or not self.where.partition(",")[0].endswith(".toml"):
            return self.advice
        return f"{self.advice} Correct it, then run the same command again.".strip()


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

    databases: Sequence[str] = ()
    """All that this user sees, if this one has no collections."""

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
            return f"This user sees no collection in {self.database}. By its name, the database {self.near_database} may be meant; only if you know that it is:"
        if self.databases:
            return f"This user sees no collection in {self.database}. {self.those}"
        if self.near:
            return f"Did you mean {self.near}?"
        return "Check the names of the collection and of the database (--db or the connection string)."

    @property
    def those(self) -> str:
        """Return which databases there are, and where one is named."""
        return f"The server has {listed(self.databases)}: name the right one with --db or in the connection string."


class NoBookings(Refused):
    """A database in which no collection holds bookings."""

    database: str
    collections: Sequence[str]
    """The first of those that were looked at."""

    count: int
    """How many were looked at."""

    others: Sequence[str]
    """The other databases of the server, as far as the user may know."""

    effect = "Nothing was written."
    message = either(
        "count",
        "no collection of database {database} holds bookings; {count:collection has|collections have} documents: "
        "{collections:, |{count}}",
        "database {database} does not have any documents",
    )

    @property
    def hint(self) -> str:
        there = (
            f"Other databases of this server: {listed(self.others)}."
            if self.others
            else "This server shows this user no other database."
        )
        return f"Is it the right database? {there} Name it with --db:"

    @property
    def again(self) -> str:
        return f"--db {quote(self.others[0])}" if len(self.others) == 1 else "--db NAME"


class OutputExists(Refused):
    """A file that is to be written exists."""

    place: str
    use: str = ""
    """The command that uses the file as it is; empty: it depends on what it holds."""

    effect = "Nothing was written."
    message = "{place} exists"

    @property
    def hint(self) -> str:
        used = f"Use it as it is: {self.use}\nOr write another file" if self.use else "Write another file"
        return another_or_overwrite("--output", self.place, used)


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
    advice: str = "Fix the file, or export it again."
    effect = "Nothing was written."
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
    hint = "Keep one document for each _id in {place}, then run the same command again."


class TargetHoldsOther(Refused):
    """A target file exists and is not what this run would write."""

    place: str
    option: str = "--target"
    """The option that names it."""

    effect = "Nothing was written."
    message = "{place} exists, and holds other data than this run would write"

    @property
    def hint(self) -> str:
        return another_or_overwrite(self.option, self.place)


class TargetInOldShape(Refused):
    """A target collection holds documents that are not client documents."""

    place: str
    sample_id: str
    is_written: bool = True
    """Whether the command would write into it."""

    source: str = ""
    """The source of the command, if it has client documents; empty: it has none, or that is not known."""

    effect = "Nothing was written."
    message = "{place} holds a document that is not a client document: _id {sample_id}"

    @property
    def hint(self) -> str:
        ways = []
        if self.is_written:
            ways.append(f"use a different target: {SAME_COMMAND} --target {quote(beside(self.place))}")
        if self.source:
            swapped = f"--source {quote(self.place)} --target {quote(self.source)}"
            ways.append(f"if source and target were mixed up, exchange them: {SAME_COMMAND} {swapped}")
        if not ways:
            ways.append(
                "name the collection with the client documents. To see every run with its target: booking-migrate status"
            )
        first, *others = ways
        start = f"Usual: {first}" if others else f"{first[0].upper()}{first[1:]}"
        look = (
            "To see the first of such documents, in mongosh: "
            f'db.getCollection("{self.place}").find({{sessions: {{$exists: false}}}}).limit(5)'
        )
        mistaken = (
            "Only if one is there by mistake, and nothing in it is needed: delete it, with its _id, as mongosh shows it, for ID, which loses what "
            "it holds; in mongosh: "
            f'db.getCollection("{self.place}").deleteOne({{_id: ID}})'
        )
        again = f"Then run the same command again: {SAME_COMMAND}"
        looks = [look, mistaken, again] if self.is_written else []
        return "\n".join([start, *(f"Or, {each}" for each in others), *looks])


class DuplicateClientDocuments(Refused):
    """Clients that have more than one client document."""

    clients: Sequence[str]
    """One line a client: its id and the ids of its documents. Only the first few."""

    count: int
    advice: str = ""
    """What helps; empty: the migration can join them."""

    collections: str = ""
    """Where these documents are."""

    finds: Sequence[str] = ()
    """The commands that show those of the first client, for the server's shell: one for each collection."""

    source: str = ""
    """The source of the command; empty: not known."""

    effect = "Nothing was written."

    @property
    def hint(self) -> str:
        if self.advice:
            return self.advice
        in_source = f"; {self.source} is not changed" if self.source else ""
        which = "them" if self.count == 1 else "those of the first client"
        looks = [f"First see {which}, in mongosh: {find}" for find in self.finds]
        joins = (
            f"Then join them in the target, into the document with the earlier createdAt{in_source}, and a rollback undoes the join: "
            f"{SAME_COMMAND} --merge-client-documents"
        )
        deletes = [
            "Only if one of them should not be there, and nothing in it is needed: delete it, with its _id, as mongosh shows it, for ID, which "
            "loses what it holds; in mongosh: "
            f"{find.partition('.find(')[0]}.deleteOne({{_id: ID}})"
            for find in self.finds
        ]
        again = [f"Then run the same command again: {SAME_COMMAND}"] if deletes else []
        return "\n".join([*looks, joins, *deletes, *again])

    where = either("collections", " in {collections}")
    message = "{count:client has|clients have} more than one client document{where}: {clients:; |{count}}"


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

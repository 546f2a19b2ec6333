"""Errors of documents that a place refuses: a full disk, a validator, a unique index."""

import re

from booking_migrate.errors.base import GOES_ON, SAME_COMMAND, Refused, Unexpected, either


class RecordTooLarge(Refused):
    """A rejected booking together with its reason is larger than any document may be."""

    place: str
    booking_id: str
    message = "the rejected booking {booking_id} is too large for {place} together with its reason"
    hint = f"Use a file, which has no such limit: {SAME_COMMAND} --rejects rejected.jsonl"


class WriteFailed(Refused):
    """The target cannot take the result: a full disk, a validator."""

    place: str
    problem: str
    message = "cannot write to {place}: {problem}"


class DiskFull(WriteFailed):
    """The server has no room left on its disk."""

    message = "the disk of the server is full: cannot write to {place} ({problem})"
    hint = (
        "Until there is room, the application may not be able to write either. Free space on the server's disk, or enlarge it; then run "
        f"the same command again: {GOES_ON}."
    )


class ValidationFailed(WriteFailed):
    """The validator of a collection refuses a document."""

    document_id: str
    remedy: str
    """The command that switches the validator off, for the server's shell."""

    later: str
    """The command that switches it on again."""

    client: str = ""
    """The client whose document it is, as text."""

    count: int = 1
    """How many documents it refuses of those that were written together."""

    whose = either("client", " of client {client}")
    message = "the validator of {place} refuses document {document_id}{whose}: {problem}"
    hint = (
        "Change the validator so that it allows this document, or switch it off, in mongosh: {remedy}\n"
        f"Then run the same command again; {GOES_ON}: {SAME_COMMAND}\n"
        "A validator that is switched off validates nothing that the application writes either. Switch it on again before a cut-over. "
        'Its rules are kept; to see them, in mongosh: db.getCollectionInfos({{name: "{place}"}})[0].options\n'
        "Change them so that they allow such documents, and put the result for VALIDATOR, in mongosh: {later}"
    )


class DuplicateKeys(Unexpected):
    """The unique index on `clientId` refused documents: another process writes client documents, too."""

    place: str
    count: int
    sample: str
    """The first of the keys that are there already, as text."""

    message = "{place} refused {count:client document|client documents} as duplicates, such as {sample}"
    hint = f"Another process writes client documents to {{place}}. Stop it, then run the same command again: {GOES_ON}."


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

    query: str = ""
    """The query for the bookings that have the first of these values, as mongosh takes it; empty: not known."""

    source: str = ""
    """The collection of these bookings; empty: not known, or a file."""

    users: str = ""
    """The collection in which what bookings lack is looked up; empty: not known, or a file."""

    user_id_field: str = ""
    user_email_field: str = ""
    """The fields there that have the user id and the email address."""

    message = "{place} refused {count:document|documents} as duplicates in its unique index {index} ({keys}), such as {sample}"
    effect = "What was written before is kept, and need not be removed."

    hint = (
        "Several clients have the same value in {fields}, or none. Usual: correct it in the bookings.{finding}\n{finding_users}"
        "Or, if clients may share a value, drop the index. First see its definition, with which createIndex makes it again, in "
        'mongosh: db.getCollection("{place}").getIndexes()\n'
        'To drop it, in mongosh: db.getCollection("{place}").dropIndex("{index}")\n'
        f"After any of these, run the same command again; {GOES_ON}: {SAME_COMMAND}"
    )

    @property
    def fields(self) -> str:
        """Return the indexed fields without their directions."""
        return re.sub(r" -?[\w.]+(?=,|$)", "", self.keys) if "unknown" not in self.keys else "these fields"

    @property
    def finding(self) -> str:
        if not (self.source and self.query):
            return ""
        return f' To see those with the first value, in mongosh: db.getCollection("{self.source}").find({self.query})'

    @property
    def finding_users(self) -> str:
        names = {"clientUserId": self.user_id_field, "clientEmail": self.user_email_field}
        if not names.keys() >= {*self.fields.split(", ")}:
            return ""
        start = "Or, if the bookings lack the field, so that its value was looked up, correct it where it comes from."
        if not (self.users and self.query):
            return f"{start}\n"
        query = self.query
        for name, field in names.items():
            query = query.replace(f'"{name}": ', f'"{field}": ')
        return f'{start} To see these users, in mongosh: db.getCollection("{self.users}").find({query})\n'

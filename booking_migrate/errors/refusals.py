"""Errors of documents that a place refuses: a full disk, a validator, a unique index."""

import re
from collections.abc import Iterator, Sequence
from shlex import quote

from booking_migrate.errors.base import GOES_ON, SAME_COMMAND, Refused, Unexpected, beside, either

_SAME_LEVEL = "the command keeps the validationLevel that the collection has now"

_CORRECTING = (
    "correct the values that they refuse in the bookings, or in the users where these were looked up. A field that client documents do not "
    "have comes from neither: take a rule that requires it out for now, with the command above, until the new application writes that field."
)
"""What can be done about documents that break rules which are right."""

_SWITCHING_OFF = (
    "Only if the rules cannot be changed now: switch them off, then run the same command again. Nothing that the application writes there is "
    "validated until you set corrected rules with the command above,"
)
_OLD_RULES = "the old ones, switched on again, would refuse client documents as now"


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

    undo: str = ""
    """The command that undoes the run, if that frees what it has written."""

    undoing = either(
        "undo",
        "\nOr, if the application cannot write and no room can be made soon, undo the run; this drops the target if the run made it, which "
        "frees its space, but needs a little room itself: {undo}",
    )
    message = "the disk of the server is full: cannot write to {place} ({problem})"
    hint = (
        "Until there is room, the application may not be able to write either. Free space on the server's disk, or enlarge it; then run "
        f"the same command again: {GOES_ON}: {SAME_COMMAND}{{undoing}}"
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
        "Let the developers of the new application decide whether the rules are right. To see the rules, in mongosh: "
        'db.getCollectionInfos({{name: "{place}"}})[0].options\n'
        f"If they are wrong for such documents: change them so that they allow these, and put the result for VALIDATOR; {_SAME_LEVEL}. In "
        "mongosh: {later}\n"
        f"If they are right: {_CORRECTING} After either, run the same command again; {GOES_ON}: {SAME_COMMAND}\n"
        f"{_SWITCHING_OFF} before a cut-over; {_OLD_RULES}. In mongosh: {{remedy}}"
    )


class UnfitPlace(Refused):
    """Indexes or options of a collection would refuse, delete or change client documents; nothing was written."""

    place: str
    problems: Sequence[str]
    """One line each: what prevents it, its definition, and what it would do."""

    remedies: Sequence[str]
    """The commands that help, for the server's shell or this program."""

    later: Sequence[str] = ()
    """The commands that take a remedy back, when the validator has been changed."""

    is_in_place: bool = False
    """Whether it is the live collection, which a migration side by side would not write to."""

    is_filled: bool = False
    """Whether a run has filled it, and a cut-over is refused: then no other target can be used instead."""

    effect = "Nothing was written."
    again = None
    message = "{place} cannot take client documents: {problems:; }"

    @property
    def hint(self) -> str:
        lines = []
        if self.is_in_place:
            lines.append(
                "Usual, while the application reads the old shape: side by side, client documents go to a collection of their own: "
                f"{SAME_COMMAND} without --in-place"
            )
        first = (
            "Or in place, if it reads both shapes and writes the new one. First"
            if self.is_in_place
            else "First"
        )
        others = [each for each in self.remedies if each not in self.switches]
        lines += [f"{first}{', in mongosh' if each.startswith('db.') else ''}: {each}" for each in others]
        if self.switches:
            lines += self._changing_rules()
        else:
            lines.append(f"Then run the same command again: {SAME_COMMAND}")
        if not (self.is_filled or self.is_in_place):
            lines.append(self._elsewhere())
        if not self.is_filled:
            lines += self._without_rules()
        return "\n".join(lines)

    @property
    def switches(self) -> Sequence[str]:
        """Return the remedies that switch a validator off: they can be taken back."""
        return [each for each in self.remedies if "validationLevel" in each] if self.later else []

    def _changing_rules(self) -> Iterator[str]:
        start = (
            "Or in place, if it reads both shapes and writes the new one; nothing"
            if self.is_in_place
            else "Nothing"
        )
        infos = f'db.getCollectionInfos({{name: "{self.place}"}})[0].options'
        yield (
            f"{start} is urgent: the bookings are live and unchanged. Wait for the developers of the new application, who decide whether the "
            f"rules are right. To see the rules, in mongosh: {infos}"
        )
        old_ones = (
            ", and bookings in the old shape, too, which are there during the run" if self.is_in_place else ""
        )
        for each in self.later:
            yield (
                f"If they are wrong for client documents: change them so that they allow these{old_ones}, and put the result for VALIDATOR; "
                f"{_SAME_LEVEL}. In mongosh: {each}"
            )
        yield (
            f"If they are right: {_CORRECTING} After either, run the same command again, which tests the rules against client documents: "
            f"{SAME_COMMAND}"
        )

    def _elsewhere(self) -> str:
        if not self.switches:
            return f"Or use a different target: {SAME_COMMAND} --target {quote(beside(self.place))}"
        return (
            "Only if these rules are not meant for client documents: use a different target; the collection that a cut-over then makes live "
            f"has none of these rules: {SAME_COMMAND} --target {quote(beside(self.place))}"
        )

    def _without_rules(self) -> Iterator[str]:
        when = (
            "when the migration is verified"
            if self.is_in_place
            else f"before the cut-over, which renames {self.place}"
        )
        for each in self.switches:
            yield f"{_SWITCHING_OFF} {when}; {_OLD_RULES}. In mongosh: {each}"


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
        "{calm}Several clients have the same value in {fields}, or lack it. Usual: ask the developers which client each value "
        "belongs to, without inventing one, then correct it in the bookings, which are live data.{finding}\n{finding_all}{correcting}{finding_users}"
        "Only if the developers of the new application say that clients may share a value, drop the index. First see its definition, with "
        'which createIndex makes it again, but not while several have the same value; in mongosh: db.getCollection("{place}").getIndexes()\n'
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
    def finding_all(self) -> str:
        """Return how to see every value that bookings of several clients have, as a line; empty if that is not one field."""
        field = self.fields.removeprefix("sessions.")
        if not (self.source and self.query) or ", " in field:
            return ""
        stages = f'[{{$group: {{_id: "${field}", clients: {{$addToSet: "$clientId"}}}}}}, {{$match: {{"clients.1": {{$exists: true}}}}}}]'
        return f'To see all such values with their clients, in mongosh: db.getCollection("{self.source}").aggregate({stages})\n'

    @property
    def correcting(self) -> str:
        """Return how to correct the first value in all bookings of a client that have it, as a line; empty as `finding_all`."""
        if not self.finding_all:
            return ""
        field = self.fields.removeprefix("sessions.")
        new = '"NEW"' if self.query.endswith('"}') else "NEW"
        update = f'{{"clientId": CLIENT, {self.query[1:]}, {{$set: {{"{field}": {new}}}}}'
        return (
            "To correct all bookings of a client that have the first value, with its clientId, as shown there, for CLIENT, and the right value "
            f'for NEW, in mongosh: db.getCollection("{self.source}").updateMany({update})\n'
        )

    @property
    def calm(self) -> str:
        """Return that nothing is urgent, where bookings are migrated side by side."""
        is_apart = self.source and self.source != self.place
        return f"Nothing is urgent, {self.source} is live and unchanged. " if is_apart else ""

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

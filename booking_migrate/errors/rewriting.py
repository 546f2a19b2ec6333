"""Errors of rewriting references, and of undoing that."""

from collections.abc import Sequence

from booking_migrate.errors.base import (
    GOES_ON,
    SAME_COMMAND,
    NothingToDo,
    Refused,
    RefusedUnchanged,
    Unexpected,
    either,
)


class NotLiveYet(RefusedUnchanged):
    """References are rewritten once the new ids are live."""

    target: str
    state: str
    """What the newest run into it is; empty: no run is known."""

    command: str
    message = "the client documents of {target} are not live: {reason}"
    hint = "References are rewritten and verified after the cut-over: {command}"

    @property
    def reason(self) -> str:
        """Return what is known of the newest run."""
        return f"its newest run is {self.state}" if self.state else "no run into it is known"


class OldIdsDropped(RefusedUnchanged):
    """Old ids would lead nowhere: finalize has removed them from the sessions, and the old bookings are dropped."""

    collection: str
    message = (
        "references cannot be restored: the sessions in {collection} have no legacyBookingId any more, "
        "so old ids would lead nowhere"
    )
    hint = (
        "It was removed by finalize --drop-legacy-ids, after the old bookings were dropped. "
        "References with new ids work as they are."
    )


class OtherRewriteOpen(RefusedUnchanged):
    """A rewrite was begun with other fields, and is not complete."""

    rewrite_id: str
    run_id: str
    """The run to whose new ids it rewrites."""

    fields: Sequence[str]
    undoing: bool
    message = "the rewrite {rewrite_id} of {fields:, } is not complete"

    @property
    def hint(self) -> str:
        undo = f"booking-migrate rollback --references --run {self.rewrite_id}"
        if self.undoing:
            return f"Complete its undoing first: {undo}"
        return (
            "Continue it, the usual choice; it continues with these fields only: "
            f"booking-migrate references rewrite --run {self.run_id}\n"
            f"Only to undo this rewrite instead, and no other one: {undo}\n"
            f"After either, run the same command again: {SAME_COMMAND}"
        )


class UniqueIndexInTheWay(RefusedUnchanged):
    """A unique index would refuse the new ids of several bookings that are one client document."""

    collection: str
    index: str
    keys: Sequence[str]
    field: str
    message = (
        "the unique index {index} ({keys}) of {collection} would refuse client documents in {field}: "
        "several bookings have the same one"
    )
    hint = (
        f"If new ids may be those of sessions: {SAME_COMMAND} --to session\n"
        "Or leave {field} as it is, with the option --exclude {collection}.{field}, or replace the index first."
    )


class DocumentIdToClient(RefusedUnchanged):
    """The `_id` of a document cannot become that of a client document, which several bookings share."""

    collection: str
    message = "the _id of documents of {collection} cannot become that of client documents: several bookings have the same one"
    hint = (
        f"If new ids may be those of sessions: {SAME_COMMAND} --to session\n"
        "Or leave it as it is, with the option --exclude {collection}._id"
    )


class DocumentIdInCapped(RefusedUnchanged):
    """The `_id` of a document of a capped collection cannot be replaced: the inserted document would push out another one."""

    field: str
    message = "{field} cannot be rewritten: its collection is capped, and a document inserted with its new _id would push out another one"
    hint = "Leave it as it is, with the option --exclude {field}"


class ReferringCollectionGone(Refused):
    """A collection with references was dropped or renamed while it was rewritten."""

    collection: str
    operation: str
    message = "{collection} was changed as a whole while its references were rewritten: {operation}"
    hint = f"Run the same command again, without that collection if it is gone: {GOES_ON}."


class ReferencesRefused(Refused):
    """The server does not take a document with its new ids."""

    collection: str
    document_id: str
    problem: str
    """What refuses it, with the server's facts."""

    effect = "What was rewritten before is recorded."
    message = "{collection} does not take document {document_id} with its new ids: {problem}"
    hint = (
        f"Change the document or what refuses it, then run the same command again; {GOES_ON}: {SAME_COMMAND}\n"
        "Or undo what was rewritten, then rewrite without that field (--exclude {collection}.FIELD): booking-migrate rollback --references"
    )


class ReferenceContended(Unexpected):
    """A document changes faster than its reference can be rewritten."""

    collection: str
    document_id: str
    message = (
        "document {document_id} of {collection} was changed each time before its references could be written"
    )
    hint = f"Run the same command again: {GOES_ON}."


class ReferencesStand(RefusedUnchanged):
    """References were rewritten to ids that a rollback would remove."""

    run_id: str
    values: int
    fields: Sequence[str]
    """The fields that have them, with their collections."""

    message = either(
        "values",
        "{values:reference was|references were} rewritten to the new ids of run {run_id}, in {fields}",
        "a rewrite of references in {fields} to the new ids of run {run_id} was begun",
    )
    changed = either("values", ", which changes {values:reference|references}")
    hint = (
        "First stop the new application, if it still runs: it finds nothing by old ids. Then restore the old ids in all these "
        "fields{changed}: booking-migrate rollback --references --run {run_id}\n"
        f"Then run the same command again, and start the old application when it is done: {SAME_COMMAND}"
    )


class NoRewrite(NothingToDo):
    """No references were rewritten."""

    where: str
    effect = "Nothing was changed."
    message = "no rewritten references are known in {where}"
    hint = (
        "If the journal is lost, name the fields, and ObjectIds are restored by computing the old ids: "
        "booking-migrate rollback --references --field payments.bookingId"
    )

"""What is said about more than one command: when it is the right choice, and what has to be done before and after it."""

import json

CARRYING = (
    "carry rejected bookings along into the live collection in their old shape, which loses none, if you know that the new application "
    "skips those"
)
"""What a cut-over may do with rejected bookings, and when that is the right choice."""

LEAVING = (
    "Or, if you do not know that, cut over without them: they are left in the kept copy, where the new application does not see them; nothing "
    "is lost until finalize drops it, and a rollback brings them back"
)
"""The other choice."""

KEEPING_SESSIONS = "Only if others changed these sessions on purpose, such as the new application: keep the sessions as they are"
"""What can be decided about sessions that conflict with their bookings, and when that is the right choice."""

OVERWRITING_SESSIONS = (
    "Usual, if they were changed by mistake or damaged, but only when every booking is right (correct the others first): overwrite the "
    "sessions from the bookings; what others changed in these sessions is lost, unless that run is rolled back"
)
"""The other choice, which loses something."""

STOP_THE_OLD = (
    "stop the old application right after it, since its updates and deletes by old ids are then lost without an error, and its deletes by "
    "clientId remove whole client documents; stopping it before is safe, too, if a downtime until the new one has started is acceptable"
)
"""What an operator has to do about a cut-over: the guard refuses new bookings in the old shape only."""

STOP_THE_NEW = "stop the new application, if it still runs, and start the old one"
"""The same about the rollback of a cut-over."""

STOP_THE_NEW_AFTER = (
    "stop the new application right after it, since what it writes then is lost or lands among the old bookings, and start the old one; "
    "stopping the new one before is safe, too, if a downtime until the old one has started is acceptable"
)
"""The same where a reverse window has it ready beside the new application."""

NOT_READY_YET = "Nothing is urgent: leave it as it is until the new application is ready to start, then"
"""When a proven result is made live."""

UNREADY = "is not ready or misbehaves"
"""What of the new application makes a rollback the right choice where a cut-over was completed that was to be aborted."""

STOP_IT_TOO = "stop the old application right after this, too"
"""The same about another way to cut over."""

CONVERT_LATER = "stop the old application, if it still runs, or it writes more such bookings; then convert what it has written since"
"""What is done about old bookings in a live collection."""

NEEDS_REST = "this run works without transactions: stop the application first, until the command has ended, or what it writes meanwhile can be lost"
"""What has to be done before a run is undone that replaces and deletes without transactions."""

UNDO = "Undo it, only to abandon the migration"
"""What a rollback of a run does that is not live, and when it is the right choice."""


ANY_SOURCE = "SOURCE"
"""Stands for the name of a source that is not known."""

WRONG_SOURCE = "Probably --source names another collection than that of the bookings"
"""What is most likely if every document of a source was rejected."""

RIGHT_NAME = f"with the right name for {ANY_SOURCE}"
"""What to do about it."""


def look_at(collection: str) -> str:
    """Return the line for mongosh that shows one document of a collection."""
    return f"db.getCollection({json.dumps(collection)}).findOne()"


def usually_right(source: str, target: str) -> str:
    """Return which side usually is right where a session differs from its booking before the cut-over, and who knows it."""
    return (
        f"Before the cut-over the application writes only to {source}, so usually the bookings are right. "
        f"If you do not know, ask the developers who or what wrote to {target}."
    )

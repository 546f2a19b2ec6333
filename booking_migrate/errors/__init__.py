"""Every error that a user may meet: one tree, fields on the leaves, text built once, one table of exit codes.

A leaf is a dataclass: its fields say what happened and ``message`` says it in words. ``hint`` is what to do
next, in one sentence, or empty. Nothing here ever holds a connection string.
"""

from booking_migrate.errors.connections import (
    AuthenticationFailed,
    ServerUnreachable,
)
from booking_migrate.errors.hooks import (
    HookFailed,
    StoppedByHook,
)
from booking_migrate.errors.invariants import (
    DuplicateKeys,
    IllegalTransition,
    NotRestored,
    TargetChanged,
    UnaccountedBookings,
)
from booking_migrate.errors.refusals import (
    BookingNotFound,
    BrokenDocument,
    DuplicateClientDocuments,
    NotPermitted,
    PlaceNotFound,
    PlanDiffers,
    RecordTooLarge,
    TargetHoldsOther,
    TargetInOldShape,
    UnusablePlace,
    WriteFailed,
)
from booking_migrate.errors.runs import (
    CutoverFailed,
    CutoverRefused,
    JournalTooNew,
    LaterRun,
    LeaseLost,
    LiveAlready,
    NoRun,
    NotConfirmed,
    OtherOptions,
    TargetBusy,
    UnfinishedRun,
)
from booking_migrate.errors.tree import (
    EXIT_CODE_MEANINGS,
    EXIT_CODES,
    BookingMigrateError,
    ConnectionProblem,
    ExitCode,
    Interrupted,
    Locked,
    NothingToDo,
    Refused,
    Terminated,
    Unexpected,
    UsageProblem,
    exit_code_of,
)
from booking_migrate.errors.usage import (
    BadConfiguration,
    BadPlace,
    MissingUri,
    SamePlace,
)

__all__ = [
    "EXIT_CODES",
    "EXIT_CODE_MEANINGS",
    "AuthenticationFailed",
    "BadConfiguration",
    "BadPlace",
    "BookingMigrateError",
    "BookingNotFound",
    "BrokenDocument",
    "ConnectionProblem",
    "CutoverFailed",
    "CutoverRefused",
    "DuplicateClientDocuments",
    "DuplicateKeys",
    "ExitCode",
    "HookFailed",
    "IllegalTransition",
    "Interrupted",
    "JournalTooNew",
    "LaterRun",
    "LeaseLost",
    "LiveAlready",
    "Locked",
    "MissingUri",
    "NoRun",
    "NotConfirmed",
    "NotPermitted",
    "NotRestored",
    "NothingToDo",
    "OtherOptions",
    "PlaceNotFound",
    "PlanDiffers",
    "RecordTooLarge",
    "Refused",
    "SamePlace",
    "ServerUnreachable",
    "StoppedByHook",
    "TargetBusy",
    "TargetChanged",
    "TargetHoldsOther",
    "TargetInOldShape",
    "Terminated",
    "UnaccountedBookings",
    "Unexpected",
    "UnfinishedRun",
    "UnusablePlace",
    "UsageProblem",
    "WriteFailed",
    "exit_code_of",
]

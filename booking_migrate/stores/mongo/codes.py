"""The server's error codes and labels that the program acts on: one table, by the server's own names.

Codes: src/mongo/base/error_codes.yml in the server's source; labels: specifications of retryable reads and writes, and of
transactions. A code or label in `PASSING` may be a passing one, and what failed with it is tried again for a while.
"""

from collections.abc import Mapping
from enum import StrEnum


class Trouble(StrEnum):
    """What a passing failure is about, as what is waited for."""

    PRIMARY = "a primary"
    SERVER = "the server to answer"
    MAJORITY = "a majority of the replica set to acknowledge writes"
    CURSOR = "the server to open a cursor again"
    CONTENTION = "other operations on the same data to end"
    OVERLOAD = "a server that is overloaded"


PATH_NOT_VIABLE = 28
"""A path leads through a value that has no fields, or through an array without a position."""

DUPLICATE_KEY = 11000
"""A unique index refuses a document."""

INVALID_DOCUMENT = 121
"""A validator refuses a document."""

TOO_LARGE = frozenset({10334, 17419, 17420})
"""BSONObjectTooLarge, and what an update says of a document that would be too large after it."""

OF_ONE_DOCUMENT = TOO_LARGE | frozenset(
    {
        DUPLICATE_KEY,
        INVALID_DOCUMENT,
        PATH_NOT_VIABLE,
        66,  # ImmutableField
        171,  # CannotIndexParallelArrays
        16755,  # Location16755: an index cannot take the value as a place on earth
        17280,  # KeyTooLong
    }
)
"""The server refuses a single document: others are not concerned."""

OUT_OF_DISK_SPACE = 14031

NOT_ACKNOWLEDGED = 64
"""WriteConcernFailed: a majority has not acknowledged in time."""

UNAUTHORIZED = 13

AUTHENTICATION = frozenset({18, 8000})
"""AuthenticationFailed; 8000 is what Atlas says."""

NOT_PERMITTED = frozenset({UNAUTHORIZED, 31, 166})
"""Unauthorized, RoleNotFound, CommandNotSupportedOnView."""

LOCK_TIMEOUT, WRITE_CONFLICT = 24, 112

LOCK_LIMIT = frozenset({LOCK_TIMEOUT, 50, WRITE_CONFLICT, 262})
"""What a command with a time limit ends with while something else holds its collection."""

INTERRUPTED = 11601
"""An operation, or its session, was ended on purpose: by a user, or by a later process of the program (`end_own_commands`).

It is left out of `PASSING`: what was ended so is not tried again. Only units of work in place are, whose session may have been meant.
"""

CURSOR_ENDED = frozenset({43, 175, 237, INTERRUPTED})
"""CursorNotFound, QueryPlanKilled, CursorKilled: by its age, an election, or an administrator who ends all sessions."""

SNAPSHOT_UNAVAILABLE = 246
"""The collection was just changed as a whole, or the time is too long ago."""

NO_SNAPSHOT = frozenset({239, SNAPSHOT_UNAVAILABLE})
"""SnapshotTooOld too: the collection was renamed or dropped."""

WRITES_REFUSED = frozenset({INVALID_DOCUMENT, 371})
"""DocumentValidationFailure, UserWritesBlocked: the two ways in which a cut-over refuses writes."""

ILLEGAL_OPERATION = 20

NO_TRANSACTIONS = frozenset({ILLEGAL_OPERATION, 263})
"""IllegalOperation, OperationNotSupportedInTransaction: what a server without a replica set says."""

INDEX_NOT_FOUND = 27

UNRECOGNIZED_STAGE, COMMAND_NOT_FOUND = 40324, 59

NOT_ANSWERED = frozenset({UNAUTHORIZED, COMMAND_NOT_FOUND, 166, 8000})
"""CommandNotSupportedOnView too, and what hosted services answer in place of the others."""

CANNOT_SORT = frozenset({292, 8000, OUT_OF_DISK_SPACE, 16819})
"""QueryExceededMemoryLimitNoDiskUseAllowed, what hosted services answer, OutOfDiskSpace, and its former kind."""

CONVERSION_FAILURE = 241

HISTORY_LOST = frozenset({136, 286})
"""CappedPositionLost, ChangeStreamHistoryLost."""

UNUSABLE_TOKEN = frozenset({50811, 260, 280})
"""InvalidResumeToken and ChangeStreamFatalError: the oplog may have what a token of another pipeline does not find."""

TRANSIENT_TRANSACTION, UNKNOWN_COMMIT = "TransientTransactionError", "UnknownTransactionCommitResult"
"""Labels: a transaction can be tried again as a whole; its commit alone."""

PASSING: Mapping[int, Trouble] = {
    6: Trouble.SERVER,  # HostUnreachable
    7: Trouble.SERVER,  # HostNotFound
    LOCK_TIMEOUT: Trouble.CONTENTION,
    43: Trouble.CURSOR,  # CursorNotFound
    46: Trouble.CONTENTION,  # LockBusy
    50: Trouble.OVERLOAD,  # MaxTimeMSExpired
    NOT_ACKNOWLEDGED: Trouble.MAJORITY,
    89: Trouble.SERVER,  # NetworkTimeout
    91: Trouble.SERVER,  # ShutdownInProgress
    WRITE_CONFLICT: Trouble.CONTENTION,
    117: Trouble.CONTENTION,  # ConflictingOperationInProgress
    134: Trouble.MAJORITY,  # ReadConcernMajorityNotAvailableYet
    189: Trouble.PRIMARY,  # PrimarySteppedDown
    202: Trouble.OVERLOAD,  # NetworkInterfaceExceededTimeLimit
    237: Trouble.CURSOR,  # CursorKilled
    SNAPSHOT_UNAVAILABLE: Trouble.CONTENTION,
    262: Trouble.OVERLOAD,  # ExceededTimeLimit
    290: Trouble.OVERLOAD,  # TransactionExceededLifetimeLimitSeconds
    317: Trouble.SERVER,  # ConnectionPoolExpired
    365: Trouble.OVERLOAD,  # TemporarilyUnavailable
    384: Trouble.SERVER,  # ConnectionError
    462: Trouble.OVERLOAD,  # IngressRequestRateLimitExceeded
    9001: Trouble.SERVER,  # SocketException
    10107: Trouble.PRIMARY,  # NotWritablePrimary
    11600: Trouble.SERVER,  # InterruptedAtShutdown
    11602: Trouble.PRIMARY,  # InterruptedDueToReplStateChange
    12586: Trouble.CONTENTION,  # BackgroundOperationInProgressForDatabase
    12587: Trouble.CONTENTION,  # BackgroundOperationInProgressForNamespace
    13435: Trouble.PRIMARY,  # NotPrimaryNoSecondaryOk
    13436: Trouble.PRIMARY,  # NotPrimaryOrSecondary
}

PASSING_LABELS: Mapping[str, Trouble] = {
    "RetryableWriteError": Trouble.SERVER,
    TRANSIENT_TRANSACTION: Trouble.CONTENTION,
    "RetryableError": Trouble.OVERLOAD,
    "SystemOverloadedError": Trouble.OVERLOAD,
}

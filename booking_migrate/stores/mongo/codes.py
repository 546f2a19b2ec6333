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

OUT_OF_DISK_SPACE = 14031

NOT_ACKNOWLEDGED = 64
"""WriteConcernFailed: a majority has not acknowledged in time."""

UNAUTHORIZED = 13

AUTHENTICATION = frozenset({18, 8000})
"""AuthenticationFailed; 8000 is what Atlas says."""

NOT_PERMITTED = frozenset({UNAUTHORIZED, 31, 166})
"""Unauthorized, RoleNotFound, CommandNotSupportedOnView."""

LOCK_LIMIT = frozenset({24, 50, 112, 262})
"""What a command with a time limit ends with while something else holds its collection."""

PASSING: Mapping[int, Trouble] = {
    6: Trouble.SERVER,  # HostUnreachable
    7: Trouble.SERVER,  # HostNotFound
    24: Trouble.CONTENTION,  # LockTimeout
    43: Trouble.CURSOR,  # CursorNotFound
    46: Trouble.CONTENTION,  # LockBusy
    50: Trouble.OVERLOAD,  # MaxTimeMSExpired
    NOT_ACKNOWLEDGED: Trouble.MAJORITY,
    89: Trouble.SERVER,  # NetworkTimeout
    91: Trouble.SERVER,  # ShutdownInProgress
    112: Trouble.CONTENTION,  # WriteConflict
    117: Trouble.CONTENTION,  # ConflictingOperationInProgress
    134: Trouble.MAJORITY,  # ReadConcernMajorityNotAvailableYet
    189: Trouble.PRIMARY,  # PrimarySteppedDown
    202: Trouble.OVERLOAD,  # NetworkInterfaceExceededTimeLimit
    237: Trouble.CURSOR,  # CursorKilled
    246: Trouble.CONTENTION,  # SnapshotUnavailable
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
    "TransientTransactionError": Trouble.CONTENTION,
    "RetryableError": Trouble.OVERLOAD,
    "SystemOverloadedError": Trouble.OVERLOAD,
}

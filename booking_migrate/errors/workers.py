"""Errors of the processes that a run's work is given to."""

from booking_migrate.errors.base import ConnectionProblem, Refused, Unexpected, either


class WorkerLost(Unexpected):
    """A worker process ended unexpectedly or could not be started, mostly for lack of memory or processes."""

    unsupported_reason: str | None = None
    """Why it could not be started; None if it was started and has ended."""

    ending = either("unsupported_reason", "could not be started: {unsupported_reason}", "ended unexpectedly")
    message = "a worker process {ending}"
    hint = (
        "Run the same command again: what is already there is kept. If memory was short, use fewer --workers."
    )


class ClusterUnreachable(ConnectionProblem):
    """The scheduler of a Dask cluster does not answer."""

    address: str
    problem: str
    message = "the Dask scheduler at {address} does not answer: {problem}"
    hint = "Check that it runs, and its host and port in --executor; without --executor, local processes do the work."


class ClusterUnfit(Refused):
    """The workers of a Dask cluster cannot do a run's work."""

    address: str
    problem: str
    message = "the workers of the Dask scheduler at {address} cannot be used: {problem}"
    hint = "Install the same version of this program for the same Python on each worker, and restart the workers."


class ClusterLost(Unexpected):
    """The connection to the scheduler of a Dask cluster broke off."""

    address: str
    problem: str
    message = "the connection to the Dask scheduler at {address} broke off: {problem}"
    hint = "Run the same command again, with or without --executor: what is already there is kept."

"""Listening to the commands that the driver sends."""

from abc import abstractmethod

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from typing_extensions import override


class SentCommands(CommandListener):
    """Sees commands when they are sent; what they return is nothing to it."""

    @abstractmethod
    def started(self, event: CommandStartedEvent) -> None:
        """Take one that is being sent."""

    @override
    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Do nothing."""

    @override
    def failed(self, event: CommandFailedEvent) -> None:
        """Do nothing."""

"""Wrapping methods of the program, so that something happens before or after a call."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Generic, Self, TypeVar
from unittest import mock

Step = TypeVar("Step")


class WrappedMethods(Generic[Step]):
    """Wraps methods while a context lasts, and restores them at its end."""

    def __init__(self, act: Callable[[Step], None]) -> None:
        """Act by this function at the steps that methods are wrapped with."""
        self.act = act
        self._patches: list[Any] = []

    def __enter__(self) -> Self:
        """Put the wrappers in place."""
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Restore the methods."""
        for patch in reversed(self._patches):
            patch.stop()

    def around(self, owner: Any, name: str, call: Callable[..., Any]) -> None:
        """Have a method called by a function that gets it and its arguments."""
        kind = vars(owner)[name]
        whole = kind.__func__ if isinstance(kind, classmethod) else kind

        @wraps(whole)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            return call(whole, *arguments, **named)

        self._patches.append(
            mock.patch.object(owner, name, classmethod(wrapped) if isinstance(kind, classmethod) else wrapped)
        )

    def after(self, owner: Any, name: str, step: Step, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Act when a method has returned."""

        def call(whole: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
            result = whole(*arguments, **named)
            if not unless():
                self.act(step)
            return result

        self.around(owner, name, call)

    def before(self, owner: Any, name: str, step: Step) -> None:
        """Act when a method is called."""

        def call(whole: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
            self.act(step)
            return whole(*arguments, **named)

        self.around(owner, name, call)

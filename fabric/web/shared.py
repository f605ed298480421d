"""One result for many who wait for it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


class Shared(Generic[T]):
    """Something asynchronous that is done once. Lives in the reactor's thread."""

    def __init__(self, doing: Coroutine[Any, Any, T]) -> None:
        """Begin it."""
        self._waiting: list[Deferred[None]] = []
        self._values: list[T] = []
        self._error: BaseException | None = None
        Deferred.fromCoroutine(doing).addCallbacks(self._succeed, self._fail)

    async def result(self) -> T:
        """What it has returned; raises what it has raised."""
        if not self._values and self._error is None:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting
        if self._error is not None:
            raise self._error
        return self._values[0]

    def _succeed(self, value: T) -> None:
        self._values.append(value)
        self._tell()

    def _fail(self, failure: Failure) -> None:
        self._error = failure.value
        self._tell()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

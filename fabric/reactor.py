"""What the parts of a container ask of the Twisted reactor.

Twisted's own interfaces are zope interfaces, which the type checker cannot read as argument types. Only
`fabric.container` imports the real reactor; everything else is handed one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar, cast

from twisted.internet.threads import deferToThreadPool

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorFromThreads
    from twisted.python.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")


class DelayedCall(Protocol):
    """A call that waits for its time."""

    def cancel(self) -> None:
        """Do not call."""

    def active(self) -> bool:
        """Whether the call is still to come."""


class Reactor(Protocol):
    """The reactor, or a test's stand-in for it."""

    def seconds(self) -> float:
        """The time, s."""

    def callLater(  # noqa: N802 - Twisted's name
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> DelayedCall:
        """Call in `delay` seconds."""

    def callFromThread(  # noqa: N802 - Twisted's name
        self, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> None:
        """Call in the reactor's thread; the only method another thread may use."""

    def addReader(self, reader: object) -> None:  # noqa: N802 - Twisted's name
        """Watch a descriptor."""

    def removeReader(self, reader: object) -> None:  # noqa: N802 - Twisted's name
        """Watch it no longer."""

    def callWhenRunning(self, callable: Callable[..., object]) -> object:  # noqa: N802 - Twisted's name
        """Call at the start."""

    def addSystemEventTrigger(  # noqa: N802 - Twisted's name
        self, phase: str, event_type: str, callable: Callable[..., object], /
    ) -> object:
        """Call at the end; the end waits for the Deferred that the call may return."""

    def run(self) -> None:
        """Run until `stop`."""

    def stop(self) -> None:
        """End."""

    def getThreadPool(self) -> ThreadPool:  # noqa: N802 - Twisted's name
        """The threads for what blocks."""


def in_thread(reactor: Reactor, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
    """Run a blocking call in one of the reactor's threads; the Deferred fires in the reactor's own."""
    return in_pool(reactor, reactor.getThreadPool(), call, *args, **kwargs)


def in_pool(
    reactor: Reactor, pool: ThreadPool, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> Deferred[T]:
    """Run a blocking call in one of the pool's threads; the Deferred fires in the reactor's own."""
    return deferToThreadPool(cast("IReactorFromThreads", reactor), pool, call, *args, **kwargs)

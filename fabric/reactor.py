"""What the parts of a container ask of the Twisted reactor, beyond what a broker asks of it.

Only `fabric.container` imports the real reactor; everything else is handed one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar, cast

from twisted.internet.threads import deferToThreadPool

from broker.reactor import DelayedCall, MainReactor, in_thread
from broker.reactor import Reactor as BrokerReactor

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorFromThreads
    from twisted.python.threadpool import ThreadPool

__all__ = ["ContainerReactor", "DelayedCall", "Reactor", "in_pool", "in_thread"]

P = ParamSpec("P")
T = TypeVar("T")


class Reactor(BrokerReactor, Protocol):
    """The reactor, or a test's stand-in for it."""

    def seconds(self) -> float:
        """The time, s."""

    def connectTCP(  # noqa: N802 - Twisted's name
        self, host: str, port: int, factory: object, timeout: float = 30
    ) -> object:
        """Connect; the factory makes the protocol, or is told why not."""

    def addReader(self, reader: object) -> None:  # noqa: N802 - Twisted's name
        """Watch a descriptor."""

    def removeReader(self, reader: object) -> None:  # noqa: N802 - Twisted's name
        """Watch it no longer."""


class ContainerReactor(Reactor, MainReactor, Protocol):
    """The reactor as the main of a container uses it."""

    def stop(self) -> None:
        """End."""


def in_pool(
    reactor: Reactor, pool: ThreadPool, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> Deferred[T]:
    """Run a blocking call in one of the pool's threads; the Deferred fires in the reactor's own."""
    return deferToThreadPool(cast("IReactorFromThreads", reactor), pool, call, *args, **kwargs)

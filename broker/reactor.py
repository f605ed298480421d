"""What a broker asks of the Twisted reactor and its sockets.

Twisted's own interfaces are zope interfaces, which the type checker cannot read as argument types. Only mains
import the real reactor; everything else is handed one.
"""

from __future__ import annotations

import socket
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


class Clock(Protocol):
    """The part of the reactor that knows the time."""

    def callLater(  # noqa: N802 - Twisted's name
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> DelayedCall:
        """Call in `delay` seconds."""


class HostPort(Protocol):
    """An address of a socket."""

    host: str
    port: int


class ListeningPort(Protocol):
    """A bound port."""

    def getHost(self) -> HostPort:  # noqa: N802 - Twisted's name
        """Where it listens."""

    def stopListening(self) -> object:  # noqa: N802 - Twisted's name
        """Free the port."""

    def startReading(self) -> None:  # noqa: N802 - Twisted's name
        """Accept connections."""

    def stopReading(self) -> None:  # noqa: N802 - Twisted's name
        """Leave connections in the kernel's queue."""


class Reactor(Clock, Protocol):
    """The reactor, or a test's stand-in for it."""

    def callFromThread(  # noqa: N802 - Twisted's name
        self, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> None:
        """Call in the reactor's thread; the only method another thread may use."""

    def listenTCP(  # noqa: N802 - Twisted's name
        self, port: int, factory: object, backlog: int = 50, interface: str = ""
    ) -> ListeningPort:
        """Bind a port and listen."""

    def getThreadPool(self) -> ThreadPool:  # noqa: N802 - Twisted's name
        """The threads for what blocks."""


class MainReactor(Reactor, Protocol):
    """The reactor as a main uses it."""

    def callWhenRunning(self, callable: Callable[..., object]) -> object:  # noqa: N802 - Twisted's name
        """Call at the start."""

    def addSystemEventTrigger(  # noqa: N802 - Twisted's name
        self, phase: str, event_type: str, callable: Callable[..., object], /
    ) -> object:
        """Call at the end; the end waits for the Deferred that the call may return."""

    def run(self) -> None:
        """Run until a signal."""


class Socket(Protocol):
    """One TCP connection's transport."""

    def getPeer(self) -> HostPort:  # noqa: N802 - Twisted's name
        """The far end."""

    def getHost(self) -> HostPort:  # noqa: N802 - Twisted's name
        """This end."""

    def getHandle(self) -> socket.socket:  # noqa: N802 - Twisted's name
        """The socket below."""

    def write(self, data: bytes) -> None:
        """Send, as soon as the socket takes it."""

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        """Send small segments at once."""

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        """Have the kernel look whether the far host still exists."""

    def registerProducer(self, producer: object, streaming: bool) -> None:  # noqa: N802 - Twisted's name
        """Tell whom to pause while the buffer is full."""

    def unregisterProducer(self) -> None:  # noqa: N802 - Twisted's name
        """Pause nobody."""

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Read nothing."""

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Read again."""

    def loseWriteConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Say when everything is written that nothing more comes; what the far end says is still read."""

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Close when everything is written."""

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Close now."""


def in_thread(reactor: Reactor, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
    """Run a blocking call in one of the reactor's threads; the Deferred fires in the reactor's own."""
    return deferToThreadPool(
        cast("IReactorFromThreads", reactor), reactor.getThreadPool(), call, *args, **kwargs
    )

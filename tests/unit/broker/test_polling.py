"""The reactor of brokers' processes serves like Twisted's; each case in a process of its own."""

import subprocess
import sys
import textwrap

import pytest

from broker.polling import AWAKE_S, MISSES_MAX, Events, Waiting

PREPARED = """
from broker.polling import install_reactor
install_reactor()
from twisted.internet import reactor
from twisted.internet.protocol import Protocol, Factory, ClientFactory
from twisted.logger import globalLogBeginner
def show(event):
    if event.get("isError"):
        print("logged:", event["failure"].getErrorMessage())
globalLogBeginner.beginLoggingTo([show], redirectStandardIO=False)
"""


def said_by(program: str) -> list[str]:
    """What a process with that reactor prints."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARED + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have Twisted's own reactor")
def test_it_is_installed_once() -> None:
    """And it is the one that everybody imports."""
    assert said_by(
        """
        install_reactor()
        from twisted.internet import reactor as theirs
        print(type(theirs).__name__, theirs is reactor)
        """
    ) == ["PollingReactor True"]


def test_sockets_timers_and_threads_are_served() -> None:
    """A line goes to a server and back, a timer and another thread's call end it."""
    assert said_by(
        """
        class Echo(Protocol):
            def dataReceived(self, data):
                self.transport.write(data)
        class Client(Protocol):
            def connectionMade(self):
                self.transport.write(b"hello")
            def dataReceived(self, data):
                print(data.decode())
                reactor.callLater(0, reactor.callInThread, reactor.callFromThread, reactor.stop)
        port = reactor.listenTCP(0, Factory.forProtocol(Echo), interface="127.0.0.1")
        reactor.connectTCP("127.0.0.1", port.getHost().port, ClientFactory.forProtocol(Client))
        reactor.run()
        """
    ) == ["hello"]


def test_a_mistake_ends_its_connection_alone() -> None:
    """It is logged; whoever speaks at another connection is served."""
    assert said_by(
        """
        class Server(Protocol):
            def dataReceived(self, data):
                if data == b"bad":
                    raise ValueError("a mistake")
                self.transport.write(data)
        class Client(Protocol):
            def connectionMade(self):
                self.transport.write(self.factory.word)
            def dataReceived(self, data):
                print("answered:", data.decode())
                reactor.stop()
            def connectionLost(self, reason):
                if self.factory.word == b"bad":
                    print("lost")
                    ask(b"good")
        def ask(word):
            factory = ClientFactory.forProtocol(Client)
            factory.word, factory.noisy = word, False
            reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
        port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
        ask(b"bad")
        reactor.run()
        """
    ) == ["logged: a mistake", "lost", "answered: good"]


def test_what_escapes_a_selectable_is_logged() -> None:
    """Even an object that Twisted cannot ask for its descriptor ends nothing."""
    assert said_by(
        """
        import os
        from zope.interface import implementer
        from twisted.internet.interfaces import IReadDescriptor
        ours, theirs = os.pipe()
        @implementer(IReadDescriptor)
        class Broken:
            def fileno(self):
                return ours
            def logPrefix(self):
                return "broken"
            def doRead(self):
                raise ValueError("unread")
            def connectionLost(self, reason):
                reactor.callLater(0, reactor.stop)
                raise ValueError("not even lost")
        reactor.addReader(Broken())
        os.write(theirs, b"x")
        reactor.run()
        """
    ) == ["logged: unread", "logged: not even lost"]


class Kernel:
    """A poll whose events come so many seconds after the call before; time passes only in it."""

    def __init__(self, *gaps_s: float) -> None:
        self.now_s = 0.0
        self.gaps = list(gaps_s)
        self.due_s = self.gaps.pop(0)
        self.slept = 0

    def poll(self, timeout_s: float, events_max: int) -> Events:
        """One look, or a sleep."""
        assert events_max == 7
        if self.due_s > self.now_s:
            if timeout_s == 0:
                self.now_s += AWAKE_S / 10
                return []
            self.slept += 1
            self.now_s = self.due_s if timeout_s < 0 else min(self.due_s, self.now_s + timeout_s)
            if self.due_s > self.now_s:
                return []
        self.due_s = self.now_s + (self.gaps.pop(0) if self.gaps else 1000.0)
        return [(1, 1)]


def waiting(kernel: Kernel) -> Waiting:
    """It, on that clock."""
    return Waiting(kernel.poll, lambda: kernel.now_s)


def test_it_stays_awake_for_who_asks_again_at_once() -> None:
    """Only the first request of a client that is answered and asks again finds it asleep."""
    kernel = Kernel(1.0, *[AWAKE_S / 2] * 20)
    wait = waiting(kernel)
    assert [wait.events(None, 7) for _ in range(21)] == [[(1, 1)]] * 21
    assert kernel.slept == 1


def test_where_nobody_asks_again_at_once_it_falls_asleep_at_once() -> None:
    """It looks ever more rarely whether that has changed, and notices when it has."""
    kernel = Kernel(*[AWAKE_S * 3] * 400, *[AWAKE_S / 2] * 200)
    wait = waiting(kernel)
    awake_s = 0.0
    for _ in range(400):
        before_s = kernel.now_s
        assert wait.events(None, 7)
        awake_s += kernel.now_s - before_s - AWAKE_S * 3
    assert kernel.slept == 400
    assert awake_s < 400 * AWAKE_S / 20
    for _ in range(200):
        assert wait.events(None, 7)
    assert kernel.slept < 400 + MISSES_MAX + 1


def test_it_waits_no_longer_than_it_may_and_stays_awake_only_behind_an_event() -> None:
    """A timer that is due comes first; an idle process sleeps."""
    kernel = Kernel(0.5, 1000.0)
    wait = waiting(kernel)
    assert wait.events(0.2, 7) == []
    assert kernel.now_s == 0.2
    assert wait.events(0, 7) == []
    assert wait.events(10, 7) == [(1, 1)]
    now_s = kernel.now_s
    assert wait.events(AWAKE_S / 2, 7) == []
    assert kernel.now_s == now_s + AWAKE_S / 2
    assert wait.events(5.0, 7) == []
    assert kernel.now_s == now_s + AWAKE_S / 2 + 5.0

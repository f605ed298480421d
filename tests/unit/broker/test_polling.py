"""The reactor of brokers' processes serves like Twisted's; each case in a process of its own."""

import subprocess
import sys
import textwrap

import pytest

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

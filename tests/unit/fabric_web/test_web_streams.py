"""Event streams: they go on until one of both ends them, and tell what has changed."""

from typing import Any, cast

import pytest
from support.console import ConsoleWorld
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from fabric.web.events import TOGETHER_S

LAST_CHUNK = b"0\r\n\r\n"


@pytest.fixture
def world() -> ConsoleWorld:
    """A console with one container."""
    world = ConsoleWorld()
    world.container("root")
    return world


def listen(world: ConsoleWorld, user: str = "viewer", topic: str = "fabric") -> StringTransport:
    """Open a stream as a browser does."""
    cookie = world.browser(user).headers["Cookie"]
    head = f"GET /api/v1/events?topic={topic} HTTP/1.1\r\nHost: console.test\r\nCookie: {cookie}\r\n\r\n"
    return world.send(head.encode())


def test_a_stream_goes_on(world: ConsoleWorld) -> None:
    """Its answer has no end, or every page would ask anew each second."""
    stream = listen(world)
    assert b"text/event-stream" in stream.value()
    assert not stream.value().endswith(LAST_CHUNK)
    assert world.console.events.count == 1


def test_changes_are_told(world: ConsoleWorld) -> None:
    """What changed within a moment is told once, to those who asked for it."""
    stream, other = listen(world), listen(world, topic="something-else")
    stream.clear()
    other.clear()
    world.console.events.publish("fabric")
    world.console.events.publish("fabric")
    world.reactor.advance(TOGETHER_S)
    assert stream.value().count(b"event: fabric") == 1
    assert other.value() == b""


def test_a_client_that_goes_is_forgotten(world: ConsoleWorld) -> None:
    """Its stream is not counted any more, and nothing is logged as an error."""
    stream = listen(world)
    channel = cast("Any", stream.producer)  # the HTTP channel has registered itself
    channel.connectionLost(Failure(ConnectionDone()))
    assert world.console.events.count == 0


def test_the_console_ends_its_streams(world: ConsoleWorld) -> None:
    """A console that stops ends the answer properly."""
    stream = listen(world)
    world.console.close()
    assert stream.value().endswith(LAST_CHUNK)
    assert world.console.events.count == 0

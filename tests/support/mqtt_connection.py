"""A connection of `broker.mqtt` and the client's end of it, without sockets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from support import mqtt_peer as peer
from support.mqtt_peer import Reply

from broker.mqtt.connection import Connection
from broker.mqtt.events import ConnectionOptions, Event
from broker.mqtt.packets import NO_PROPERTIES, Properties

VERSIONS = (3, 4, 5)
OLDER = (3, 4)


class Link:
    """Bytes in, events out, replies out; the clock stands still unless it is set."""

    def __init__(self, version: int = 5, **options: Any) -> None:
        self.version = version
        self.connection = Connection(ConnectionOptions(**options))
        self.now_s = 1000.0

    def say(self, *packets: bytes) -> list[Event]:
        """What comes of some bytes that arrive together."""
        return self.connection.receive_data(b"".join(packets), self.now_s)

    def hear(self) -> list[Reply]:
        """What the client has been sent."""
        replies, rest = peer.read_replies(self.connection.data_to_send(), self.version)
        assert not rest
        return replies

    def last_words(self) -> tuple[int, int]:
        """Type and code of the only packet that the client has been sent."""
        (reply,) = self.hear()
        return reply.kind, reply.code


def connected(
    version: int = 5,
    *,
    values: Iterable[peer.Property] = (),
    keep_alive_s: int = 0,
    clean: bool = True,
    present: bool = False,
    properties: Properties = NO_PROPERTIES,
    received: Iterable[int] = (),
    sent: Iterable[int] = (),
    **options: Any,
) -> Link:
    """A connection that has been accepted; the CONNACK has been heard."""
    link = Link(version, **options)
    events = link.say(peer.connect(version=version, clean=clean, keep_alive_s=keep_alive_s, values=values))
    assert [type(event).__name__ for event in events] == ["Connect"], events
    link.connection.accept(
        link.now_s, session_present=present, properties=properties, received=received, sent=sent
    )
    (connack,) = link.hear()
    assert (connack.kind, connack.code) == (peer.CONNACK, 0)
    return link

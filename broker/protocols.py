"""Which protocol's server a connector's clients are given."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from broker.amqp.engine import proton
from broker.amqp.server import AmqpServer
from broker.errors import ConfigurationInvalid
from broker.mqtt.server import MqttServer
from broker.mqtt.sessions import Sessions
from broker.openwire.server import OpenWireServer
from broker.stomp.server import StompServer

if TYPE_CHECKING:
    from broker.connector import BuildServer, ProtocolServer
    from broker.region.region import Region
    from broker.serving import ServerContext

SERVERS: Final[dict[str, Callable[[ServerContext, str, float, Callable[[], None]], ProtocolServer]]] = {
    "amqp": AmqpServer,
    "mqtt": MqttServer,
    "openwire": OpenWireServer,
    "stomp": StompServer,
}
"""Per protocol: makes the server for one client of a connector.

It is given the client's address, the time, and what asks for a turn."""

STARTERS: Final[tuple[Callable[[Region], object], ...]] = (Sessions.of,)
"""What goes on at the beginning of a mastership, before any client has come, whatever the connectors are."""

_number = itertools.count(1)


def broker_id() -> str:
    """A name for one mastership of one process, as clients expect it to look."""
    return f"ID:{socket.gethostname()}-{os.getpid()}-{int(time.time() * 1000)}-0:{next(_number)}"


def server_builder(context: ServerContext) -> BuildServer:
    """What makes the servers for one connector's clients, for one mastership."""
    make = SERVERS[context.config.protocol]
    for start in STARTERS:
        start(context.region)
    return lambda remote, now_s, wake: make(context, remote, now_s, wake)


def lack(protocol: str) -> str:
    """What has to be installed before a protocol can be spoken; empty: nothing."""
    if protocol != "amqp":
        return ""
    try:
        proton()
    except ConfigurationInvalid as error:
        return str(error)
    return ""

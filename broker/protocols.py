"""Which protocol's server a connector's clients are given."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

from broker.amqp.engine import proton
from broker.amqp.server import AmqpServer
from broker.errors import ConfigurationInvalid
from broker.mqtt.server import MqttServer
from broker.mqtt.sessions import Sessions
from broker.openwire.server import OpenWireServer
from broker.stomp.server import StompServer

if TYPE_CHECKING:
    from broker.certificates import CertificateStore
    from broker.connector import BuildServer
    from broker.connectors import ConnectorConfig
    from broker.region.region import Region
    from broker.serving import ServerContext
    from broker.wrapping import MakeServer

SERVERS: Final[dict[str, MakeServer]] = {
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


def lack(config: ConnectorConfig) -> str:
    """What has to be installed before a connector can be served; empty: nothing."""
    problem = _lack(config.protocol)
    return problem and f"The connector {config.name} does not listen: {problem}"


def prepare(connectors: Iterable[ConnectorConfig]) -> None:
    """Import what they need, so that nobody waits for it when the broker becomes the master."""
    for config in connectors:
        lack(config)
        if config.tls is not None:
            import_module("broker.certificates")
        _make(config, None)


def _lack(protocol: str) -> str:
    if protocol != "amqp":
        return ""
    try:
        proton()
    except ConfigurationInvalid as error:
        return str(error)
    return ""


def server_builder(context: ServerContext, certificates: CertificateStore | None = None) -> BuildServer:
    """What makes the servers for one connector's clients, for one mastership.

    Args:
        context: what they share.
        certificates: if the connector speaks TLS.
    """
    make = _make(context.config, certificates)
    for start in STARTERS:
        start(context.region)
    return lambda remote, now_s, wake: make(context, remote, now_s, wake)


def _make(config: ConnectorConfig, certificates: CertificateStore | None) -> MakeServer:
    make = _encrypted(config, certificates)
    if not config.proxies:
        return make
    from broker.proxied import proxied_server  # noqa: PLC0415 - a broker without proxies stays small

    return partial(proxied_server, make)


def _encrypted(config: ConnectorConfig, certificates: CertificateStore | None) -> MakeServer:
    plain = _plain(config)
    if certificates is None:
        return plain
    from broker.tls_server import TlsServer  # noqa: PLC0415 - a broker without TLS stays small

    tls: MakeServer = partial(TlsServer, store=certificates, make=plain)
    return tls if config.requires_tls else _auto(config, {"tls": tls})


def _plain(config: ConnectorConfig) -> MakeServer:
    if config.protocol == "ws":
        return _websocket()
    return _auto(config, {}) if config.protocol == "auto" else SERVERS[config.protocol]


def _auto(config: ConnectorConfig, more: dict[str, MakeServer]) -> MakeServer:
    from broker.auto import AutoServer  # noqa: PLC0415 - as above

    known: dict[str, MakeServer] = {**SERVERS, "ws": _websocket()}
    wanted = config.auto_protocols or known.keys()
    chosen = {name: make for name, make in known.items() if name in wanted and not _lack(name)}
    return partial(AutoServer, chosen | more)


def _websocket() -> MakeServer:
    from broker.websocket import WebSocketServer  # noqa: PLC0415 - as above

    return partial(WebSocketServer, {name: make for name, make in SERVERS.items() if not _lack(name)})

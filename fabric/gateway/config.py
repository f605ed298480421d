"""A gateway's configuration, from the properties of its PID (`docs/reference/gateway.md`).

Names and defaults are those of fabric8's gateways: `io.fabric8.gateway.detecting` has one port on which the
first bytes tell the protocol, `io.fabric8.gateway.mq` a port for each protocol. A PID with `-NAME` behind it
is a further gateway of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from broker.connectors import CONNECTIONS_MAX, read_proxies
from broker.errors import ConfigurationInvalid
from broker.proxy_protocol import Network
from broker.tls_config import TlsConfig
from broker.values import DAY_MS, flag, number, path
from fabric.gateway.balance import BALANCES, ROUND_ROBIN, STICKY_CLIENTS_MAX

DETECTING_PID: Final = "io.fabric8.gateway.detecting"
MQ_PID: Final = "io.fabric8.gateway.mq"
AUTO: Final = "auto"
"""Name of the port on which the first bytes tell the protocol."""

PROTOCOLS: Final[dict[str, tuple[str, str]]] = {
    "openwire": ("openWire", "61616"),
    "stomp": ("stomp", "61613"),
    "amqp": ("amqp", "5672"),
    "mqtt": ("mqtt", "1883"),
    "ws": ("websocket", "61614"),
}
"""Per protocol: how the names of its properties begin, and its port. The original has 5672 for MQTT, too, and
that is AMQP's."""

WAIT_MS: Final = 30_000
"""A takeover takes less than a second, a host that freezes a session timeout; a broker that recovers a large
journal may take some seconds. Clients give up by themselves after 10 to 60 s."""
DETECTION_MS: Final = 5_000
"""Time for the first bytes. Source: the original's detecting gateway."""
CONNECT_MS: Final = 3_000
"""Time for the connection to a broker: one lost SYN is sent again after 1 s."""
BUFFER_BYTES: Final = 65_536
"""What is read at a time, and so what waits in one direction for a side that does not read."""
PROXY_VERSIONS: Final = ("none", "v1", "v2")
"""What `proxyProtocol` may be, by the version it stands for."""
BROKER_TLS: Final = (AUTO, "never", "always")
"""`auto`: where a broker has no other port of the protocol, and it is known who signs its certificate."""


@dataclass(frozen=True, slots=True)
class PortConfig:
    """One port.

    Attributes:
        name: the protocol, or `auto`.
        candidates: the first of these that is free.
        protocols: what is spoken there.
    """

    name: str
    candidates: range
    protocols: frozenset[str]


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What one gateway is to be.

    Attributes:
        name: for the log, the registry and the metrics: what stands behind its PID.
        group: of brokers.
        brokers: patterns of the names of those of them that clients are led to.
        ports: where it listens.
        bind_address: likewise; empty: where the container does.
        balance: how one of several masters is chosen.
        sticky_clients_max: clients whose choice is remembered.
        connections_max: of all its ports; further ones are closed at once.
        connections_per_address_max: likewise of one address; 0: as many.
        wait_ms: how long a client waits for a master.
        detection_ms: how long its first bytes may take.
        connect_ms: how long a broker may take to accept.
        idle_ms: a connection on which nothing moves for so long is closed; 0: never.
        buffer_bytes: what waits in each direction at most.
        tls: to end TLS here; None: it is passed through.
        requires_tls: nothing else is let in.
        proxies: load balancers in front, who may say with a PROXY header who the client is.
        requires_proxy: they have to.
        sends_proxy: version of the PROXY header that brokers are sent; 0: none.
        broker_tls: whether clients that speak no TLS are led to brokers' ports with TLS: see `BROKER_TLS`.
        broker_trust: PEM file of who signs brokers' certificates; None: the fabric's authority.
    """

    name: str
    group: str
    brokers: tuple[str, ...]
    ports: tuple[PortConfig, ...]
    bind_address: str = ""
    balance: str = ROUND_ROBIN
    sticky_clients_max: int = STICKY_CLIENTS_MAX
    connections_max: int = CONNECTIONS_MAX
    connections_per_address_max: int = 0
    wait_ms: int = WAIT_MS
    detection_ms: int = DETECTION_MS
    connect_ms: int = CONNECT_MS
    idle_ms: int = 0
    buffer_bytes: int = BUFFER_BYTES
    tls: TlsConfig | None = None
    requires_tls: bool = False
    proxies: tuple[Network, ...] = ()
    requires_proxy: bool = False
    sends_proxy: int = 0
    broker_tls: str = AUTO
    broker_trust: Path | None = None

    @classmethod
    def from_properties(
        cls, pid: str, properties: Mapping[str, str], candidates: Callable[[str], range]
    ) -> GatewayConfig:
        """Read the properties of a gateway's PID.

        Args:
            pid: tells the kind and the name.
            properties: as merged from the profiles.
            candidates: the ports that the text of a port stands for.

        Raises:
            ConfigurationInvalid: one of them is wrong; the text names it.
        """
        values = {key: value.strip() for key, value in properties.items()}
        proxies, requires_proxy = read_proxies(values)
        tls, requires_tls = _tls(values)
        return cls(
            name=name_of(pid),
            group=values.get("group") or values.get("defaultVirtualHost") or "default",
            brokers=tuple((values.get("brokers") or "*").replace(",", " ").split()),
            ports=_ports(pid, values, candidates),
            bind_address=values.get("bindAddress") or values.get("address") or values.get("host") or "",
            balance=_one_of(values, "loadBalancerType", BALANCES),
            sticky_clients_max=number(
                values, "stickyLoadBalancerCacheSize", STICKY_CLIENTS_MAX, 1, 1_000_000
            ),
            connections_max=number(values, "maximumConnections", CONNECTIONS_MAX, 1, 100_000),
            connections_per_address_max=number(values, "maximumConnectionsPerAddress", 0, 0, 100_000),
            wait_ms=number(values, "connectionWait", WAIT_MS, 0, DAY_MS),
            detection_ms=number(values, "protocolDetectionTimeOut", DETECTION_MS, 1, DAY_MS),
            connect_ms=number(values, "connectTimeout", CONNECT_MS, 1, DAY_MS),
            idle_ms=number(values, "idleTimeout", 0, 0, DAY_MS),
            buffer_bytes=number(values, "bufferSize", BUFFER_BYTES, 4_096, 16_777_216),
            tls=tls,
            requires_tls=requires_tls,
            proxies=proxies,
            requires_proxy=requires_proxy,
            sends_proxy=PROXY_VERSIONS.index(_one_of(values, "proxyProtocol", PROXY_VERSIONS)),
            broker_tls=_one_of(values, "brokerSsl", BROKER_TLS),
            broker_trust=path("brokerTrustStore", trust)
            if (trust := values.get("brokerTrustStore"))
            else None,
        )

    def leads_to(self, broker: str) -> bool:
        """Whether clients are led to the broker of this name."""
        return any(fnmatchcase(broker, pattern) for pattern in self.brokers)


def name_of(pid: str) -> str:
    """A gateway's name: what stands behind its PID, or the kind itself.

    >>> name_of("io.fabric8.gateway.detecting-west"), name_of("io.fabric8.gateway.mq")
    ('west', 'mq')
    """
    kind, _, name = pid.removeprefix("io.fabric8.gateway.").partition("-")
    return name or kind


def _ports(pid: str, values: Mapping[str, str], candidates: Callable[[str], range]) -> tuple[PortConfig, ...]:
    spoken = [name for name, (key, _) in PROTOCOLS.items() if flag(values, f"{key}Enabled", "true")]
    if not spoken:
        keys = ", ".join(f"{key}Enabled" for key, _ in PROTOCOLS.values())
        raise ConfigurationInvalid(f"no protocol is enabled: all of {keys} are false.")
    if pid.startswith(DETECTING_PID):
        return (PortConfig(AUTO, candidates(values.get("port") or "61616"), frozenset(spoken)),)
    return tuple(
        PortConfig(name, candidates(values.get(f"{key}Port") or default), frozenset({name}))
        for name, (key, default) in PROTOCOLS.items()
        if name in spoken
    )


def _tls(values: Mapping[str, str]) -> tuple[TlsConfig | None, bool]:
    required = flag(values, "sslRequired")
    if not (required or flag(values, "sslEnabled")):
        return None, False
    return TlsConfig.parse(values, "gateway", required=True, speaks_tls=True), required


def _one_of(values: Mapping[str, str], key: str, known: tuple[str, ...]) -> str:
    text = (values.get(key) or known[0]).lower()
    if text not in known:
        raise ConfigurationInvalid(f"{key} is {text!r}; possible are: {', '.join(known)}.")
    return text

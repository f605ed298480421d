"""What a broker listens with: names of connectors, their protocols, the schemes of their URLs, their options.

::

    connectors = openwire stomp+ssl inside
    inside-protocol = openwire                 a second connector of a protocol has a name of its own

Source: the connectors of ActiveMQ's `broker.xml`; fabric8's property `connectors`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from broker.admission import (
    DEFAULT_LIMITS,
    FREE_FAILURES,
    NO_RATE,
    NO_SHARE,
    PER_SECOND,
    TRUSTED,
    AddressLimits,
)
from broker.errors import ConfigurationInvalid
from broker.proxy_protocol import Network, read_networks
from broker.tls_config import TlsConfig
from broker.values import DAY_MS, flag, number

PORT_MAX: Final = 65535
MEBIBYTE: Final = 1024 * 1024
FRAME_BYTES_MAX: Final = 100 * MEBIBYTE
"""The original's `wireFormat.maxFrameSize`; the journal takes more."""
CONNECTIONS_MAX: Final = 1000
"""The original's `maximumConnections`; per connector."""
AMQP_FRAME_BYTES_MAX: Final = MEBIBYTE
"""AMQP's longer messages come in several frames. ActiveMQ has no limit, RabbitMQ 128 KiB; a frame is read as
a whole, so a connection can make the broker hold so much before its `open`."""
PRODUCER_CREDIT: Final = 1000
"""ActiveMQ's `producerCredit`."""
DETECTION_MS: Final = 30_000
"""How long an `auto` connector waits for the first bytes. The original's `protocolDetectionTimeOut`."""
CONNECTORS_MAX: Final = 50
"""Connectors of one broker; each has a port."""

TRUSTED_PROXIES: Final = "proxyProtocol.trusted"
PROXY_REQUIRED: Final = "proxyProtocol.required"
LIMITS_TRUSTED: Final = "limits.trusted"

CONNECTORS: Final[dict[str, tuple[str, str]]] = {
    "amqp": ("amqp", "amqp"),
    "openwire": ("openwire", "tcp"),
    "stomp": ("stomp", "stomp"),
    "mqtt": ("mqtt", "mqtt"),
    "ws": ("ws", "ws"),
    "auto": ("auto", "auto"),
}
"""Per name of a connector: its protocol, and the scheme of its published URL; with TLS see `kind_of`."""

_TLS_SUFFIXES: Final = ("+ssl", "-ssl")
_TLS_SCHEMES: Final = {"tcp": "ssl", "ws": "wss"}
_TLS_NAMES: Final = {"wss": "ws", "ssl": "openwire"}
_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9.+_-]{0,99}")
_HEART_BEAT: Final = re.compile(r"\d{1,9}\s*,\s*\d{1,9}", re.ASCII)
_FACTOR: Final = re.compile(r"\d{1,4}(\.\d{1,4})?", re.ASCII)
FACTOR_MAX: Final = 1000
"""Largest `hbGracePeriodMultiplier`."""
_PORT_RANGE: Final = re.compile(r"\$\{port:\s*(\d+)\s*,\s*(\d+)\s*\}")


@dataclass(frozen=True, slots=True)
class PortRange:
    """Where a connector listens: on the first free port from `low` to `high`; 0: any free port."""

    low: int
    high: int

    @classmethod
    def parse(cls, text: str) -> PortRange:
        """Read `61616`, `0` or `${port:61616,61626}`.

        Raises:
            ConfigurationInvalid: it is none of these, or not a port.
        """
        match = _PORT_RANGE.fullmatch(text.strip())
        numbers = match.groups() if match else (text.strip(), text.strip())
        if not all(number.isascii() and number.isdigit() and int(number) <= PORT_MAX for number in numbers):
            raise ConfigurationInvalid(
                f"{text!r} is not a port: a number from 0 to {PORT_MAX}, or ${{port:LOW,HIGH}}."
            )
        low, high = int(numbers[0]), int(numbers[1])
        if low > high:
            raise ConfigurationInvalid(f"{text!r} is an empty range of ports.")
        return cls(low, high)

    @property
    def candidates(self) -> range:
        """The ports to try, in order."""
        return range(self.low, self.high + 1)


@dataclass(frozen=True, slots=True)
class ConnectorConfig:
    """One transport connector.

    Attributes:
        name: `openwire`.
        protocol: what is spoken there, a name in `broker.protocols.SERVERS`, or `ws` or `auto`.
        scheme: of the published URL, `tcp`.
        ports: where to listen.
        connections_max: further connections are closed at once.
        frame_bytes_max: larger frames end their connection.
        inactivity_ms: a silent peer is given up after this; negotiated down by the client.
        tight_encoding: offer OpenWire's tight encoding: smaller frames for more of the processor.
        cache: offer OpenWire's cache of ids and destinations: likewise.
        cache_size: entries of that per direction.
        stack_traces: read and write stack traces of OpenWire's exceptions; the broker has none of its own.
        openwire_version: the highest that is offered.
        inactivity_initial_ms: how long the first frame of an OpenWire client may take; 0: as its default.
        data_bytes_max: STOMP's bodies; longer ones end their connection.
        heart_beat: what STOMP clients that say nothing of heart-beats are taken to have said.
        heart_beat_grace: a STOMP client may be silent for so many times of what it has promised.
        update_cluster_clients: tell OpenWire's clients where the brokers of the group serve.
        rebalance_cluster_clients: have them spread over these.
        producer_credit: messages that AMQP's senders may send before they hear of the first.
        amqp_frame_bytes_max: AMQP's longer messages come in several frames.
        anonymous: clients need not say who they are.
        subscription_prefetch: messages that MQTT has under way for one subscription; 0: as JMS.
        publish_dollar_topics: clients of MQTT may publish to topics that begin with `$`.
        tls: how to speak TLS; None: the broker has no certificates.
        requires_tls: nothing else is spoken; otherwise only `auto` speaks TLS, to clients that begin so.
        detection_ms: how long `auto` waits for the bytes that tell the protocol.
        auto_protocols: what `auto` recognises; empty: all there is.
        origins: the web origins whose pages may connect over WebSocket; empty: all.
        proxies: who may say with a PROXY header whose connection it is; empty: nobody.
        requires_proxy: who may has to.
        limits: what one address may take.
    """

    name: str
    protocol: str
    scheme: str
    ports: PortRange
    connections_max: int = CONNECTIONS_MAX
    frame_bytes_max: int = FRAME_BYTES_MAX
    inactivity_ms: int = 30_000
    tight_encoding: bool = False
    cache: bool = False
    cache_size: int = 1024
    stack_traces: bool = False
    openwire_version: int = 12
    inactivity_initial_ms: int = 10_000
    data_bytes_max: int = FRAME_BYTES_MAX
    heart_beat: str = "0,0"
    heart_beat_grace: float = 1.0
    update_cluster_clients: bool = False
    rebalance_cluster_clients: bool = False
    producer_credit: int = PRODUCER_CREDIT
    amqp_frame_bytes_max: int = AMQP_FRAME_BYTES_MAX
    anonymous: bool = False
    subscription_prefetch: int = 0
    publish_dollar_topics: bool = False
    tls: TlsConfig | None = None
    requires_tls: bool = False
    detection_ms: int = DETECTION_MS
    auto_protocols: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    proxies: tuple[Network, ...] = ()
    requires_proxy: bool = False
    limits: AddressLimits = DEFAULT_LIMITS


def kind_of(name: str) -> tuple[str, str, bool] | None:
    """What the name of a connector stands for; None: nothing.

    Returns:
        Protocol, scheme of the URL, and whether it is TLS: `stomp+ssl` → (`stomp`, `stomp+ssl`, True).
    """
    if name in CONNECTORS:
        return (*CONNECTORS[name], False)
    plain = _TLS_NAMES.get(name, "")
    for suffix in _TLS_SUFFIXES:
        if name.endswith(suffix):
            plain = name.removesuffix(suffix)
    if plain not in CONNECTORS:
        return None
    protocol, scheme = CONNECTORS[plain]
    return protocol, _TLS_SCHEMES.get(scheme, f"{scheme}+ssl"), True


def connector_names() -> list[str]:
    """The names of all kinds of connectors there are."""
    return [each for name in CONNECTORS for each in (name, "wss" if name == "ws" else f"{name}+ssl")]


def read_connectors(values: Mapping[str, str]) -> tuple[ConnectorConfig, ...]:
    """The connectors that a broker's properties describe.

    Raises:
        ConfigurationInvalid: one of them is wrong; the text names the property.
    """
    names = list(dict.fromkeys((values.get("connectors") or "openwire").split()))
    if len(names) > CONNECTORS_MAX:
        raise ConfigurationInvalid(f"connectors names {len(names)}; at most {CONNECTORS_MAX} are possible.")
    return tuple(_read(values, name) for name in names)


def _kind(values: Mapping[str, str], name: str) -> tuple[str, str, bool]:
    if not _NAME.fullmatch(name):
        raise ConfigurationInvalid(
            f"The connector {name!r} does not exist: a name begins with a letter, "
            "and has letters, digits, `.`, `+`, `_` and `-` behind it."
        )
    given = values.get(f"{name}-protocol")
    kind = kind_of(given or name)
    if kind is not None:
        return kind
    known = ", ".join(connector_names())
    if given:
        raise ConfigurationInvalid(f"{name}-protocol {given!r} does not exist; there is: {known}.")
    raise ConfigurationInvalid(
        f"The connector {name!r} does not exist; there is: {known}. "
        f"A connector of any other name says with {name}-protocol which of these it is."
    )


def _read(values: Mapping[str, str], name: str) -> ConnectorConfig:
    protocol, scheme, is_tls = _kind(values, name)
    tls = TlsConfig.parse(values, name, is_tls, speaks_tls=is_tls or protocol == "auto")
    port = values.get(f"{name}-port") or (values.get("bindPort") if name == "openwire" else None) or "0"
    proxies, requires_proxy = read_proxies(values, f"{name}-")
    silence = f"{name}-wireFormat.idleTimeout"  # as the original has it for AMQP
    if not values.get(silence):
        silence = f"{name}-wireFormat.maxInactivityDuration"
    connections_max = number(values, f"{name}-maximumConnections", CONNECTIONS_MAX, 1, 100_000)
    return ConnectorConfig(
        name=name,
        protocol=protocol,
        scheme=scheme,
        ports=PortRange.parse(port),
        connections_max=connections_max,
        frame_bytes_max=number(
            values, f"{name}-wireFormat.maxFrameSize", FRAME_BYTES_MAX, 1024, 2 * FRAME_BYTES_MAX
        ),
        inactivity_ms=number(values, silence, 30_000, 0, DAY_MS),
        tight_encoding=flag(values, f"{name}-wireFormat.tightEncodingEnabled"),
        cache=flag(values, f"{name}-wireFormat.cacheEnabled"),
        cache_size=number(values, f"{name}-wireFormat.cacheSize", 1024, 101, 16_383),
        stack_traces=flag(values, f"{name}-wireFormat.stackTraceEnabled"),
        openwire_version=number(values, f"{name}-wireFormat.version", 12, 1, 12),
        inactivity_initial_ms=number(
            values, f"{name}-wireFormat.maxInactivityDurationInitalDelay", 10_000, 0, DAY_MS
        ),
        data_bytes_max=number(
            values, f"{name}-wireFormat.maxDataLength", FRAME_BYTES_MAX, 1024, 2 * FRAME_BYTES_MAX
        ),
        heart_beat=_heart_beat(values, f"{name}-transport.defaultHeartBeat"),
        heart_beat_grace=_factor(values, f"{name}-transport.hbGracePeriodMultiplier"),
        update_cluster_clients=flag(values, f"{name}-updateClusterClients"),
        rebalance_cluster_clients=flag(values, f"{name}-rebalanceClusterClients"),
        producer_credit=number(values, f"{name}-wireFormat.producerCredit", PRODUCER_CREDIT, 1, 1_000_000),
        amqp_frame_bytes_max=number(
            values, f"{name}-wireFormat.maxAmqpFrameSize", AMQP_FRAME_BYTES_MAX, 512, FRAME_BYTES_MAX
        ),
        anonymous=flag(values, f"{name}-anonymousAccessAllowed"),
        subscription_prefetch=number(values, f"{name}-transport.activeMQSubscriptionPrefetch", 0, 0, 65_535),
        publish_dollar_topics=flag(values, f"{name}-transport.publishDollarTopics"),
        tls=tls,
        requires_tls=is_tls,
        detection_ms=number(values, f"{name}-protocolDetectionTimeOut", DETECTION_MS, 1, DAY_MS),
        auto_protocols=_auto_protocols(values, f"{name}-auto.protocols"),
        origins=_origins(values, f"{name}-allowedOrigins"),
        proxies=proxies,
        requires_proxy=requires_proxy,
        limits=replace(
            read_limits(values, connections_max, f"{name}-"),
            free_failures=number(values, f"{name}-freeLoginFailures", FREE_FAILURES, 0, 1_000),
        ),
    )


def read_limits(values: Mapping[str, str], connections_max: int, prefix: str = "") -> AddressLimits:
    """What one address may take of a port: nine tenths of its connections, if nothing else is said.

    Args:
        values: properties.
        connections_max: that the port takes.
        prefix: of the names of these properties.

    Raises:
        ConfigurationInvalid: one of them is wrong; the text names it.
    """
    share = max(1, connections_max * 9 // 10)
    trusted_key = f"{prefix}{LIMITS_TRUSTED}"
    trusted = values.get(trusted_key)
    return AddressLimits(
        connections_max=number(values, f"{prefix}{NO_SHARE}", share, 0, 100_000),
        per_second=number(values, f"{prefix}{NO_RATE}", PER_SECOND, 0, 100_000),
        trusted=TRUSTED if trusted is None else read_networks(trusted_key, trusted.replace("none", " ")),
    )


def read_proxies(values: Mapping[str, str], prefix: str = "") -> tuple[tuple[Network, ...], bool]:
    """Whose PROXY headers are believed, and whether they have to send one.

    Args:
        values: properties.
        prefix: of the names of these properties.

    Raises:
        ConfigurationInvalid: an address is none, or somebody has to send one and nobody may.
    """
    key, required_key = f"{prefix}{TRUSTED_PROXIES}", f"{prefix}{PROXY_REQUIRED}"
    networks, required = read_networks(key, values.get(key) or ""), flag(values, required_key)
    if required and not networks:
        raise ConfigurationInvalid(f"{required_key} is true, but {key} names nobody who may send a header.")
    return networks, required


def _auto_protocols(values: Mapping[str, str], key: str) -> frozenset[str]:
    names = frozenset((values.get(key) or "").replace(",", " ").split())
    renamed = frozenset("openwire" if name == "default" else name for name in names)  # as in the original
    known = CONNECTORS.keys() - {"auto"}
    if not renamed <= known:
        wrong = min(renamed - known)
        raise ConfigurationInvalid(f"{key} names {wrong!r}; there is: {', '.join(sorted(known))}.")
    return renamed


def _origins(values: Mapping[str, str], key: str) -> frozenset[str]:
    names = frozenset((values.get(key) or "*").replace(",", " ").lower().split())
    return frozenset() if "*" in names else frozenset(name.rstrip("/") for name in names)


def _heart_beat(values: Mapping[str, str], key: str) -> str:
    text = values.get(key) or "0,0"
    if not _HEART_BEAT.fullmatch(text):
        raise ConfigurationInvalid(
            f"{key} {text!r} is not two times in ms with a comma between, as in 5000,0."
        )
    return text


def _factor(values: Mapping[str, str], key: str) -> float:
    text = values.get(key) or "1"
    if not _FACTOR.fullmatch(text) or not 1 <= float(text) <= FACTOR_MAX:
        raise ConfigurationInvalid(f"{key} {text!r} is not a number from 1 to {FACTOR_MAX}.")
    return float(text)

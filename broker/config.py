"""A broker's configuration, from the properties of its PID (`docs/reference/broker-configuration.md`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from broker.authorization import OPEN, Authorization
from broker.errors import ConfigurationInvalid
from broker.forwarding import DEFAULT_FORWARDING, Forwarding
from broker.policies import NO_POLICIES, PolicyMap

NAME: Final = re.compile(r"[a-zA-Z0-9]+[.a-zA-Z0-9_-]*")
PORT_MAX: Final = 65535
MEBIBYTE: Final = 1024 * 1024
FRAME_BYTES_MAX: Final = 100 * MEBIBYTE
"""The original's `wireFormat.maxFrameSize`; the journal takes more."""
AMQP_FRAME_BYTES_MAX: Final = MEBIBYTE
"""AMQP's longer messages come in several frames. ActiveMQ has no limit, RabbitMQ 128 KiB; a frame is read as
a whole, so a connection can make the broker hold so much before its `open`."""
PRODUCER_CREDIT: Final = 1000
"""ActiveMQ's `producerCredit`."""
CONNECTIONS_MAX: Final = 1000
"""The original's `maximumConnections`; per connector."""
START_RETRY_DELAY_MS: Final = 10_000
"""The original's `startRetryDelay`: the longest pause between two attempts to become the master."""
IGNORE_MISSING: Final = "ignoreMissingJournalfiles"
"""The property that accepts the loss of data files; the original's journal has it under the same name."""
TEMPORARY: Final = "tmpDataDirectory"
"""The folder of the temporary files; the original's broker has it under the same name."""
WAIT_MS_MAX: Final = 7 * 86_400_000
"""Longest `sendFailIfNoSpaceAfterTimeout`; whoever wants to wait longer waits for ever. Likewise of the
other periods."""
PERIOD_MS_MAX: Final = 10 * 365 * 86_400_000
"""Longest time after which anything is done."""
_UNITS: Final = {
    "": 1,
    "b": 1,
    "k": 1 << 10,
    "kb": 1 << 10,
    "m": 1 << 20,
    "mb": 1 << 20,
    "g": 1 << 30,
    "gb": 1 << 30,
}
_AMOUNT: Final = re.compile(r"(\d{1,15})\s*(b|kb?|mb?|gb?|%)?", re.ASCII | re.IGNORECASE)
_PORT_RANGE: Final = re.compile(r"\$\{port:\s*(\d+)\s*,\s*(\d+)\s*\}")
_CONNECTORS: Final = {
    "amqp": ("amqp", "amqp"),
    "openwire": ("openwire", "tcp"),
    "stomp": ("stomp", "stomp"),
    "mqtt": ("mqtt", "mqtt"),
}
"""Per name of a connector: its protocol, and the scheme of its published URL."""
_PLANNED_CONNECTORS: Final = frozenset(
    {"ws", "openwire-ssl", "stomp-ssl", "mqtt-ssl", "amqp-ssl", "openwire+ssl"}
)
_HEART_BEAT: Final = re.compile(r"\d{1,9}\s*,\s*\d{1,9}", re.ASCII)
_FACTOR: Final = re.compile(r"\d{1,4}(\.\d{1,4})?", re.ASCII)
FACTOR_MAX: Final = 1000
"""Largest `hbGracePeriodMultiplier`."""
_PLACEHOLDER: Final = re.compile(r"\$\{([^}]*)\}")


class Kind(Enum):
    """How many containers share the broker; only documentation to the broker itself, which always elects."""

    STAND_ALONE = "StandAlone"
    MASTER_SLAVE = "MasterSlave"


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
class Amount:
    """A size: of bytes, or a share of what there is.

    Attributes:
        bytes: 0 if it is a share.
        percent: 0 if it is not.
    """

    bytes: int = 0
    percent: int = 0

    @classmethod
    def parse(cls, key: str, text: str) -> Amount:
        """Read `1048576`, `64 mb`, `100 gb` or `70%`.

        Raises:
            ConfigurationInvalid: it is none of these, or nothing at all.
        """
        match = _AMOUNT.fullmatch(text)
        number, unit = (int(match[1]), (match[2] or "").lower()) if match else (0, "")
        if unit == "%" and 0 < number <= 100:
            return cls(percent=number)
        if unit == "%" or not number:
            raise ConfigurationInvalid(
                f"{key} {text!r} is not a size above 0: a number of bytes, or one with kb, mb or gb behind "
                "it, or a share from 1% to 100%."
            )
        return cls(bytes=number * _UNITS[unit])

    def within(self, total_bytes: int) -> int:
        """Bytes of a whole of so many bytes; never more than that."""
        return min(self.bytes, total_bytes) if self.bytes else total_bytes * self.percent // 100


@dataclass(frozen=True, slots=True)
class UsageConfig:
    """The original's `systemUsage`, and what becomes of sends beyond it.

    Attributes:
        store: of live persistent messages; a share is of the store's file system.
        memory: of messages in memory; a share is of the machine's.
        temp: of temporary files; a share is of their file system.
        temporary: the folder of these files; None: beside the store.
        flow_control: a send waits for space; otherwise it is refused.
        refuse_at_once: it is refused, too.
        refuse_after_ms: it is refused after waiting so long; 0: never.
    """

    store: Amount = Amount(bytes=100 << 30)
    memory: Amount = Amount(bytes=64 << 20)
    temp: Amount = Amount(bytes=50 << 30)
    temporary: Path | None = None
    flow_control: bool = True
    refuse_at_once: bool = False
    refuse_after_ms: int = 0


@dataclass(frozen=True, slots=True)
class ConnectorConfig:
    """One transport connector.

    Attributes:
        name: `openwire`.
        protocol: what is spoken there, a name in `broker.protocols.SERVERS`.
        scheme: of the published URL, `tcp`.
        ports: where to listen.
        connections_max: further connections are closed at once.
        frame_bytes_max: larger frames end their connection.
        inactivity_ms: a silent peer is given up after this; negotiated down by the client.
        tight_encoding: offer OpenWire's tight encoding: smaller frames for more of the processor.
        cache: offer OpenWire's cache of ids and destinations: likewise.
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


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """What one broker is to be.

    Attributes:
        name: its id in the election; brokers of the same name in a group elect one master.
        group: the cluster it belongs to.
        data: the directory of its journal, the same for master and slaves.
        connectors: what it listens with while it is the master.
        kind: see `Kind`.
        start_retry_delay_ms: longest pause between attempts to become the master after a failure.
        standby_pool: recorded only.
        ignore_missing_data_files: serve without data files that are missing; what they held is lost.
        usage: what it may take.
        policies: what holds for which destinations.
        forwarding: what feeds what.
        authorization: who may do what with which destinations.
        offline_timeout_ms: how long a durable subscription may be without consumers; -1: for ever.
        offline_period_ms: how often that is looked at; -1: never.
        purge_period_ms: how often idle destinations are looked for; 0: never.
        purged_max: deleted at a time; 0: all that are idle.
        scheduler_support: messages can be sent that are due later.
        advisory_support: say on advisory topics what happens.
    """

    name: str
    group: str
    data: Path
    connectors: tuple[ConnectorConfig, ...]
    kind: Kind = Kind.MASTER_SLAVE
    start_retry_delay_ms: int = START_RETRY_DELAY_MS
    standby_pool: str = "default"
    ignore_missing_data_files: bool = False
    usage: UsageConfig = UsageConfig()
    policies: PolicyMap = NO_POLICIES
    forwarding: Forwarding = DEFAULT_FORWARDING
    authorization: Authorization = OPEN
    offline_timeout_ms: int = -1
    offline_period_ms: int = 300_000
    purge_period_ms: int = 0
    purged_max: int = 0
    scheduler_support: bool = True
    advisory_support: bool = True

    @classmethod
    def from_properties(
        cls,
        properties: Mapping[str, str],
        *,
        container: str,
        substitutions: Mapping[str, str] | None = None,
    ) -> BrokerConfig:
        """Read the properties of a PID `io.fabric8.mq.fabric.server-…`.

        Args:
            properties: as merged from the profiles.
            container: names the broker if `broker-name` is missing.
            substitutions: values for `${…}` that are not resolved yet, such as `runtime.data`.

        Raises:
            ConfigurationInvalid: a property is missing or wrong; the text names it.
        """
        known = {"runtime.id": container, "container.id": container, **(substitutions or {})}
        values = {key: _substitute(value, known).strip() for key, value in properties.items()}
        name = _name("broker-name", values.get("broker-name") or container)
        return cls(
            name=name,
            group=_name("group", values.get("group") or "default"),
            data=_directory(values.get("data") or f"data/{name}"),
            connectors=_connectors(values),
            kind=_kind(values.get("kind") or Kind.MASTER_SLAVE.value),
            start_retry_delay_ms=_number(values, "startRetryDelay", START_RETRY_DELAY_MS, 1, 3_600_000),
            standby_pool=values.get("standby.pool") or "default",
            ignore_missing_data_files=_flag(values, IGNORE_MISSING),
            usage=_usage(values),
            policies=PolicyMap.parse(values),
            forwarding=Forwarding.parse(values),
            authorization=Authorization.parse(values),
            offline_timeout_ms=_period(values, "offlineDurableSubscriberTimeout", -1),
            offline_period_ms=_period(values, "offlineDurableSubscriberTaskSchedule", 300_000),
            purge_period_ms=_number(values, "schedulePeriodForDestinationPurge", 0, 0, WAIT_MS_MAX),
            purged_max=_number(values, "maxPurgedDestinationsPerSweep", 0, 0, 1_000_000),
            scheduler_support=_flag(values, "schedulerSupport", "true"),
            advisory_support=_flag(values, "advisorySupport", "true"),
        )


def _substitute(text: str, known: Mapping[str, str]) -> str:
    """Replace the placeholders that are known; `${port:…}` is read later."""
    return _PLACEHOLDER.sub(lambda match: known.get(match[1], match[0]), text)


def _name(key: str, value: str) -> str:
    if not NAME.fullmatch(value):
        raise ConfigurationInvalid(
            f"{key} {value!r} is invalid: letters and digits, then also `.`, `_` and `-`."
        )
    return value


def _directory(text: str, key: str = "data") -> Path:
    if "${" in text:
        raise ConfigurationInvalid(f"{key} {text!r} holds a placeholder that nothing resolves.")
    return Path(text)


def _kind(text: str) -> Kind:
    for kind in Kind:
        if kind.value.lower() == text.lower():
            return kind
    raise ConfigurationInvalid(f"kind {text!r} is not supported yet; use MasterSlave or StandAlone.")


def _number(values: Mapping[str, str], key: str, default: int, low: int, high: int) -> int:
    text = values.get(key, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ConfigurationInvalid(f"{key} {text!r} is not a whole number from {low} to {high}.")
    return int(text)


def _period(values: Mapping[str, str], key: str, default: int) -> int:
    """Milliseconds above 0; -1: never."""
    return -1 if values.get(key) == "-1" else _number(values, key, default, 1, PERIOD_MS_MAX)


def _flag(values: Mapping[str, str], key: str, default: str = "false") -> bool:
    text = (values.get(key) or default).lower()
    if text not in ("true", "false"):
        raise ConfigurationInvalid(f"{key} {text!r} is neither true nor false.")
    return text == "true"


def _usage(values: Mapping[str, str]) -> UsageConfig:
    default = UsageConfig()
    temporary = values.get(TEMPORARY, "")
    return UsageConfig(
        store=_amount(values, "storeUsage", default.store),
        memory=_amount(values, "memoryUsage", default.memory),
        temp=_amount(values, "tempUsage", default.temp),
        temporary=_directory(temporary, TEMPORARY) if temporary else None,
        flow_control=_flag(values, "producerFlowControl", "true"),
        refuse_at_once=_flag(values, "sendFailIfNoSpace"),
        refuse_after_ms=_number(values, "sendFailIfNoSpaceAfterTimeout", 0, 0, WAIT_MS_MAX),
    )


def _amount(values: Mapping[str, str], key: str, default: Amount) -> Amount:
    text = values.get(key, "")
    return Amount.parse(key, text) if text else default


def _connectors(values: Mapping[str, str]) -> tuple[ConnectorConfig, ...]:
    names = (values.get("connectors") or "openwire").split()
    connectors = []
    for name in dict.fromkeys(names):
        if name not in _CONNECTORS:
            known = "comes later" if name in _PLANNED_CONNECTORS else "does not exist"
            raise ConfigurationInvalid(f"The connector {name!r} {known}; there is: {', '.join(_CONNECTORS)}.")
        protocol, scheme = _CONNECTORS[name]
        port = values.get(f"{name}-port") or (values.get("bindPort") if name == "openwire" else None) or "0"
        connectors.append(
            ConnectorConfig(
                name=name,
                protocol=protocol,
                scheme=scheme,
                ports=PortRange.parse(port),
                connections_max=_number(values, f"{name}-maximumConnections", CONNECTIONS_MAX, 1, 100_000),
                frame_bytes_max=_number(
                    values, f"{name}-wireFormat.maxFrameSize", FRAME_BYTES_MAX, 1024, 2 * FRAME_BYTES_MAX
                ),
                inactivity_ms=_number(
                    values, f"{name}-wireFormat.maxInactivityDuration", 30_000, 0, 86_400_000
                ),
                tight_encoding=_flag(values, f"{name}-wireFormat.tightEncodingEnabled"),
                cache=_flag(values, f"{name}-wireFormat.cacheEnabled"),
                data_bytes_max=_number(
                    values, f"{name}-wireFormat.maxDataLength", FRAME_BYTES_MAX, 1024, 2 * FRAME_BYTES_MAX
                ),
                heart_beat=_heart_beat(values, f"{name}-transport.defaultHeartBeat"),
                heart_beat_grace=_factor(values, f"{name}-transport.hbGracePeriodMultiplier"),
                update_cluster_clients=_flag(values, f"{name}-updateClusterClients"),
                rebalance_cluster_clients=_flag(values, f"{name}-rebalanceClusterClients"),
                producer_credit=_number(
                    values, f"{name}-wireFormat.producerCredit", PRODUCER_CREDIT, 1, 1_000_000
                ),
                amqp_frame_bytes_max=_number(
                    values, f"{name}-wireFormat.maxAmqpFrameSize", AMQP_FRAME_BYTES_MAX, 512, FRAME_BYTES_MAX
                ),
                anonymous=_flag(values, f"{name}-anonymousAccessAllowed"),
                subscription_prefetch=_number(
                    values, f"{name}-transport.activeMQSubscriptionPrefetch", 0, 0, 65_535
                ),
                publish_dollar_topics=_flag(values, f"{name}-transport.publishDollarTopics"),
            )
        )
    return tuple(connectors)


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

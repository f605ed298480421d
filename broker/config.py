"""A broker's configuration, from the properties of its PID (`docs/reference/broker-configuration.md`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from broker.authorization import OPEN, Authorization
from broker.connectors import ConnectorConfig, read_connectors
from broker.errors import ConfigurationInvalid
from broker.forwarding import DEFAULT_FORWARDING, Forwarding
from broker.policies import NO_POLICIES, PolicyMap
from broker.values import DAY_MS, flag, number, path, period

NAME: Final = re.compile(r"[a-zA-Z0-9]+[.a-zA-Z0-9_-]*")
START_RETRY_DELAY_MS: Final = 10_000
"""The original's `startRetryDelay`: the longest pause between two attempts to become the master."""
STORE_TIMEOUT_MS: Final = 4_000
"""As the session timeout: a host whose store is gone is of no more use than one that is gone itself."""
IGNORE_MISSING: Final = "ignoreMissingJournalfiles"
"""The property that accepts the loss of data files; the original's journal has it under the same name."""
TEMPORARY: Final = "tmpDataDirectory"
"""The folder of the temporary files; the original's broker has it under the same name."""
WAIT_MS_MAX: Final = 7 * DAY_MS
"""Longest `sendFailIfNoSpaceAfterTimeout`; whoever wants to wait longer waits for ever. Likewise of the
other periods."""
METRICS_DESTINATIONS: Final = 200
"""Ten series or so for each; a fabric of twenty brokers stays below 50,000, which one Prometheus likes."""
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
_PLACEHOLDER: Final = re.compile(r"\$\{([^}]*)\}")


class Kind(Enum):
    """How many containers share the broker; only documentation to the broker itself, which always elects."""

    STAND_ALONE = "StandAlone"
    MASTER_SLAVE = "MasterSlave"


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
class BrokerConfig:
    """What one broker is to be.

    Attributes:
        name: its id in the election; brokers of the same name in a group elect one master.
        group: the cluster it belongs to.
        data: the directory of its journal, the same for master and slaves.
        connectors: what it listens with while it is the master.
        kind: see `Kind`.
        start_retry_delay_ms: longest pause between attempts to become the master after a failure.
        store_timeout_ms: a master whose store does not answer for so long gives way to a slave; 0: never.
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
        metrics_destinations: how many destinations have metrics of their own.
    """

    name: str
    group: str
    data: Path
    connectors: tuple[ConnectorConfig, ...]
    kind: Kind = Kind.MASTER_SLAVE
    start_retry_delay_ms: int = START_RETRY_DELAY_MS
    store_timeout_ms: int = STORE_TIMEOUT_MS
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
    metrics_destinations: int = METRICS_DESTINATIONS

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
            data=path("data", values.get("data") or f"data/{name}"),
            connectors=read_connectors(values),
            kind=_kind(values.get("kind") or Kind.MASTER_SLAVE.value),
            start_retry_delay_ms=number(values, "startRetryDelay", START_RETRY_DELAY_MS, 1, 3_600_000),
            store_timeout_ms=number(values, "storeTimeout", STORE_TIMEOUT_MS, 0, 3_600_000),
            standby_pool=values.get("standby.pool") or "default",
            ignore_missing_data_files=flag(values, IGNORE_MISSING),
            usage=_usage(values),
            policies=PolicyMap.parse(values),
            forwarding=Forwarding.parse(values),
            authorization=Authorization.parse(values),
            offline_timeout_ms=period(values, "offlineDurableSubscriberTimeout", -1),
            offline_period_ms=period(values, "offlineDurableSubscriberTaskSchedule", 300_000),
            purge_period_ms=number(values, "schedulePeriodForDestinationPurge", 0, 0, WAIT_MS_MAX),
            purged_max=number(values, "maxPurgedDestinationsPerSweep", 0, 0, 1_000_000),
            scheduler_support=flag(values, "schedulerSupport", "true"),
            advisory_support=flag(values, "advisorySupport", "true"),
            metrics_destinations=number(values, "metrics.destinations", METRICS_DESTINATIONS, 0, 100_000),
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


def _kind(text: str) -> Kind:
    for kind in Kind:
        if kind.value.lower() == text.lower():
            return kind
    raise ConfigurationInvalid(f"kind {text!r} is not supported yet; use MasterSlave or StandAlone.")


def _usage(values: Mapping[str, str]) -> UsageConfig:
    default = UsageConfig()
    temporary = values.get(TEMPORARY, "")
    return UsageConfig(
        store=_amount(values, "storeUsage", default.store),
        memory=_amount(values, "memoryUsage", default.memory),
        temp=_amount(values, "tempUsage", default.temp),
        temporary=path(TEMPORARY, temporary) if temporary else None,
        flow_control=flag(values, "producerFlowControl", "true"),
        refuse_at_once=flag(values, "sendFailIfNoSpace"),
        refuse_after_ms=number(values, "sendFailIfNoSpaceAfterTimeout", 0, 0, WAIT_MS_MAX),
    )


def _amount(values: Mapping[str, str], key: str, default: Amount) -> Amount:
    text = values.get(key, "")
    return Amount.parse(key, text) if text else default

"""Policies: what holds for the destinations whose names match a pattern; the original's `policyEntry`.

::

    policy.queue.>.gcInactiveDestinations = true            every queue
    policy.queue.orders.*.inactiveTimoutBeforeGC = 5000     orders.eu, not orders.eu.west
    policy.topic.prices.>.gcInactiveDestinations = true     prices, prices.gold, prices.gold.eu …
    policy.tempQueue.inactiveTimoutBeforeGC = 1000          temporary queues, whatever their names
    policy.default.inactiveTimoutBeforeGC = 60000           everything that no other line speaks of

Each property is taken from the most specific pattern that sets it: element by element from the left, a name
comes before `*`, `*` before `>`. (The original takes all of one entry's properties from that entry; to give a
destination the default again, say so.)

A property is added by one line in `Policy`, with `number`, `flag`, `choice` or `text`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from broker.destination import Destination, DestinationKind
from broker.errors import ConfigurationInvalid, InvalidDestination
from broker.policy_names import WITHOUT_MEANING
from broker.values import DAY_MS

PREFIX: Final = "policy."
ONE: Final = "*"
"""The element of a pattern that matches any one element."""
REST: Final = ">"
"""The last element of a pattern that matches any elements, also none."""
_KINDS: Final = {
    "queue": DestinationKind.QUEUE,
    "topic": DestinationKind.TOPIC,
    "tempQueue": DestinationKind.TEMP_QUEUE,
    "tempTopic": DestinationKind.TEMP_TOPIC,
}
_DEFAULT: Final = "default"
_RANKS: Final = {REST: 0, ONE: 1}
_SIZE: Final = re.compile(r"(\d{1,15})\s*(b|kb?|mb?|gb?)?", re.ASCII | re.IGNORECASE)
_SHIFTS: Final = {"b": 0, "k": 10, "m": 20, "g": 30}
_NAMES: Final = "names"
_PARSE: Final = "parse"

_log: Final = logging.getLogger("broker")


# ---- kinds of properties


def _whole(key: str, value: str, low: int, high: int) -> int:
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and low <= int(value) <= high):
        raise ConfigurationInvalid(f"{key} {value!r} is not a whole number from {low} to {high}.")
    return int(value)


def _truth(key: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ConfigurationInvalid(f"{key} {value!r} is neither true nor false.")
    return value.lower() == "true"


def number(name: str, default: int, low: int, high: int, *, aliases: Sequence[str] = ()) -> int:
    """A property that is a whole number from `low` to `high`; -1 may be one of them."""

    def parse(key: str, value: str) -> int:
        return _whole(key, value, low, high)

    return field(default=default, metadata={_NAMES: (name, *aliases), _PARSE: parse})


def decimal(name: str, default: float, low: float, high: float) -> float:
    """A property that is a number from `low` to `high`, such as a factor."""

    def parse(key: str, value: str) -> float:
        try:
            found = float(value) if value.isascii() and "_" not in value else float("nan")
        except ValueError:
            found = float("nan")
        if not low <= found <= high:
            raise ConfigurationInvalid(f"{key} {value!r} is not a number from {low:g} to {high:g}.")
        return found

    return field(default=default, metadata={_NAMES: (name,), _PARSE: parse})


def flag(name: str, default: bool) -> bool:
    """A property that is `true` or `false`."""
    return field(default=default, metadata={_NAMES: (name,), _PARSE: _truth})


def own_number(name: str, low: int, high: int) -> int | None:
    """A property that is a whole number; None, or -1: as the broker has it."""
    least = min(low, -1)

    def parse(key: str, value: str) -> int | None:
        number = _whole(key, value, least, high)
        return None if number < low else number

    return field(default=None, metadata={_NAMES: (name,), _PARSE: parse})


def own_flag(name: str) -> bool | None:
    """A property that is `true` or `false`; None: as the broker has it."""
    return field(default=None, metadata={_NAMES: (name,), _PARSE: _truth})


def size(name: str, default: int) -> int:
    """A property that is a number of bytes, or one with `kb`, `mb` or `gb` behind it."""

    def parse(key: str, value: str) -> int:
        match = _SIZE.fullmatch(value)
        if match is None:
            raise ConfigurationInvalid(
                f"{key} {value!r} is not a size: a number of bytes, or one with kb, mb or gb behind it."
            )
        return int(match[1]) << _SHIFTS[(match[2] or "b")[0].lower()]

    return field(default=default, metadata={_NAMES: (name,), _PARSE: parse})


def choice(name: str, default: str, choices: Sequence[str]) -> str:
    """A property that is one of a few words."""

    def parse(key: str, value: str) -> str:
        if value not in choices:
            raise ConfigurationInvalid(f"{key} {value!r} is none of {', '.join(choices)}.")
        return value

    return field(default=default, metadata={_NAMES: (name,), _PARSE: parse})


def text(name: str, default: str, *, check: Callable[[str], str] = str) -> str:
    """A property that is any text; `check` returns it, or raises `BrokerError` with the reason."""

    def parse(key: str, value: str) -> str:
        del key
        return check(value)

    return field(default=default, metadata={_NAMES: (name,), _PARSE: parse})


SHARED_DEAD_LETTERS: Final = "sharedDeadLetterStrategy"
INDIVIDUAL_DEAD_LETTERS: Final = "individualDeadLetterStrategy"
NO_DEAD_LETTERS: Final = "discarding"
NOT_BY_BROKER: Final = -2
"""Instead of a number of redeliveries: the broker does not redeliver what is given up."""
CONSTANT_LIMIT: Final = "constantPendingMessageLimitStrategy"
PREFETCH_RATE_LIMIT: Final = "prefetchRatePendingMessageLimitStrategy"
OLDEST_EVICTION: Final = "oldestMessageEvictionStrategy"
LOWEST_PRIORITY_EVICTION: Final = "oldestMessageWithLowestPriorityEvictionStrategy"
UNIQUE_EVICTION: Final = "uniquePropertyMessageEvictionStrategy"
ABORT_SLOW: Final = "abortSlowConsumerStrategy"
ABORT_SLOW_ACK: Final = "abortSlowAckConsumerStrategy"
NO_RECOVERY: Final = "noSubscriptionRecoveryPolicy"
LAST_IMAGE_RECOVERY: Final = "lastImageSubscriptionRecoveryPolicy"
FIXED_COUNT_RECOVERY: Final = "fixedCountSubscriptionRecoveryPolicy"
FIXED_SIZE_RECOVERY: Final = "fixedSizedSubscriptionRecoveryPolicy"
TIMED_RECOVERY: Final = "timedSubscriptionRecoveryPolicy"
RETAINED_RECOVERY: Final = "retainedMessageSubscriptionRecoveryPolicy"
QUERY_RECOVERY: Final = "queryBasedSubscriptionRecoveryPolicy"
RECOVERIES: Final = (
    NO_RECOVERY,
    LAST_IMAGE_RECOVERY,
    FIXED_COUNT_RECOVERY,
    FIXED_SIZE_RECOVERY,
    TIMED_RECOVERY,
)
_YEAR_MS: Final = 31_536_000_000


def _dead_letter_destination(name: str) -> str:
    """What `deadLetterQueue` names, a queue or a topic."""
    try:
        destination = Destination.parse(name)
    except InvalidDestination as error:
        raise ConfigurationInvalid(f"deadLetterQueue: {error}") from error
    if destination.is_pattern or destination.is_composite or destination.is_temporary:
        raise ConfigurationInvalid(f"deadLetterQueue {name!r} is not the name of one queue or topic.")
    return destination.uri


def _recovery(name: str) -> str:
    """What `subscriptionRecoveryPolicy` names."""
    known = (*RECOVERIES, RETAINED_RECOVERY)
    if name == QUERY_RECOVERY:
        raise ConfigurationInvalid(
            f"subscriptionRecoveryPolicy {name} is not supported: it asks a program within the broker for "
            f"messages, and this broker runs none. There is: {', '.join(known)}."
        )
    if name not in known:
        raise ConfigurationInvalid(f"subscriptionRecoveryPolicy {name!r} is none of {', '.join(known)}.")
    return name


# ---- the properties


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one destination; told in `docs/reference/broker-configuration.md`."""

    # queues
    prioritized_messages: bool = flag("prioritizedMessages", True)
    queue_prefetch: int = number("queuePrefetch", 1_000, 0, 1_000_000)
    queue_browser_prefetch: int = number("queueBrowserPrefetch", 500, 1, 1_000_000)
    # dead letters
    dead_letter_strategy: str = choice(
        "deadLetterStrategy",
        SHARED_DEAD_LETTERS,
        (SHARED_DEAD_LETTERS, INDIVIDUAL_DEAD_LETTERS, NO_DEAD_LETTERS),
    )
    dead_letter_queue: str = text(
        "deadLetterStrategy.deadLetterQueue", "queue://ActiveMQ.DLQ", check=_dead_letter_destination
    )
    dead_letter_queue_prefix: str = text("deadLetterStrategy.queuePrefix", "ActiveMQ.DLQ.Queue.")
    dead_letter_queue_suffix: str = text("deadLetterStrategy.queueSuffix", "")
    dead_letter_topic_prefix: str = text("deadLetterStrategy.topicPrefix", "ActiveMQ.DLQ.Topic.")
    dead_letter_topic_suffix: str = text("deadLetterStrategy.topicSuffix", "")
    use_queue_for_queue_messages: bool = flag("deadLetterStrategy.useQueueForQueueMessages", True)
    use_queue_for_topic_messages: bool = flag("deadLetterStrategy.useQueueForTopicMessages", True)
    dead_letters_per_subscriber: bool = flag("deadLetterStrategy.destinationPerDurableSubscriber", False)
    process_expired: bool = flag("deadLetterStrategy.processExpired", True)
    process_non_persistent: bool = flag("deadLetterStrategy.processNonPersistent", False)
    dead_letter_audit: bool = flag("deadLetterStrategy.enableAudit", True)
    dead_letter_ttl_ms: int = number("deadLetterStrategy.expiration", 0, 0, 10 * _YEAR_MS)
    all_consumers_exclusive: bool = flag("allConsumersExclusiveByDefault", False)
    use_consumer_priority: bool = flag("useConsumerPriority", True)
    strict_order_dispatch: bool = flag("strictOrderDispatch", False)
    consumers_before_start: int = number("consumersBeforeDispatchStarts", 0, 0, 5_000)
    before_start_ms: int = number("timeBeforeDispatchStarts", 0, 0, DAY_MS)
    pending_queue: str = choice(
        "pendingQueuePolicy", "storeCursor", ("storeCursor", "fileQueueCursor", "vmQueueCursor")
    )
    # space
    memory_limit: int = size("memoryLimit", 0)
    cursor_memory_high_water_mark: int = number("cursorMemoryHighWaterMark", 70, 1, 100)
    store_usage_high_water_mark: int = number("storeUsageHighWaterMark", 100, 1, 100)
    producer_flow_control: bool | None = own_flag("producerFlowControl")
    send_fail_if_no_space: bool | None = own_flag("sendFailIfNoSpace")
    send_fail_after_ms: int | None = own_number("sendFailIfNoSpaceAfterTimeout", 0, 7 * DAY_MS)
    blocked_producer_warning_ms: int = number("blockedProducerWarningInterval", 30_000, 0, DAY_MS)
    # consumers that are too slow
    slow_consumer_strategy: str = choice("slowConsumerStrategy", "", (ABORT_SLOW, ABORT_SLOW_ACK))
    slow_max_count: int = number("slowConsumerStrategy.maxSlowCount", -1, -1, 1_000_000)
    slow_max_duration_ms: int = number("slowConsumerStrategy.maxSlowDuration", 30_000, -1, _YEAR_MS)
    slow_check_period_ms: int = number("slowConsumerStrategy.checkPeriod", 30_000, 1, DAY_MS)
    slow_abort_connection: bool = flag("slowConsumerStrategy.abortConnection", False)
    slow_ignores_network: bool = flag("slowConsumerStrategy.ignoreNetworkConsumers", True)
    slow_max_since_ack_ms: int = number("slowConsumerStrategy.maxTimeSinceLastAck", 30_000, -1, _YEAR_MS)
    slow_ignores_idle: bool = flag("slowConsumerStrategy.ignoreIdleConsumers", True)
    # topics
    topic_prefetch: int = number("topicPrefetch", 32_767, 0, 1_000_000)
    durable_topic_prefetch: int = number("durableTopicPrefetch", 100, 0, 1_000_000)
    pending_limit_strategy: str = choice(
        "pendingMessageLimitStrategy", CONSTANT_LIMIT, (CONSTANT_LIMIT, PREFETCH_RATE_LIMIT)
    )
    pending_limit: int = number("pendingMessageLimitStrategy.limit", 1_000, -1, 1_000_000)
    pending_limit_multiplier: float = decimal("pendingMessageLimitStrategy.multiplier", 0.5, -1, 1_000)
    eviction_strategy: str = choice(
        "messageEvictionStrategy",
        OLDEST_EVICTION,
        (OLDEST_EVICTION, LOWEST_PRIORITY_EVICTION, UNIQUE_EVICTION),
    )
    eviction_property: str = text("messageEvictionStrategy.propertyName", "")
    pending_subscriber: str = choice("pendingSubscriberPolicy", "", ("vmCursor", "fileCursor"))
    always_retroactive: bool = flag("alwaysRetroactive", False)
    recovery_policy: str = text("subscriptionRecoveryPolicy", RETAINED_RECOVERY, check=_recovery)
    recovery_wrapped: str = choice("subscriptionRecoveryPolicy.wrapped", NO_RECOVERY, RECOVERIES)
    recovery_maximum_size: int = number("subscriptionRecoveryPolicy.maximumSize", 0, 1, 1 << 30)
    recover_duration_ms: int = number("subscriptionRecoveryPolicy.recoverDuration", 60_000, 0, DAY_MS)
    # advisories
    send_advisory_if_no_consumers: bool = flag("sendAdvisoryIfNoConsumers", False)
    advisory_for_slow_consumers: bool = flag("advisoryForSlowConsumers", False)
    advisory_for_fast_producers: bool = flag("advisoryForFastProducers", False)
    advisory_for_discarding_messages: bool = flag("advisoryForDiscardingMessages", False)
    advisory_when_full: bool = flag("advisoryWhenFull", False)
    advisory_for_delivery: bool = flag("advisoryForDelivery", False)
    advisory_for_consumed: bool = flag("advisoryForConsumed", False)
    advisory_for_dispatched: bool = flag("advisoryForDispatched", False)
    include_body_for_advisory: bool = flag("includeBodyForAdvisory", False)
    # redelivery by the broker
    maximum_redeliveries: int = number("redeliveryPolicy.maximumRedeliveries", NOT_BY_BROKER, -1, 1_000_000)
    initial_redelivery_delay_ms: int = number("redeliveryPolicy.initialRedeliveryDelay", 1_000, 0, _YEAR_MS)
    redelivery_delay_ms: int = number("redeliveryPolicy.redeliveryDelay", 1_000, 0, _YEAR_MS)
    use_exponential_back_off: bool = flag("redeliveryPolicy.useExponentialBackOff", False)
    back_off_multiplier: float = decimal("redeliveryPolicy.backOffMultiplier", 5.0, 1.0, 1_000.0)
    maximum_redelivery_delay_ms: int = number("redeliveryPolicy.maximumRedeliveryDelay", -1, -1, _YEAR_MS)
    use_collision_avoidance: bool = flag("redeliveryPolicy.useCollisionAvoidance", False)
    collision_avoidance_percent: int = number("redeliveryPolicy.collisionAvoidancePercent", 15, 0, 100)
    send_to_dlq_if_max_retries_exceeded: bool = flag("sendToDlqIfMaxRetriesExceeded", True)
    fallback_to_dead_letter: bool = flag("fallbackToDeadLetter", True)
    # expiry
    expire_messages_period_ms: int = number("expireMessagesPeriod", 30_000, 0, _YEAR_MS)
    max_expire_page_size: int = number("maxExpirePageSize", 400, 1, 1_000_000)
    time_stamping: bool = flag("timeStamping", False)
    zero_expiration_override_ms: int = number("zeroExpirationOverride", 0, 0, 10 * _YEAR_MS)
    ttl_ceiling_ms: int = number("ttlCeiling", 0, 0, 10 * _YEAR_MS)
    future_only: bool = flag("futureOnly", False)
    # destinations
    max_destinations: int = number("maxDestinations", -1, -1, 10_000)
    gc_inactive_destinations: bool = flag("gcInactiveDestinations", False)
    inactive_before_gc_ms: int = number(
        "inactiveTimoutBeforeGC", 60_000, 0, 31_536_000_000, aliases=("inactiveTimeoutBeforeGC",)
    )

    @property
    def waits_for_consumers(self) -> bool:
        """Whether a queue does not dispatch to its first consumer at once."""
        return bool(self.consumers_before_start or self.before_start_ms)

    @property
    def ranks_subscribers(self) -> bool:
        """Whether priorities count for subscribers that are not durable.

        Source: ActiveMQ's cursors for them.
        """
        return self.prioritized_messages and bool(self.pending_subscriber)

    @property
    def has_account(self) -> bool:
        """Whether the destination's space is not simply the broker's."""
        own = (self.producer_flow_control, self.send_fail_if_no_space, self.send_fail_after_ms)
        return bool(self.memory_limit) or self.store_usage_high_water_mark < 100 or own != (None, None, None)

    @property
    def recovery_kind(self) -> str:
        """How a topic chooses what it remembers, beside the retained message."""
        return self.recovery_wrapped if self.recovery_policy == RETAINED_RECOVERY else self.recovery_policy


_PARSERS: Final[dict[str, tuple[str, Callable[[str, str], object]]]] = {
    name: (each.name, each.metadata[_PARSE]) for each in fields(Policy) for name in each.metadata[_NAMES]
}
DEFAULT_POLICY: Final = Policy()


# ---- patterns


def matches(pattern: Sequence[str], elements: Sequence[str]) -> bool:
    """Whether a name's elements match a pattern's: `*` matches one, `>` at the end any number, also none."""
    if pattern and pattern[-1] == REST:
        fixed = pattern[:-1]
        if len(elements) < len(fixed):
            return False
    else:
        fixed = pattern
        if len(elements) != len(fixed):
            return False
    return all(wanted in (ONE, found) for wanted, found in zip(fixed, elements, strict=False))


def specificity(pattern: Sequence[str]) -> tuple[int, ...]:
    """What sorts patterns: the last of those that match a name is the most specific one."""
    return tuple(_RANKS.get(element, 2) for element in pattern)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One property for one pattern; without a kind it is the default."""

    kind: DestinationKind | None
    pattern: tuple[str, ...]
    field_name: str
    value: object

    @property
    def order(self) -> tuple[bool, tuple[int, ...]]:
        return self.kind is not None, specificity(self.pattern)

    def holds_for(self, destination: Destination, elements: Sequence[str]) -> bool:
        return self.kind is None or (self.kind is destination.kind and matches(self.pattern, elements))


class PolicyMap:
    """The policies of a broker; destinations with the same properties share one `Policy`."""

    def __init__(self, rules: Sequence[_Rule] = ()) -> None:
        self._rules = sorted(rules, key=lambda rule: rule.order)
        self._made: dict[tuple[int, ...], Policy] = {(): DEFAULT_POLICY}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PolicyMap) and self._rules == other._rules

    def __hash__(self) -> int:
        return hash(tuple(self._rules))

    @classmethod
    def parse(cls, properties: Mapping[str, str]) -> PolicyMap:
        """Read the properties `policy.…` of a broker's PID; those that nobody knows are logged and ignored.

        Raises:
            ConfigurationInvalid: a key is no policy's, or a value is wrong; the text names it.
        """
        rules = [
            _rule(key, value.strip())
            for key, value in properties.items()
            if key.startswith(PREFIX) and value.strip()
        ]
        return cls([rule for rule in rules if rule is not None])

    def of(self, destination: Destination) -> Policy:
        """The policy of a destination; costs a pass over the rules: keep it."""
        if not self._rules:
            return DEFAULT_POLICY
        elements = destination.name.split(".")
        found = tuple(
            index for index, rule in enumerate(self._rules) if rule.holds_for(destination, elements)
        )
        policy = self._made.get(found)
        if policy is None:
            rules = [self._rules[index] for index in found]
            values: dict[str, Any] = {rule.field_name: rule.value for rule in rules}  # parsed by their fields
            policy = self._made[found] = replace(DEFAULT_POLICY, **values)
        return policy


NO_POLICIES: Final = PolicyMap()


def _rule(key: str, value: str) -> _Rule | None:
    """`policy.KIND.PATTERN.NAME`; a name may itself have a dot in it."""
    kind_name, *parts = key.removeprefix(PREFIX).split(".")
    if kind_name not in _KINDS and kind_name != _DEFAULT:
        raise ConfigurationInvalid(
            f"{key} is no policy: after `{PREFIX}` comes {', '.join(_KINDS)} or {_DEFAULT}."
        )
    for length in (2, 1):
        name = ".".join(parts[-length:])
        if len(parts) >= length and name in _PARSERS:
            break
        if len(parts) >= length and name in WITHOUT_MEANING:
            _pattern(key, _KINDS.get(kind_name), tuple(parts[:-length]))
            _log.debug("%s asks for nothing here: %s", key, WITHOUT_MEANING[name])
            return None
    else:
        _log.warning("%s is ignored: there is no such property of a policy", key)
        return None
    kind = _KINDS.get(kind_name)
    pattern = tuple(parts[:-length])
    field_name, parse = _PARSERS[name]
    return _Rule(kind, _pattern(key, kind, pattern), field_name, parse(key, value))


def _pattern(key: str, kind: DestinationKind | None, pattern: tuple[str, ...]) -> tuple[str, ...]:
    if kind is None:
        if pattern:
            raise ConfigurationInvalid(f"{key} is no policy: the default has no pattern.")
        return ()
    if not pattern and kind >= DestinationKind.TEMP_QUEUE:
        return (REST,)
    if not pattern or REST in pattern[:-1] or not all(pattern):
        raise ConfigurationInvalid(
            f"{key} is no policy: between the kind and the property stands a destination's name or a pattern "
            f"of it, such as `orders.{REST}`; `{REST}` stands only at its end."
        )
    return pattern

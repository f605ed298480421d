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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from broker.destination import Destination, DestinationKind
from broker.errors import ConfigurationInvalid, InvalidDestination

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
_NAMES: Final = "names"
_PARSE: Final = "parse"

_log: Final = logging.getLogger("broker")


# ---- kinds of properties


def number(name: str, default: int, low: int, high: int, *, aliases: Sequence[str] = ()) -> int:
    """A property that is a whole number from `low` to `high`; -1 may be one of them."""

    def parse(key: str, value: str) -> int:
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and low <= int(value) <= high):
            raise ConfigurationInvalid(f"{key} {value!r} is not a whole number from {low} to {high}.")
        return int(value)

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

    def parse(key: str, value: str) -> bool:
        if value.lower() not in ("true", "false"):
            raise ConfigurationInvalid(f"{key} {value!r} is neither true nor false.")
        return value.lower() == "true"

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
    # destinations
    gc_inactive_destinations: bool = flag("gcInactiveDestinations", False)
    inactive_before_gc_ms: int = number(
        "inactiveTimoutBeforeGC", 60_000, 0, 31_536_000_000, aliases=("inactiveTimeoutBeforeGC",)
    )


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

"""How many messages wait for a slow subscriber that is not durable, and which of too many are discarded.

Source: ActiveMQ's `PendingMessageLimitStrategy` and `MessageEvictionStrategy`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from broker.policies import LOWEST_PRIORITY_EVICTION, OLDEST_EVICTION, PREFETCH_RATE_LIMIT, UNIQUE_EVICTION
from broker.properties import properties_of

if TYPE_CHECKING:
    from broker.message import Message
    from broker.policies import Policy
    from broker.region.entry import Entry

NO_LIMIT: Final = -1
"""Nothing is discarded: producers wait when there is no space."""


def pending_limit(policy: Policy, prefetch_size: int, own_limit: int) -> int:
    """How many messages may wait beyond the prefetch.

    Args:
        policy: of the topic.
        prefetch_size: of the consumer.
        own_limit: what the consumer asks for; counts if it is above 0, and lower.
    """
    if policy.pending_limit_strategy == PREFETCH_RATE_LIMIT:
        limit = max(int(prefetch_size * policy.pending_limit_multiplier), NO_LIMIT)
    else:
        limit = policy.pending_limit
    if own_limit > 0 and (limit == NO_LIMIT or own_limit < limit):
        limit = own_limit
    return limit


def evicted(policy: Policy, waiting: Sequence[Entry]) -> set[int]:
    """Places of those that are discarded, at least one, among entries that wait."""
    return _EVICTORS[policy.eviction_strategy](policy, waiting)


def _oldest(policy: Policy, waiting: Sequence[Entry]) -> set[int]:
    """The order is another one where priorities count."""
    del policy
    return {min(range(len(waiting)), key=lambda place: waiting[place].ref)}


def _lowest_priority(policy: Policy, waiting: Sequence[Entry]) -> set[int]:
    """The oldest of those with the lowest priority."""
    del policy
    return {
        min(range(len(waiting)), key=lambda place: (_message(waiting[place]).priority, waiting[place].ref))
    }


def _all_but_the_last_of_each(policy: Policy, waiting: Sequence[Entry]) -> set[int]:
    """All but the youngest with each value of a property; if that is all of them, the oldest."""
    kept: dict[str, int] = {}
    for place, entry in enumerate(waiting):
        message = _message(entry)
        own = properties_of(message).get(policy.eviction_property)
        if own is None:
            continue
        value = repr(own)
        other = kept.get(value)
        if other is None or message.timestamp >= _message(waiting[other]).timestamp:
            kept[value] = place
    return (set(range(len(waiting))) - set(kept.values()) if kept else set()) or _oldest(policy, waiting)


def _message(entry: Entry) -> Message:
    assert entry.message is not None
    return entry.message


_EVICTORS: Final[Mapping[str, Callable[[Policy, Sequence[Entry]], set[int]]]] = {
    OLDEST_EVICTION: _oldest,
    LOWEST_PRIORITY_EVICTION: _lowest_priority,
    UNIQUE_EVICTION: _all_but_the_last_of_each,
}

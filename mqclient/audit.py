"""Suppressing messages that this client has already acknowledged.

An acknowledgement may be lost with its connection. The next master then dispatches the message again,
although the program has dealt with it. The audit remembers what was acknowledged on the connections
before: such a message is acknowledged again and not delivered. Without a lost connection nothing is ever
suppressed, so a message that is put back into its queue by hand is delivered.

Queues: one audit for the connection, because the new master may pick another consumer of it. Durable
subscriptions: likewise, the program may have closed one consumer and opened the next. Other topics: each
consumer has its own copy, so each consumer is a place of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

AUDIT_MESSAGES_MAX = 16_384
"""Remembered acknowledgements per connection, oldest forgotten first. A frozen broker can swallow as
many as all consumers of the connection had prefetched; Apache's client remembers 2048 for each of 64
producers."""


class AcknowledgementAudit:
    """Message ids by place; a place is a queue, a durable subscription, or a consumer of a topic."""

    def __init__(self, messages_max: int = AUDIT_MESSAGES_MAX) -> None:
        self._messages_max = messages_max
        self._current: OrderedDict[tuple[Hashable, Hashable], None] = OrderedDict()
        self._suspects: OrderedDict[tuple[Hashable, Hashable], None] = OrderedDict()

    def acknowledged(self, place: Hashable, message_id: Hashable) -> None:
        """The program is done with a message, and the present connection was told."""
        _remember(self._current, (place, message_id), self._messages_max)

    def lost(self, place: Hashable, message_id: Hashable) -> None:
        """The program is done with a message, but its connection is gone: nobody was told."""
        _remember(self._suspects, (place, message_id), self._messages_max)

    def interrupted(self) -> None:
        """The connection was lost, and with it perhaps the acknowledgements it carried."""
        for key in self._current:
            _remember(self._suspects, key, self._messages_max)
        self._current.clear()

    def is_repeat(self, place: Hashable, message_id: Hashable) -> bool:
        """Whether a message was acknowledged on an earlier connection; the caller acknowledges it again."""
        key = (place, message_id)
        if key not in self._suspects:
            return False
        del self._suspects[key]
        _remember(self._current, key, self._messages_max)
        return True


def _remember(
    store: OrderedDict[tuple[Hashable, Hashable], None], key: tuple[Hashable, Hashable], messages_max: int
) -> None:
    store[key] = None
    store.move_to_end(key)
    if len(store) > messages_max:
        store.popitem(last=False)

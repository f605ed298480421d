"""What a topic remembers of the messages sent to it, for retroactive consumers; in memory only.

Source: ActiveMQ's `SubscriptionRecoveryPolicy` and its kinds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from broker.policies import FIXED_COUNT_RECOVERY, FIXED_SIZE_RECOVERY, LAST_IMAGE_RECOVERY, TIMED_RECOVERY

if TYPE_CHECKING:
    from broker.message import Message
    from broker.policies import Policy

COUNT_DEFAULT: Final = 100
SIZE_DEFAULT: Final = 64 * 1024
REMEMBERED_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one topic, unless its policy says how many bytes; the same as for a slow subscriber."""
OVERHEAD_BYTES: Final = 1024
"""What a message counts beyond its content. Source: ActiveMQ's `Message.getSize`."""

Remembered = tuple["Message", int]
"""A message, and the batch that makes it durable; 0 if it is not journaled."""


class Recovery:
    """The messages of one topic that it remembers.

    Attributes:
        is_on: whether its policy remembers any.
    """

    def __init__(self, policy: Policy) -> None:
        kind = policy.recovery_kind
        size = policy.recovery_maximum_size
        self.is_on = kind in (LAST_IMAGE_RECOVERY, FIXED_COUNT_RECOVERY, FIXED_SIZE_RECOVERY, TIMED_RECOVERY)
        self._count_max = {LAST_IMAGE_RECOVERY: 1, FIXED_COUNT_RECOVERY: size or COUNT_DEFAULT}.get(kind)
        self._bytes_max = (size or SIZE_DEFAULT) if kind == FIXED_SIZE_RECOVERY else REMEMBERED_BYTES_MAX
        self._duration_ms = policy.recover_duration_ms if kind == TIMED_RECOVERY else None
        self._messages: deque[tuple[int, Message, int]] = deque()
        self._bytes = 0

    def add(self, message: Message, batch: int, now_ms: int) -> None:
        """A message was sent."""
        self._messages.append((now_ms, message, batch))
        self._bytes += _size(message)
        self._forget_old(now_ms)
        while self._messages and (
            self._bytes > self._bytes_max
            or (self._count_max is not None and len(self._messages) > self._count_max)
        ):
            self._forget_oldest()

    def _forget_old(self, now_ms: int) -> None:
        if self._duration_ms is not None:
            while self._messages and now_ms > self._messages[0][0] + self._duration_ms:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._bytes -= _size(self._messages.popleft()[1])

    def messages(self, now_ms: int) -> Iterator[Remembered]:
        """What is remembered, oldest first."""
        self._forget_old(now_ms)
        for _, message, batch in list(self._messages):
            if not message.expiration or message.expiration > now_ms:
                yield message, batch


def _size(message: Message) -> int:
    return OVERHEAD_BYTES + len(message.body or b"") + len(message.properties or b"")

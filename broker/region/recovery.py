"""What a topic remembers of the messages sent to it, for retroactive consumers; in memory only.

Source: ActiveMQ's `SubscriptionRecoveryPolicy` and its kinds.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from broker.errors import BrokerError, CodecError
from broker.message import Message, rewritten
from broker.policies import FIXED_COUNT_RECOVERY, FIXED_SIZE_RECOVERY, LAST_IMAGE_RECOVERY, TIMED_RECOVERY
from broker.primitive_map import decode_map, encode_map

if TYPE_CHECKING:
    from broker.policies import Policy

RETAIN: Final = "ActiveMQ.Retain"
"""The property that makes a topic keep a message until the next such one; one without a body ends that."""
RETAIN_BYTES: Final = RETAIN.encode()
RETAINED: Final = "ActiveMQ.Retained"
"""The property by which consumers know a message that was kept so."""
COUNT_DEFAULT: Final = 100
SIZE_DEFAULT: Final = 64 * 1024
REMEMBERED_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one topic, unless its policy says how many bytes; the same as for a slow subscriber."""
OVERHEAD_BYTES: Final = 1024
"""What a message counts beyond its content. Source: ActiveMQ's `Message.getSize`."""

_log: Final = logging.getLogger("broker.region")

Remembered = tuple[Message, int]
"""A message, and the batch that makes it durable; 0 if it is not journaled."""


class Recovery:
    """The messages of one topic that it remembers.

    Attributes:
        is_on: whether its policy remembers any; retained messages are remembered in any case.
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
        self._retained: Remembered | None = None

    def add(self, message: Message, batch: int, now_ms: int) -> None:
        """A message was sent."""
        if message.properties and RETAIN_BYTES in message.properties:
            self._retain(message, batch)
        if not self.is_on:
            return
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

    def _retain(self, message: Message, batch: int) -> None:
        try:
            properties = decode_map(message.properties or b"") or {}
        except CodecError:
            return
        if str(properties.get(RETAIN)).lower() != "true":
            return
        if not message.body:
            self._retained = None
            return
        changed = {name: value for name, value in properties.items() if name != RETAIN}
        changed[RETAINED] = True
        try:
            kept = rewritten(replace(message, properties=encode_map(changed)))
        except BrokerError as error:
            _log.error("Message %s cannot be retained: %s", message.message_id, error)
            return
        self._retained = kept, batch

    def retained(self) -> Iterator[Remembered]:
        """The retained message, if there is one."""
        if self._retained is not None:
            yield self._retained

    def messages(self, now_ms: int) -> Iterator[Remembered]:
        """What else is remembered, oldest first."""
        self._forget_old(now_ms)
        for _, message, batch in list(self._messages):
            if not message.expiration or message.expiration > now_ms:
                yield message, batch


def _size(message: Message) -> int:
    return OVERHEAD_BYTES + len(message.body or b"") + len(message.properties or b"")

"""Messages as a program sees them.

A message is copied when it is sent, so it may be changed and sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mqclient.destination import Destination
from mqclient.errors import IllegalState
from mqclient.modes import PRIORITY_DEFAULT, DeliveryMode

PropertyValue = bool | int | float | str | None
"""What a property may hold; ints are sent as 32 or, if they need it, 64 bits."""

BodyValue = bool | int | float | str | bytes | None
"""What an entry of a map or stream body may hold."""


class Message:
    """A message without a body, and what all messages have.

    Attributes:
        message_id: given by send, such as ``ID:host-41227-1731939221-0:1:1:1:1``; None before.
        destination: where it was sent; set by send.
        correlation_id, reply_to, type: free for the program.
        delivery_mode, priority, expiration, timestamp: set by send; times in ms since 1970, expiration 0
            = never.
        delivery_time: the earliest time at which it could come, in ms since 1970; set by send.
        redelivered, delivery_count: whether, and how often counting this one, the broker tried to deliver it.
        properties: for selectors and programs; keys that start with JMSX are the provider's.
        group_first: this consumer gets the group from this message on.
        group_id, group_sequence: all messages of a group go to the same consumer.
        user_id: who sent it, if the broker tells.
    """

    __slots__ = (
        "_acknowledge",
        "correlation_id",
        "delivery_count",
        "delivery_mode",
        "delivery_time",
        "destination",
        "expiration",
        "group_first",
        "group_id",
        "group_sequence",
        "message_id",
        "priority",
        "properties",
        "redelivered",
        "reply_to",
        "timestamp",
        "type",
        "user_id",
    )

    def __init__(self) -> None:
        self.message_id: str | None = None
        self.destination: Destination | None = None
        self.correlation_id: str | None = None
        self.reply_to: Destination | None = None
        self.type: str | None = None
        self.delivery_mode = DeliveryMode.PERSISTENT
        self.priority = PRIORITY_DEFAULT
        self.expiration = 0
        self.timestamp = 0
        self.delivery_time = 0
        self.redelivered = False
        self.delivery_count = 0
        self.properties: dict[str, PropertyValue] = {}
        self.group_id: str | None = None
        self.group_sequence = 0
        self.group_first = False
        self.user_id: str | None = None
        self._acknowledge: Callable[[], None] | None = None

    def acknowledge(self) -> None:
        """Tell the broker that the message is dealt with.

        With CLIENT everything its session has received so far, with INDIVIDUAL this one; otherwise
        nothing happens.

        Raises:
            IllegalState: the message was not received, or its session is closed.
        """
        if self._acknowledge is None:
            raise IllegalState("only a received message can be acknowledged")
        self._acknowledge()

    def bind(self, acknowledge: Callable[[], None]) -> None:
        """Say what acknowledge does; the library's business."""
        self._acknowledge = acknowledge

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.message_id or 'not sent'}>"


class TextMessage(Message):
    """A message with a text; None is not the same as an empty one."""

    __slots__ = ("text",)

    def __init__(self, text: str | None = None) -> None:
        super().__init__()
        self.text = text


class BytesMessage(Message):
    """A message with bytes."""

    __slots__ = ("data",)

    def __init__(self, data: bytes = b"") -> None:
        super().__init__()
        self.data = data


class MapMessage(Message):
    """A message with named values."""

    __slots__ = ("entries",)

    def __init__(self, entries: Mapping[str, BodyValue] | None = None) -> None:
        super().__init__()
        self.entries: dict[str, BodyValue] = dict(entries or {})


class StreamMessage(Message):
    """A message with a row of values."""

    __slots__ = ("values",)

    def __init__(self, values: Iterable[BodyValue] = ()) -> None:
        super().__init__()
        self.values: list[BodyValue] = list(values)


class ObjectMessage(Message):
    """A message with a serialised Java object, as bytes; it is never deserialised here."""

    __slots__ = ("data",)

    def __init__(self, data: bytes = b"") -> None:
        super().__init__()
        self.data = data

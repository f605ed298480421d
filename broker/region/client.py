"""What a protocol's server offers the region: one object per connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.consumer import Consumer


class Client(Protocol):
    """The far side of a `RegionConnection`.

    `dispatch` and `dispatch_none` come out of `Region.dispatch` and `Region.advance`; the others at any time.
    """

    def dispatch(self, consumer: Consumer, message: Message, ref: int, redelivery_counter: int) -> None:
        """Send a message to the consumer.

        Args:
            consumer: `consumer.key` is what the server passed to `add_consumer`.
            message: not to be changed.
            ref: the number by which the consumer acknowledges it.
            redelivery_counter: how often it was delivered before; above 0 means redelivered.
        """
        ...

    def dispatch_none(self, consumer: Consumer) -> None:
        """Say that there is no message: a browser has seen all, or a pull has timed out."""
        ...

    def set_prefetch(self, consumer: Consumer, prefetch_size: int) -> None:
        """Say that the consumer has another prefetch than it asked for; with 0 it must pull."""
        ...

    def close_consumer(self, consumer: Consumer) -> None:
        """Say that the consumer is closed: it was too slow."""
        ...

    def disconnect(self, reason: str) -> None:
        """Close this connection: the same connection id came again."""
        ...

"""What becomes of the messages that have gone to a client: its dispositions.

Source: AMQP 1.0, part 3, 3.4; ActiveMQ's `AmqpSender`, for what each outcome means to the broker.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from broker.amqp.events import ACCEPTED, MODIFIED, RECEIVED, REJECTED, RELEASED
from broker.region import settling

if TYPE_CHECKING:
    from broker.amqp.ends import Sending
    from broker.amqp.engine import ProtonConnection
    from broker.amqp.events import Disposed, Pointer
    from broker.region.connection import RegionConnection

Answer = Callable[[int, Callable[[], None]], None]
"""Do something when a batch is durable."""


class Deliveries:
    """The dispositions of one connection.

    Attributes:
        accepted: messages accepted one after the other; they are acknowledged together.
        presettled: messages that count as accepted as soon as they are sent.

    Args:
        engine: has the deliveries.
        answer: answers when a batch is durable.
    """

    def __init__(self, engine: ProtonConnection, answer: Answer) -> None:
        self.accepted: dict[Sending, list[int]] = {}
        self.presettled: list[tuple[Sending, int]] = []
        self._engine = engine
        self._answer = answer
        self._unsettled: dict[Sending, list[Pointer]] = {}

    def dispose(self, connection: RegionConnection, sending: Sending, event: Disposed) -> None:
        """The client says what became of a message."""
        state = event.state
        if state == RECEIVED or (not state and not event.settled):
            return
        ref = sending.unsettled.pop(event.delivery, None)
        if ref is None:
            return
        if state == ACCEPTED or not state:
            self.accepted.setdefault(sending, []).append(ref)
            if event.settled:
                self._engine.settle(event.delivery)
            else:
                self._unsettled.setdefault(sending, []).append(event.delivery)
            return
        self.acknowledge(connection)
        self._return(connection, sending, event, ref)

    def _return(self, connection: RegionConnection, sending: Sending, event: Disposed, ref: int) -> None:
        """The client does not take it."""
        engine = self._engine
        batch = 0
        if event.state == RELEASED:
            settling.release(connection, sending.key, (ref,), counted=False)
        elif event.state == REJECTED:
            cause = engine.remote_error(event.delivery) or "The message was rejected."
            batch = settling.give_up(connection, sending.key, ref, cause)
        elif event.state == MODIFIED:
            failed, undeliverable = engine.remote_modified(event.delivery)
            if undeliverable:
                cause = "The message was not deliverable to its consumer."
                batch = settling.give_up(connection, sending.key, ref, cause)
            else:
                settling.release(connection, sending.key, (ref,), counted=failed)
        else:
            settling.release(connection, sending.key, (ref,), counted=True)
        self._settle(batch, sending, event)

    def _settle(self, batch: int, sending: Sending, event: Disposed) -> None:
        engine = self._engine
        if event.settled:
            engine.settle(event.delivery)
            return

        def settled() -> None:
            if sending.link.is_open:
                engine.settle(event.delivery, event.state)

        self._answer(batch, settled)

    def acknowledge(self, connection: RegionConnection | None) -> None:
        """What has been accepted is done with."""
        accepted, self.accepted = self.accepted, {}
        unsettled, self._unsettled = self._unsettled, {}
        if connection is None:
            return
        for sending, refs in accepted.items():
            batch = settling.acknowledge(connection, sending.key, refs)
            waiting = unsettled.get(sending)
            if waiting:
                self._answer(batch, partial(self._accept, sending, waiting))

    def _accept(self, sending: Sending, waiting: list[Pointer]) -> None:
        if sending.link.is_open:
            for delivery in waiting:
                self._engine.settle(delivery, ACCEPTED)

    def finish_presettled(self, connection: RegionConnection) -> bool:
        """Those sent settled are done with; whether there were any."""
        presettled, self.presettled = self.presettled, []
        refs: dict[Sending, list[int]] = {}
        for sending, ref in presettled:
            refs.setdefault(sending, []).append(ref)
        for sending, each in refs.items():
            settling.acknowledge(connection, sending.key, each)
        return bool(refs)

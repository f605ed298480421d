"""Destinations at which the broker itself takes what is sent, and answers to the message's JMSReplyTo.

They hold no messages, cannot be consumed from and need not be made. What is sent to one is given at once to
whoever has entered himself for its name, also inside a transaction: nothing is stored.

Source: ActiveMQ's statistics and scheduler destinations.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from broker.authorization import Permission
from broker.destination import Destination
from broker.errors import ClientError
from broker.message import BodyKind, Message
from broker.region.queue import Queue

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection
    from broker.region.region import Region

PREFIX: Final = "ActiveMQ."
"""What the names of all of them begin with, so that a look at others costs next to nothing."""

Take = Callable[[Message, "RegionConnection"], int]
"""Takes a message from a connection; returns the batch its receipt has to wait for, 0: none.

Raises `ClientError` if the sender shall be told that it was refused."""

_log: Final = logging.getLogger("broker.region")


class Endpoints:
    """The broker's own destinations, queues and topics of a name alike."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._by_name: dict[str, Take] = {}
        self._by_prefix: dict[str, Take] = {}
        self._answers = 0

    def add(self, name: str, take: Take) -> None:
        """Take what is sent to a destination of this name."""
        assert name.startswith(PREFIX)
        self._by_name[name] = take

    def add_prefix(self, prefix: str, take: Take) -> None:
        """Take what is sent to all destinations whose names begin so."""
        assert prefix.startswith(PREFIX)
        self._by_prefix[prefix] = take

    def of(self, destination: Destination) -> Take | None:
        """Who takes what is sent there; None: it is a destination like others."""
        name = destination.name
        if not name.startswith(PREFIX) or destination.is_composite or destination.is_temporary:
            return None
        found = self._by_name.get(name)
        if found is None:
            for prefix, take in self._by_prefix.items():
                if name.startswith(prefix):
                    return take
        return found

    def answer(
        self,
        request: Message,
        connection: RegionConnection,
        *,
        body_kind: BodyKind,
        body: bytes | None,
        properties: bytes | None = None,
        urgent: bool = False,
        type_: str | None = None,
    ) -> bool:
        """Send a non-persistent answer to where a request wants it, with the request's correlation id.

        Nobody waits for space here: where clients' messages would have to wait, answers are dropped, but for
        urgent ones.

        Args:
            request: what was sent.
            connection: who sent it; must be allowed to send to the JMSReplyTo.
            body_kind: of the answer.
            body: likewise.
            properties: likewise, a marshalled map.
            urgent: it goes to somebody who may make space.
            type_: its JMSType.

        Returns:
            Whether there was anybody to send it to.
        """
        region, place = self._region, request.reply_to
        if place is None:
            return False
        try:
            region.permit(connection.user, Permission.WRITE, place)
            target = region.target(place)
        except ClientError as error:
            _log.debug(
                "An answer to %s cannot be sent to %s: %s", connection.user or "a client", place, error
            )
            return False
        if not urgent and region.usage.volatile_lack():
            _log.debug("An answer for %s is dropped: there is no space for it", place)
            return False
        self._answers += 1
        message = Message(
            message_id=f"ID:{PREFIX}{request.destination.name}:{region.next_ref}:{self._answers}",
            destination=place,
            persistent=False,
            timestamp=region.now_ms,
            correlation_id=request.correlation_id,
            type=type_,
            body_kind=body_kind,
            body=body,
            properties=properties,
        )
        if isinstance(target, Queue):
            target.accept(message, region.next_ref, 0, False)
        else:
            target.accept(message, region.next_ref, 0, False, connection)
        return True

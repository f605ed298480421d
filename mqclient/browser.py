"""Queue browsers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mqclient.message import Message

if TYPE_CHECKING:
    from mqclient.consumer import MessageConsumer

BROWSE_SILENCE_S = 60.0
"""A browse that hears nothing for so long, neither a message nor its end, is over."""


class QueueBrowser:
    """Made by :meth:`Session.create_browser`; iterate over it once.

    After a failover the new broker begins again; messages that were seen already are left out.
    """

    def __init__(self, consumer: MessageConsumer) -> None:
        self._consumer = consumer

    def __iter__(self) -> Iterator[Message]:
        seen: set[str | None] = set()
        while True:
            message = self._consumer.receive(BROWSE_SILENCE_S)
            if message is None:
                return
            if message.message_id not in seen:
                seen.add(message.message_id)
                yield message

    def close(self) -> None:
        """Stop browsing."""
        self._consumer.close()

    def __enter__(self) -> QueueBrowser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

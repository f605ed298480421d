"""Names for connections and messages of protocols whose clients make up none, as JMS clients know them.

A connection is named after the broker's mastership, a message after its connection, with the numbers of a
session and a producer that it does not have: `ID:HOST-PID-TIME-0:1:CONNECTION:-1:1:NUMBER`. Java takes such
an id apart from its end, and recognises a message that comes again by it.

Source: Apache ActiveMQ's converters, which name the messages of STOMP and MQTT clients so.
"""

from __future__ import annotations

import itertools
from typing import Final

_connections: Final = itertools.count(1)


def new_connection_id(broker_id: str) -> str:
    """A name for one more connection.

    Args:
        broker_id: of the mastership.
    """
    return f"{broker_id}:{next(_connections)}"


class MessageNames:
    """Numbers the messages of one connection.

    Such a message's `Message.producer_id` stays empty: no client repeats a send by it after a takeover, and
    the journal remembers the last sequences of the producers that do.

    Args:
        connection_id: of the connection.
    """

    __slots__ = ("_next", "_prefix")

    def __init__(self, connection_id: str) -> None:
        self._prefix = f"{connection_id}:-1:1:"
        self._next = itertools.count(1).__next__

    def next(self) -> str:
        """The id of the next message."""
        return f"{self._prefix}{self._next()}"

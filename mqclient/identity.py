"""Names that no other connection has, in the form Apache's clients use: ``ID:host-port-time-0:1``."""

from __future__ import annotations

import itertools
import os
import socket
import time

from broker.openwire.commands import ConsumerId, MessageId, ProducerId, SessionId

_HOST_LENGTH_MAX = 64
_counter = itertools.count(1)


def new_connection_id() -> str:
    """Unique over hosts, processes and connections; the process id stands where Apache has a port."""
    host = "".join(each if each.isascii() and each.isprintable() else "_" for each in socket.gethostname())
    return f"ID:{host[:_HOST_LENGTH_MAX]}-{os.getpid()}-{time.time_ns() // 1_000_000}-0:{next(_counter)}"


def message_id_text(message_id: MessageId) -> str:
    """JMSMessageID: the text a foreign provider gave, or the producer's id and its number."""
    if message_id.text_view:
        return message_id.text_view
    return f"{producer_id_text(message_id.producer_id)}:{message_id.producer_sequence_id}"


def producer_id_text(producer_id: ProducerId | None) -> str:
    """As it stands in message ids."""
    if producer_id is None:
        return ""
    return f"{producer_id.connection_id}:{producer_id.session_id}:{producer_id.value}"


def session_of(member: ConsumerId | ProducerId) -> SessionId:
    """The session a consumer or producer belongs to."""
    return SessionId(connection_id=member.connection_id, value=member.session_id)

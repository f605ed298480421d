"""One message, independent of the protocol it came by, and its form in the journal.

A journal body is the header below, followed back to back by the twelve fields whose lengths it ends with.
A length of -1 says the field is absent.
Text is UTF-8; lone surrogates, which Java's strings can hold, survive.

=====================  ======  ==========================================================
format version         uint8   1
body kind              uint8   `BodyKind`
flags                  uint8   1 persistent, 2 compressed
priority               uint8   0 to 9
expiration             int64   milliseconds since the epoch, 0 never
timestamp              int64   milliseconds since the epoch
producer sequence id   int64
group sequence         int32
lengths                int32   message id, destination, producer id, correlation id, reply to, type, group id,
                               user id, wire format, properties, body, wire
=====================  ======  ==========================================================
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from broker.destination import Destination
from broker.errors import InvalidDestination, MessageInvalid

FORMAT_VERSION: Final = 1
_HEADER: Final = struct.Struct(">BBBBqqqi12i")
assert _HEADER.size == 80
_PERSISTENT: Final = 1
_COMPRESSED: Final = 2


class BodyKind(IntEnum):
    """What the body bytes hold; the encodings are OpenWire's, the richest of the protocols.

    Source: `openwire.md` §2 "Bodies", as Apache's clients write them.
    """

    NONE = 0
    TEXT = 1
    """int32 length + modified UTF-8."""
    BYTES = 2
    """Raw."""
    MAP = 3
    """A primitive map."""
    STREAM = 4
    """A sequence of tagged values."""
    OBJECT = 5
    """Opaque (Java serialization); never opened here."""
    BLOB = 6
    """A reference to a body elsewhere."""


@dataclass(slots=True)
class Message:
    """JMS headers, properties and body bytes. Treated as immutable once it is in the region.

    Attributes:
        message_id: as the client gave it (`ID:…`), unique per message.
        producer_id: `CONNECTION:SESSION:PRODUCER`; empty: none, then resends are not detected.
        producer_sequence_id: increases with every message of that producer.
        persistent: survives the broker.
        priority: 0 to 9; 4 is normal.
        expiration: milliseconds since the epoch; 0 never.
        properties: a marshalled primitive map (OpenWire's encoding), or None.
        body: encoded as `BodyKind` says, deflated if `compressed`.
        wire_format: names the protocol and version that `wire` is encoded in; empty: no `wire`.
        wire: the message as that protocol writes it, so that it need not be encoded again. Journaled.
        native: the protocol's prepared form in memory (such as the decoded command); never journaled.
    """

    message_id: str
    destination: Destination
    producer_id: str = ""
    producer_sequence_id: int = 0
    persistent: bool = True
    priority: int = 4
    expiration: int = 0
    timestamp: int = 0
    correlation_id: str | None = None
    reply_to: Destination | None = None
    type: str | None = None
    group_id: str | None = None
    group_sequence: int = 0
    user_id: str | None = None
    properties: bytes | None = None
    body_kind: BodyKind = BodyKind.NONE
    body: bytes | None = None
    compressed: bool = False
    wire_format: str = ""
    wire: bytes | None = None
    native: object = field(default=None, compare=False, repr=False)

    @property
    def size_bytes(self) -> int:
        """What the message costs in memory, about: its bytes and a constant for the rest."""
        size = 512
        for part in (self.body, self.properties, self.wire):
            if part is not None:
                size += len(part)
        return size


def encode_message(message: Message) -> bytes:
    """The journal body of a message."""
    reply_to = message.reply_to
    fields = (
        message.message_id.encode("utf-8", "surrogatepass"),
        message.destination.uri.encode("utf-8", "surrogatepass"),
        message.producer_id.encode("utf-8", "surrogatepass"),
        _text(message.correlation_id),
        None if reply_to is None else _text(reply_to.uri),
        _text(message.type),
        _text(message.group_id),
        _text(message.user_id),
        message.wire_format.encode() if message.wire_format else None,
        message.properties,
        message.body,
        message.wire,
    )
    header = _HEADER.pack(
        FORMAT_VERSION,
        message.body_kind,
        (_PERSISTENT if message.persistent else 0) | (_COMPRESSED if message.compressed else 0),
        message.priority,
        message.expiration,
        message.timestamp,
        message.producer_sequence_id,
        message.group_sequence,
        *[-1 if part is None else len(part) for part in fields],
    )
    return b"".join([header, *[part for part in fields if part]])


def decode_message(data: bytes) -> Message:
    """Read a journal body.

    Raises:
        MessageInvalid: the bytes are not one whole message of a known format.
    """
    if len(data) < _HEADER.size:
        raise MessageInvalid("The stored message is shorter than its header.")
    version, kind, flags, priority, expiration, timestamp, sequence, group_sequence, *lengths = (
        _HEADER.unpack_from(data)
    )
    if version != FORMAT_VERSION:
        raise MessageInvalid(f"The stored message has format {version}; this broker reads {FORMAT_VERSION}.")
    parts: list[bytes | None] = []
    position = _HEADER.size
    for length in lengths:
        if length < 0:
            parts.append(None)
        else:
            parts.append(data[position : position + length])
            position += length
    if position != len(data):
        raise MessageInvalid(f"The stored message has {len(data)} bytes; its header says {position}.")
    try:
        texts = [None if part is None else part.decode("utf-8", "surrogatepass") for part in parts[:9]]
        reply_to = texts[4]
        return Message(
            message_id=texts[0] or "",
            destination=Destination.parse(texts[1] or ""),
            producer_id=texts[2] or "",
            producer_sequence_id=sequence,
            persistent=bool(flags & _PERSISTENT),
            priority=priority,
            expiration=expiration,
            timestamp=timestamp,
            correlation_id=texts[3],
            reply_to=None if reply_to is None else Destination.parse(reply_to),
            type=texts[5],
            group_id=texts[6],
            group_sequence=group_sequence,
            user_id=texts[7],
            wire_format=texts[8] or "",
            properties=parts[9],
            body_kind=BodyKind(kind),
            body=parts[10],
            compressed=bool(flags & _COMPRESSED),
            wire=parts[11],
        )
    except (ValueError, InvalidDestination) as error:
        raise MessageInvalid(f"The stored message cannot be read: {error}.") from error


def _text(value: str | None) -> bytes | None:
    return None if value is None else value.encode("utf-8", "surrogatepass")

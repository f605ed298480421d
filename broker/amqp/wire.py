"""The form in which messages of AMQP clients are kept: what the bytes do not say, and the bytes.

=========================  ======  ====================================================
version                    uint8   1
length of this head        uint16  the encoded message begins there
expiration                 int64   milliseconds since the epoch, 0 never
arrival                    int64   milliseconds since the epoch
lengths                    uint16  destination, origin
destination, origin                as `Destination.uri`, in UTF-8
message id                         the rest of the head: of a message without an id of its own
encoded message                    without delivery annotations, which are a hop's own
=========================  ======  ====================================================
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final, NamedTuple

from broker.destination import Destination
from broker.errors import CodecError, InvalidDestination

WIRE_FORMAT: Final = "amqp1"
"""What `Message.wire_format` says of bytes kept by this module."""
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BHqqHH")
assert _HEAD.size == 23
_LENGTH: Final = struct.Struct(">H")
PLACES_MAX: Final = 1_024
"""Destinations whose text is kept parsed."""


class Head(NamedTuple):
    """What stands before an encoded message.

    Attributes:
        destination: where it goes.
        origin: where it was sent to before; None: nowhere else.
        expiration: milliseconds since the epoch, 0 never.
        arrival_ms: when it came.
        message_id: for want of its own.
        length: of the head in bytes.
    """

    destination: Destination
    origin: Destination | None
    expiration: int
    arrival_ms: int
    message_id: str
    length: int = 0


def write_head(head: Head) -> bytes:
    """The bytes of a head."""
    destination = head.destination.encoded
    origin = b"" if head.origin is None else head.origin.encoded
    message_id = head.message_id.encode()
    length = _HEAD.size + len(destination) + len(origin) + len(message_id)
    if length > 0xFFFF:
        raise CodecError("a destination's name is too long to be kept")
    numbers = _HEAD.pack(_VERSION, length, head.expiration, head.arrival_ms, len(destination), len(origin))
    return b"%b%b%b%b" % (numbers, destination, origin, message_id)


def read_head(wire: bytes) -> Head:
    """The head of a kept message.

    Raises:
        CodecError: it is damaged.
    """
    try:
        version, length, expiration, arrival_ms, first, second = _HEAD.unpack_from(wire)
        begin = _HEAD.size
        if version != _VERSION or not begin + first + second <= length <= len(wire):
            raise CodecError("the head of a kept message is damaged")
        origin_at = begin + first
        id_at = origin_at + second
        return Head(
            _place(wire[begin:origin_at]),
            _place(wire[origin_at:id_at]) if second else None,
            expiration,
            arrival_ms,
            wire[id_at:length].decode(),
            length,
        )
    except (struct.error, UnicodeDecodeError, InvalidDestination) as error:
        raise CodecError(f"the head of a kept message is damaged: {error}") from error


def head_length(wire: bytes) -> int:
    """Where the encoded message begins."""
    length: int = _LENGTH.unpack_from(wire, 1)[0]
    return length


@lru_cache(maxsize=PLACES_MAX)
def _place(encoded: bytes) -> Destination:
    return Destination.parse(encoded.decode("utf-8", "surrogatepass"))

"""One message, independent of the protocol it came by, and its form in the journal.

The first byte of a journal body says which form it has.

Form 3, for a message whose protocol has said how to read its frames again (`WIRE_READERS`): the header below,
the wire format's name, the frame. Nothing is written twice, and next to nothing is computed: what dispatch
asks for stands in the header, so that the frame is only read if somebody asks for more.

=====================  ======  ==========================================================
form                   uint8   3
length of the name     uint8
expiration             int64   milliseconds since the epoch, 0 never
native                 int32   the protocol's number for the frame, -1 none
length of the frame    uint32
=====================  ======  ==========================================================

Form 2 is the same without expiration, native and the frame's length, for messages of groups: a dispatching
queue has to know the group, so these are read whole; of a message in form 3 it knows that it has none.

Form 1, for all others: the header below, followed back to back by the thirteen fields whose lengths end it.
A length of -1 says the field is absent.
Text is UTF-8; lone surrogates, which Java's strings can hold, survive.

=====================  ======  ==========================================================
form                   uint8   1
body kind              uint8   `BodyKind`
flags                  uint8   1 persistent, 2 compressed
priority               uint8   0 to 9
expiration             int64   milliseconds since the epoch, 0 never
timestamp              int64   milliseconds since the epoch
producer sequence id   int64
group sequence         int32
lengths                int32   message id, destination, producer id, correlation id, reply to, type, group id,
                               user id, origin, wire format, wire, properties, body
=====================  ======  ==========================================================
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from broker.destination import Destination
from broker.errors import InvalidDestination, MessageInvalid

FORM_FIELDS: Final = 1
FORM_BARE_WIRE: Final = 2
FORM_WIRE: Final = 3
_WIRE_HEADER: Final = struct.Struct(">BBqiI")
assert _WIRE_HEADER.size == 18
_NATIVE_MAX: Final = 2**31 - 1
_HEADER: Final = struct.Struct(">BBBBqqqi13i")
assert _HEADER.size == 84
MESSAGE_OVERHEAD_BYTES: Final = 512
"""What a message costs in memory beyond its bytes, about."""
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
        native: the protocol's prepared form in memory; only a number is journaled, too.
        decoded: the properties once `broker.properties.properties_of` has decoded them; never journaled.
        origin: where it was sent to before it went on to its destination; None: nowhere else.
        group_first: its consumer gets its group from now on; never journaled.

    A message that was read back, or whose frame was not read as a whole, knows its frame, `expiration` and
    `native`, and what else was set; the other attributes are read out of the frame when one of them is asked
    for. Most messages are dispatched without that.
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
    decoded: Mapping[str, object] | None = field(default=None, compare=False, repr=False)
    origin: Destination | None = None
    group_first: bool = field(default=False, compare=False, repr=False)

    @property
    def size_bytes(self) -> int:
        """What the message costs in memory, about: its bytes and a constant for the rest."""
        wire = self.wire
        if wire is not None:
            return MESSAGE_OVERHEAD_BYTES + 2 * len(wire)  # the body is a copy out of it
        body, properties = self.body, self.properties
        return (
            MESSAGE_OVERHEAD_BYTES
            + (0 if body is None else len(body))
            + (0 if properties is None else len(properties))
        )

    if not TYPE_CHECKING:  # the checker shall still find misspelt attributes

        def __getattr__(self, name: str) -> object:
            """An attribute that has not been read out of the frame yet, or is rarely set.

            Raises:
                MessageInvalid: the frame cannot be read.
            """
            if name == "group_first":
                return False
            if name not in _IN_FRAME:
                raise AttributeError(name)
            whole = WIRE_READERS[self.wire_format](self.wire)
            for each in _IN_FRAME:
                setattr(self, each, getattr(whole, each))
            return getattr(self, name)


_IN_FRAME: Final = frozenset(each.name for each in fields(Message)) - {
    "decoded",
    "expiration",
    "group_first",
    "group_id",
    "native",
    "wire",
    "wire_format",
}
_new_message: Final = Message.__new__


WIRE_READERS: Final[dict[str, Callable[[bytes], Message]]] = {}
"""Per wire format: reads a message's `wire` again, into a message equal to the one it came from.

A protocol that enters itself here promises that the neutral attributes follow from the frame. Raises
`MessageInvalid`.
"""
WIRE_ADDRESSERS: Final[dict[str, Callable[[bytes, Destination, Destination, int | None], bytes]]] = {}
"""Per wire format: a message's `wire` with another destination, the one it was sent to as its original one,
and another expiration if that is not None. Raises `MessageInvalid`."""


WIRE_FIRSTS: Final[dict[str, Callable[[bytes], bytes]]] = {}
"""Per wire format: a message's `wire` that says that it is the first of its group for its consumer."""


WIRE_REWRITERS: Final[dict[str, Callable[[Message, Destination | None], bytes | None]]] = {}
"""Per wire format: a message's `wire` with what the message's own attributes say of destination, expiration,
timestamp, persistence and properties; sent to another destination before, if one is given. None: it cannot
say that. Raises `MessageInvalid`."""


def rewritten(changed: Message, original: Destination | None = None) -> Message:
    """A message some of whose attributes were replaced, in the form of its protocol, too.

    Args:
        changed: its destination, expiration, timestamp, persistence or properties are new, the rest and
            `wire` are as they were.
        original: what it was sent to, if it goes on to another destination.

    Raises:
        MessageInvalid: it is damaged.
    """
    wire = None
    rewriter = WIRE_REWRITERS.get(changed.wire_format)
    if changed.wire is not None and rewriter is not None:
        wire = rewriter(changed, original)
    wire_format = "" if wire is None else changed.wire_format
    origin = original or changed.origin
    return replace(changed, origin=origin, wire=wire, wire_format=wire_format, native=None, decoded=None)


def readdressed(message: Message, destination: Destination, *, expiration: int | None = None) -> Message:
    """A message as it goes on to another destination; its consumers can see what it was sent to.

    Args:
        message: stays as it is.
        destination: where it goes.
        expiration: milliseconds since the epoch, 0 never; None: as it is.

    Raises:
        MessageInvalid: it is damaged.
    """
    addresser = WIRE_ADDRESSERS.get(message.wire_format)
    wire = None
    if message.wire is not None and addresser is not None:
        wire = addresser(message.wire, destination, message.destination, expiration)
    return replace(
        message,
        destination=destination,
        origin=message.destination,
        expiration=message.expiration if expiration is None else expiration,
        wire=wire,
        wire_format="" if wire is None else message.wire_format,
        native=None,
    )


def first_of_group(message: Message) -> Message:
    """A message for a consumer that gets its group from now on (`JMSXGroupFirstForConsumer`)."""
    mark = WIRE_FIRSTS.get(message.wire_format)
    wire = message.wire
    return replace(message, group_first=True, wire=wire if wire is None or mark is None else mark(wire))


def encode_message(message: Message) -> bytes:
    """The journal body of a message."""
    wire = message.wire
    if wire is not None and message.wire_format in WIRE_READERS:
        name = _names.get(message.wire_format) or _name(message.wire_format)
        if message.group_id:
            return b"%c%c%b%b" % (FORM_BARE_WIRE, len(name), name, wire)
        native = message.native
        if native.__class__ is not int or not 0 <= native <= _NATIVE_MAX:
            native = -1
        header = _WIRE_HEADER.pack(FORM_WIRE, len(name), message.expiration, native, len(wire))
        return header + name + wire
    reply_to, origin = message.reply_to, message.origin
    parts = (
        _encoded(message.message_id),
        message.destination.encoded,
        _encoded(message.producer_id),
        _encoded(message.correlation_id),
        None if reply_to is None else reply_to.encoded,
        _encoded(message.type),
        _encoded(message.group_id),
        _encoded(message.user_id),
        None if origin is None else origin.encoded,
        _encoded(message.wire_format),
        wire,
        message.properties,
        message.body,
    )
    header = _HEADER.pack(
        FORM_FIELDS,
        message.body_kind,
        (_PERSISTENT if message.persistent else 0) | (_COMPRESSED if message.compressed else 0),
        message.priority,
        message.expiration,
        message.timestamp,
        message.producer_sequence_id,
        message.group_sequence,
        *[-1 if part is None else len(part) for part in parts],
    )
    return header + b"".join([part for part in parts if part])


_names: Final[dict[str, bytes]] = {}


def _name(wire_format: str) -> bytes:
    name = _names[wire_format] = wire_format.encode("ascii")
    return name


def decode_message(data: bytes) -> Message:
    """Read a journal body.

    Raises:
        MessageInvalid: the bytes are not one whole message of a known form.
    """
    form = data[0] if data else 0
    if form == FORM_WIRE:
        return _decode_wire(data)
    if form == FORM_BARE_WIRE:
        return _decode_bare_wire(data)
    if form != FORM_FIELDS:
        raise MessageInvalid(f"The stored message has form {form}, which this broker does not know.")
    return _decode_fields(data)


def _decode_wire(data: bytes) -> Message:
    if len(data) < _WIRE_HEADER.size:
        raise MessageInvalid("The stored message is shorter than its header.")
    _, name_length, expiration, native, length = _WIRE_HEADER.unpack_from(data)
    begin = _WIRE_HEADER.size + name_length
    if len(data) != begin + length:
        raise MessageInvalid(f"The stored message has {len(data)} bytes; its header says {begin + length}.")
    wire_format = data[_WIRE_HEADER.size : begin].decode("ascii", "replace")
    if wire_format not in WIRE_READERS:
        raise _unreadable(wire_format)
    return part_of_frame(wire_format, data[begin:], expiration, native if native >= 0 else None)


def part_of_frame(wire_format: str, wire: bytes, expiration: int, native: int | None) -> Message:
    """A message without a group that knows its frame; see `Message` for the rest of it."""
    message = _new_message(Message)
    message.wire_format = wire_format
    message.wire = wire
    message.expiration = expiration
    message.group_id = None
    message.native = native
    message.decoded = None
    return message


def _unreadable(wire_format: str) -> MessageInvalid:
    return MessageInvalid(f"The stored message has the format {wire_format!r}, which nobody here reads.")


def _decode_bare_wire(data: bytes) -> Message:
    length = data[1] if len(data) > 1 else 0
    wire_format = data[2 : 2 + length].decode("ascii", "replace")
    reader = WIRE_READERS.get(wire_format)
    if reader is None:
        raise _unreadable(wire_format)
    return reader(data[2 + length :])


def _decode_fields(data: bytes) -> Message:
    if len(data) < _HEADER.size:
        raise MessageInvalid("The stored message is shorter than its header.")
    _, kind, flags, priority, expiration, timestamp, sequence, group_sequence, *lengths = _HEADER.unpack_from(
        data
    )
    *texts, wire, properties, body = _split(data, lengths)
    try:
        (
            message_id,
            destination,
            producer_id,
            correlation_id,
            reply_to,
            type_,
            group_id,
            user_id,
            origin,
            wire_format,
        ) = (None if text is None else text.decode("utf-8", "surrogatepass") for text in texts)
        return Message(
            message_id=message_id or "",
            destination=Destination.parse(destination or ""),
            producer_id=producer_id or "",
            producer_sequence_id=sequence,
            persistent=bool(flags & _PERSISTENT),
            priority=priority,
            expiration=expiration,
            timestamp=timestamp,
            correlation_id=correlation_id,
            reply_to=None if reply_to is None else Destination.parse(reply_to),
            type=type_,
            group_id=group_id,
            group_sequence=group_sequence,
            user_id=user_id,
            properties=properties,
            body_kind=BodyKind(kind),
            body=body,
            compressed=bool(flags & _COMPRESSED),
            wire_format=wire_format or "",
            wire=wire,
            origin=None if origin is None else Destination.parse(origin),
        )
    except (ValueError, InvalidDestination) as error:
        raise MessageInvalid(f"The stored message cannot be read: {error}.") from error


def _split(data: bytes, lengths: list[int]) -> list[bytes | None]:
    """The fields behind the header."""
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
    return parts


def _encoded(value: str | None) -> bytes | None:
    return None if value is None else value.encode("utf-8", "surrogatepass")

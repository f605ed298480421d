"""Reads a message's frame straight into the broker's form, for frames as nearly all of them are.

The way through the codec builds each structure of a message only to take it apart again. Here a frame of
:data:`~broker.openwire.translation.WIRE_FORMAT` is read once, front to back. What is rare in messages of JMS
clients (distributed transactions, routes through other brokers, structures as content, ids as text) makes
:func:`read_message` return None, and the codec reads that frame. Both ways give equal messages; a property
test holds them to it. Measured for a message of 1 KiB: half of the time; in a transaction a quarter of it
(8 for 30 µs).

Most of these frames are like the one before of the same producer, have no group, no correlation id, no
reply-to and no type, and end with zeros. What is common is only compared, the rest read as far as the region
asks, which takes half of the time; such a message reads the rest of itself when somebody asks for it, like
one that comes back from the journal.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from broker import modified_utf8
from broker.destination import Destination
from broker.errors import ClientError, InvalidDestination, MessageInvalid
from broker.message import (
    WIRE_ADDRESSERS,
    WIRE_FIRSTS,
    WIRE_READERS,
    WIRE_REWRITERS,
    Message,
    part_of_frame,
)
from broker.openwire import commands, translation
from broker.openwire.commands import (
    ActiveMQDestination,
    ConnectionId,
    LocalTransactionId,
    MessageId,
    ProducerId,
)
from broker.openwire.errors import CodecError
from broker.openwire.memo import Memo

# type, command id, response required, then the producer: present, type, name present, length of the name
_HEAD = struct.Struct(">Bi?BBBH")
assert _HEAD.size == 11
_COMMAND = struct.Struct(">Bi?")  # the first three of these
_PREFIX_AT = _COMMAND.size
_LENGTH = struct.Struct(">H")
# present, type, the number, the connection: present, type, its name present, length of the name
_TRANSACTION = struct.Struct(">BBqBBBH")
assert _TRANSACTION.size == 15
_TRANSACTION_SIZE = _TRANSACTION.size
_TRANSACTION_IS_PLAIN = (1, ConnectionId.TYPE_CODE, 1)
# no transaction, no original destination, a message id that has no text but a producer
_BEFORE_MESSAGE_ID = bytes((0, 0, 1, MessageId.TYPE_CODE, 0, 1))
_LONG = struct.Struct(">q")
_INT = struct.Struct(">i")
_SIZE = struct.Struct(">I")
# no original transaction, no group, group sequence 0, no correlation id
_NO_GROUP = bytes(7)
# persistent, expiration, priority, reply-to present
_DELIVERY = struct.Struct(">?qbB")
# data structure present, target consumer present, compressed, redelivery counter, broker path present
_ROUTE = struct.Struct(">BB?iB")
_ROUTE_SIZE = _ROUTE.size
# two flags, cluster present, two times, a flag
_TAIL_SIZE = struct.calcsize(">??Bqq?")
_CLUSTER_AT = 2
# from the message's number to its body, where nothing of what may stand there does: the number, the broker's,
# what `_NO_GROUP` is, what `_DELIVERY` is, the time, type present, body present, its length
_PLAIN = struct.Struct(">qq7s?qbBqBBI")
assert _PLAIN.size == 48
_PLAIN_SIZE = _PLAIN.size
_PLAIN_TAIL = bytes(_ROUTE_SIZE + 8 + 1 + _TAIL_SIZE)  # the route, a time, no user, the tail

MISSES_MAX: Final = 8
"""After so many messages in a row that are unlike the usual ones, a producer's are read as a whole."""

_KINDS: Final = {
    code: kind
    for each, kind in translation.BODIES.items()
    if (code := each.TYPE_CODE) != commands.ActiveMQBlobMessage.TYPE_CODE
}

_producers: Memo[str] = Memo()
_destinations: Memo[Destination] = Memo()
_transactions: Memo[LocalTransactionId] = Memo()


class ReceivedMessage(NamedTuple):
    """A message, what its sender wants to hear of it, and the transaction, which is not kept with it."""

    message: Message
    command_id: int
    response_required: bool
    transaction_id: LocalTransactionId | None


_new_tuple: Final = tuple.__new__  # half the time of the class's own


class _Rare(Exception):
    """The codec must read this frame."""


def read_message(frame: bytes) -> ReceivedMessage | None:
    """The message of a frame, None if the codec must read it.

    Raises:
        CodecError: the frame is damaged.
    """
    try:
        return _reader.read(frame)
    except _Rare:
        return None
    except (struct.error, IndexError) as error:
        raise CodecError(f"a message is damaged: {error}") from error


def message_of_frame(frame: bytes) -> Message:
    """The message of a frame that was kept, however rare it is; equal to the one it was kept with.

    Raises:
        MessageInvalid: the frame is damaged, or is no message that was kept.
    """
    try:
        try:
            return _read(frame).message
        except (_Rare, struct.error, IndexError):
            return translation.to_message(translation.read_frame(frame), frame)
    except (CodecError, ClientError) as error:
        raise MessageInvalid(f"The stored message cannot be read: {error}.") from error


WIRE_READERS[translation.WIRE_FORMAT] = message_of_frame


def _readdress(
    frame: bytes, destination: Destination, original: Destination, expiration: int | None
) -> bytes:
    try:
        return translation.readdress(frame, destination, original, expiration)
    except CodecError as error:
        raise MessageInvalid(f"The message cannot be readdressed: {error}.") from error


WIRE_ADDRESSERS[translation.WIRE_FORMAT] = _readdress
WIRE_FIRSTS[translation.WIRE_FORMAT] = translation.mark_first


def _rewrite(message: Message, original: Destination | None) -> bytes:
    try:
        return translation.rewrite(message, original)
    except CodecError as error:
        raise MessageInvalid(f"The message cannot be written anew: {error}.") from error


WIRE_REWRITERS[translation.WIRE_FORMAT] = _rewrite


class _Like:
    """What the messages of one producer have in common, as long as they go to one destination.

    Attributes:
        prefix: from the producer to the destination, as it stands in each frame from `_PREFIX_AT` on.
        end: of it in the frame.
        middle: what stands between it and the message's number, where there is no transaction.
        producer_id: what is in it.
        destination: likewise.
        transaction: the bytes of the last one, from `end` on.
        transaction_id: what they mean.
        misses: how many messages in a row had something that is not common.
    """

    __slots__ = (
        "destination",
        "end",
        "middle",
        "misses",
        "prefix",
        "producer_id",
        "transaction",
        "transaction_id",
    )

    def __init__(self, message: Message, frame: bytes) -> None:
        """Take it out of a message that was read as a whole, and its frame."""
        assert isinstance(message.native, int)
        number_at = message.native - 8
        destination_at = 27 + _LENGTH.unpack_from(frame, 9)[0]
        end = destination_at + 5 + _LENGTH.unpack_from(frame, destination_at + 3)[0]
        self.prefix = frame[_PREFIX_AT:end]
        self.end = end
        self.middle = frame[end:number_at]
        self.producer_id = message.producer_id
        self.destination = message.destination
        self.transaction = b"\0"  # no transaction's begin so
        self.transaction_id: LocalTransactionId | None = None
        self.misses = 0

    def enter(self, b: bytes) -> None:
        """Another transaction begins."""
        at = self.end
        p = at + _TRANSACTION_SIZE + _LENGTH.unpack_from(b, at + _TRANSACTION_SIZE - 2)[0]
        raw = b[at:p]
        self.transaction_id = _transactions.get(raw) or _transaction(raw)
        self.transaction = raw


class _Reader:
    """Reads frames one after the other, each with what is known of those before."""

    __slots__ = ("_last", "_likes")

    def __init__(self) -> None:
        self._last: _Like | None = None
        self._likes: Memo[_Like] = Memo()

    def read(self, frame: bytes) -> ReceivedMessage:
        """Reads a frame as far as the region asks, if it is like the one before of its producer.

        What is not read is compared with what it must be, so that `_read` can read it later.
        """
        like = self._last
        if like is None or not frame.startswith(like.prefix, _PREFIX_AT):
            like = self._likes.get(frame[7 : 27 + _LENGTH.unpack_from(frame, 9)[0]])
            if like is None or not frame.startswith(like.prefix, _PREFIX_AT):
                return self._learn(frame)
            self._last = like
        if like.misses >= MISSES_MAX:
            return _read(frame)
        code, command_id, response_required = _COMMAND.unpack_from(frame)
        b, end, transaction_id = frame, like.end, None
        if b[end]:
            if not b.startswith(like.transaction, end):
                like.enter(b)
            transaction_id = like.transaction_id
            b = b[:end] + b"\0" + b[end + len(like.transaction) :]
        if code not in _KINDS or not b.startswith(like.middle, end):
            return _read(frame)
        p = end + len(like.middle)
        sequence, _, group, persistent, expiration, priority, replies, _, typed, filled, size = (
            _PLAIN.unpack_from(b, p)
        )
        number_at = p + 8
        p += _PLAIN_SIZE
        if group == _NO_GROUP and filled == 1 and not replies and not typed:
            p += size
            properties = None
            if b[p]:
                begin = p + 5
                p = begin + _SIZE.unpack_from(b, p + 1)[0]
                properties = b[begin:p]
            else:
                p += 1
            if b[p:] == _PLAIN_TAIL:
                like.misses = 0
                message = part_of_frame(
                    translation.WIRE_FORMAT, b, expiration if expiration > 0 else 0, number_at
                )
                message.destination = like.destination
                message.producer_id = like.producer_id
                message.producer_sequence_id = sequence
                message.persistent = persistent
                message.priority = priority if 0 <= priority <= 9 else min(max(priority, 0), 9)
                message.properties = properties
                return _new_tuple(ReceivedMessage, (message, command_id, response_required, transaction_id))
        like.misses += 1
        return _read(frame)

    def _learn(self, frame: bytes) -> ReceivedMessage:
        received = _read(frame)
        wire = received.message.wire
        assert wire is not None
        self._last = like = _Like(received.message, wire)
        self._likes.put(wire[7 : 27 + _LENGTH.unpack_from(wire, 9)[0]], like)
        return received


_reader: Final = _Reader()


def _read(b: bytes) -> ReceivedMessage:
    code, command_id, response_required, present, producer_code, is_named, length = _HEAD.unpack_from(b)
    kind = _KINDS.get(code)
    if kind is None or producer_code != ProducerId.TYPE_CODE or present != 1 or is_named != 1:
        raise _Rare
    p = 11 + length + 16
    producer = b[7:p]
    producer_id = _producers.get(producer) or _producer(producer)
    end = p + 5 + _LENGTH.unpack_from(b, p + 3)[0]
    if b[p] != 1 or b[p + 2] != 1:
        raise _Rare
    destination = _destinations.get(b[p + 1 : end]) or _destination(b[p + 1 : end])
    transaction_id = None
    if b[end]:
        p = end + _TRANSACTION_SIZE + _LENGTH.unpack_from(b, end + _TRANSACTION_SIZE - 2)[0]
        transaction_id = _transactions.get(b[end:p]) or _transaction(b[end:p])
        b = b[:end] + b"\0" + b[p:]
    p = end + 6 + len(producer)
    if not b.startswith(_BEFORE_MESSAGE_ID, end) or b[end + 6 : p] != producer:
        raise _Rare
    (sequence,) = _LONG.unpack_from(b, p)
    group_id, group_sequence, correlation_id, delivery, reply_to, timestamp, type_, at = _headers(b, p + 16)
    persistent, expiration, priority = delivery
    body, properties, compressed, user_id = _content(b, at)
    message = Message(
        f"{producer_id}:{sequence}",
        destination,
        producer_id,
        sequence,
        persistent,
        priority if 0 <= priority <= 9 else min(max(priority, 0), 9),
        expiration if expiration > 0 else 0,
        timestamp,
        correlation_id,
        reply_to,
        type_,
        group_id,
        group_sequence,
        user_id,
        properties,
        kind,
        body,
        compressed,
        translation.WIRE_FORMAT,
        b,
        p + 8,
    )
    return _new_tuple(ReceivedMessage, (message, command_id, response_required, transaction_id))


_Headers = tuple[str | None, int, str | None, tuple[bool, int, int], Destination | None, int, str | None, int]


def _headers(b: bytes, p: int) -> _Headers:
    """From the original transaction to the type, and where the body begins."""
    group_id = correlation_id = None
    group_sequence = 0
    if b.startswith(_NO_GROUP, p):
        p += 7
    else:
        if b[p]:
            raise _Rare
        group_id, p = _text(b, p + 1)
        (group_sequence,) = _INT.unpack_from(b, p)
        correlation_id, p = _text(b, p + 4)
    *delivery, has_reply_to = _DELIVERY.unpack_from(b, p)
    p += 11
    reply_to = None
    if has_reply_to:
        end = p + 4 + _LENGTH.unpack_from(b, p + 2)[0]
        if b[p + 1] != 1:
            raise _Rare
        reply_to = _destinations.get(b[p:end]) or _destination(b[p:end])
        p = end
    (timestamp,) = _LONG.unpack_from(b, p)
    type_, p = _text(b, p + 8) if b[p + 8] else (None, p + 9)
    return group_id, group_sequence, correlation_id, tuple(delivery), reply_to, timestamp, type_, p


def _content(b: bytes, p: int) -> tuple[bytes | None, bytes | None, bool, str | None]:
    """Body, properties, whether they are compressed, and the user; nothing may follow."""
    body = properties = user_id = None
    if b[p]:
        end = p + 5 + _SIZE.unpack_from(b, p + 1)[0]
        body = b[p + 5 : end]
        p = end
    else:
        p += 1
    if b[p]:
        end = p + 5 + _SIZE.unpack_from(b, p + 1)[0]
        properties = b[p + 5 : end]
        p = end
    else:
        p += 1
    has_structure, has_target, compressed, _, has_path = _ROUTE.unpack_from(b, p)
    if has_structure or has_target or has_path:
        raise _Rare
    p += _ROUTE_SIZE + 8
    if b[p]:
        user_id, p = _text(b, p)
    else:
        p += 1
    if b[p + _CLUSTER_AT]:
        raise _Rare
    p += _TAIL_SIZE
    if p != len(b):
        raise CodecError(f"a message is damaged: it ends at byte {p} of a frame of {len(b)} bytes")
    return body, properties, compressed, user_id


def _text(b: bytes, p: int) -> tuple[str | None, int]:
    if not b[p]:
        return None, p + 1
    end = p + 3 + _LENGTH.unpack_from(b, p + 1)[0]
    return modified_utf8.decode(b[p + 3 : end]), end


def _producer(raw: bytes) -> str:
    """The name of a producer; its bytes begin with its type."""
    name = modified_utf8.decode(raw[4:-16])
    (value,), (session,) = _LONG.unpack_from(raw, len(raw) - 16), _LONG.unpack_from(raw, len(raw) - 8)
    text = translation.producer_name(ProducerId(name, value, session))
    _producers.put(raw, text)
    return text


def _transaction(raw: bytes) -> LocalTransactionId:
    """The local transaction of some bytes; only a distributed one is another."""
    present, code, number, *connection, length = _TRANSACTION.unpack_from(raw)
    if present != 1 or code != LocalTransactionId.TYPE_CODE or tuple(connection) != _TRANSACTION_IS_PLAIN:
        raise _Rare
    if len(raw) != _TRANSACTION_SIZE + length:
        raise CodecError("a message is damaged: it ends in the id of its transaction")
    name = modified_utf8.decode(raw[_TRANSACTION_SIZE:])
    transaction_id = LocalTransactionId(number, ConnectionId(name))
    _transactions.put(raw, transaction_id)
    return transaction_id


def _destination(raw: bytes) -> Destination:
    """The destination of some bytes, which begin with its type."""
    each = commands.BY_TYPE_CODE.get(raw[0])
    if each is None or not issubclass(each, ActiveMQDestination):
        raise _Rare
    name = modified_utf8.decode(raw[4:])
    try:
        destination = translation.to_destination(each(name))
    except InvalidDestination:
        raise _Rare from None  # the codec's way says what is wrong
    _destinations.put(raw, destination)
    return destination

"""A client that costs next to nothing, so that the broker is measured: frames are made once and filled in.

A persistent message's frame is encoded by the broker's own codec, loose and uncached; for each send only its
command id, sequence and timestamp are written into it. An answer is recognised by its size and type. What is
sent and answered is what Apache's client would send with the same wire format.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field

from broker.openwire.codec import Codec
from broker.openwire.commands import (
    ActiveMQBytesMessage,
    ActiveMQQueue,
    BaseCommand,
    ConnectionId,
    ConnectionInfo,
    KeepAliveInfo,
    MessageId,
    ProducerId,
    ProducerInfo,
    Response,
    SessionId,
    SessionInfo,
)
from broker.openwire.wireformat import CommandReceived, WireFormat, WireFormatOptions

TIMEOUT_S = 30.0
RECEIVE_BYTES = 64 * 1024
COMMAND_AT = 5
"""Where a frame has its command id: behind its size and its type."""

_INT = struct.Struct(">i")
_LONG = struct.Struct(">q")
_ANSWER = struct.Struct(">iBi?i")
_ANSWER_SIZE = _ANSWER.size - 4
_ANSWER_HEAD = struct.pack(">iB", _ANSWER_SIZE, Response.TYPE_CODE)
_MARK = 0x1122334455667788


class AnswerUnexpected(Exception):
    """The broker said something else than that a message is stored."""


class MessageFrame:
    """The frame of a persistent message, to be filled in again and again.

    Args:
        queue: where it goes.
        producer_id: of its producer.
        body: the same for all.
    """

    def __init__(self, queue: str, producer_id: ProducerId, body: bytes) -> None:
        command = ActiveMQBytesMessage(
            producer_id=producer_id,
            destination=ActiveMQQueue(queue),
            message_id=MessageId(None, producer_id, _MARK, 0),
            persistent=True,
            priority=4,
            timestamp=_MARK + 1,
            content=body,
        )
        command.response_required = True
        self._frame = bytearray(Codec(12).encode(command))
        self._sequence_at = self._frame.index(_LONG.pack(_MARK))
        self._timestamp_at = self._frame.index(_LONG.pack(_MARK + 1))

    def filled(self, command_id: int, sequence: int, timestamp: int) -> bytes:
        """The frame of one message, its size included."""
        frame = self._frame
        _INT.pack_into(frame, COMMAND_AT, command_id)
        _LONG.pack_into(frame, self._sequence_at, sequence)
        _LONG.pack_into(frame, self._timestamp_at, timestamp)
        return bytes(frame)


class AnswerReader:
    """Takes the broker's bytes apart; counts the answers that say that a message is stored."""

    def __init__(self) -> None:
        self._rest = b""

    def count(self, data: bytes) -> int:
        """How many messages are stored according to some more bytes.

        Raises:
            AnswerUnexpected: the broker refused one.
        """
        if not self._rest and len(data) == _ANSWER.size and data.startswith(_ANSWER_HEAD):
            return 1
        data = self._rest + data
        at = count = 0
        while len(data) - at >= 5:
            (size,) = _INT.unpack_from(data, at)
            if len(data) - at < 4 + size:
                break
            kind = data[at + 4]
            if kind == Response.TYPE_CODE and size == _ANSWER_SIZE:
                count += 1
            elif kind != KeepAliveInfo.TYPE_CODE:
                raise AnswerUnexpected(f"type {kind}: {data[at : at + 4 + size]!r}")
            at += 4 + size
        self._rest = data[at:]
        return count


class LeanProducer:
    """One connection with one producer for one queue; logs in when it is made.

    Args:
        port: of the broker on this host.
        queue: where messages go.
        body: of every message.
        name: differs from those of all other connections.
        user: and password, as `fabric create` was told.
    """

    def __init__(
        self, port: int, queue: str, body: bytes, name: str, user: tuple[str, str] = ("admin", "admin")
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wire = WireFormat(WireFormatOptions(max_inactivity_duration_ms=0), now_s=0.0)
        self._command_id = 0
        self._sequence = 0
        self._next = b""
        connection_id = f"ID:{name}"
        producer_id = ProducerId(connection_id, 1, 1)
        self._frame = MessageFrame(queue, producer_id, body)
        self._answers = AnswerReader()
        self._request(
            ConnectionInfo(
                connection_id=ConnectionId(connection_id), user_name=user[0], password=user[1], client_id=None
            )
        )
        self._request(SessionInfo(session_id=SessionId(connection_id, 1)))
        self._request(ProducerInfo(producer_id=producer_id))

    def _request(self, command: BaseCommand) -> None:
        """Send a command and wait for its answer, with the codec."""
        self._command_id += 1
        command.command_id = self._command_id
        command.response_required = True
        self._wire.send(command)
        while True:
            self.socket.sendall(self._wire.data_to_send())
            data = self.socket.recv(RECEIVE_BYTES)
            if not data:
                raise AnswerUnexpected("the broker closed the connection")
            for event in self._wire.receive_data(data, 0.0):
                told = event.command if isinstance(event, CommandReceived) else None
                if isinstance(told, Response) and told.correlation_id == self._command_id:
                    if type(told) is not Response:
                        raise AnswerUnexpected(str(told))
                    return

    def next_frame(self) -> bytes:
        """The frame of the next message."""
        self._command_id += 1
        self._sequence += 1
        return self._frame.filled(self._command_id, self._sequence, int(time.time() * 1000))

    def send(self) -> None:
        """Send one message and wait until it is stored; the next one is made meanwhile."""
        self.socket.sendall(self._next or self.next_frame())
        self._next = self.next_frame()
        while not self.receive():
            pass

    def receive(self) -> int:
        """Read what there is; how many messages more are stored."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise AnswerUnexpected("the broker closed the connection")
        return self._answers.count(data)

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


@dataclass(slots=True)
class Load:
    """What a load did.

    Attributes:
        sent: messages that were answered.
        seconds: how long it took.
        stored_at: when answers came, monotonic, in order; several messages may share one time.
    """

    sent: int = 0
    seconds: float = 0.0
    stored_at: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Messages stored per second."""
        return self.sent / self.seconds if self.seconds else 0.0


def send_one_by_one(producer: LeanProducer, seconds: float) -> Load:
    """One producer that waits for each message, for a time."""
    load = Load()
    began = now = time.monotonic()
    deadline = began + seconds
    while now < deadline:
        producer.send()
        now = time.monotonic()
        load.stored_at.append(now)
    load.sent = len(load.stored_at)
    load.seconds = now - began
    return load


class _Windowed:
    """A producer with a bounded number of messages that are sent and not stored."""

    def __init__(self, producer: LeanProducer, window: int) -> None:
        self.producer = producer
        self.free = window
        self.outgoing: deque[bytes] = deque()
        producer.socket.setblocking(False)

    def fill(self, room: int) -> int:
        """Send as many messages as the window and a common rest allow; returns how many are on their way."""
        count = min(self.free, room)
        if count:
            self.free -= count
            self.outgoing.append(b"".join([self.producer.next_frame() for _ in range(count)]))
        self.write()
        return count

    def write(self) -> None:
        """Give the socket what it takes."""
        while self.outgoing:
            data = self.outgoing.popleft()
            try:
                taken = self.producer.socket.send(data)
            except BlockingIOError:
                taken = 0
            if taken < len(data):
                self.outgoing.appendleft(data[taken:])
                return


def send_windowed(
    producers: list[LeanProducer], window: int, *, seconds: float = TIMEOUT_S, messages: int | None = None
) -> Load:
    """Several producers, each with a window, in one thread; all that is sent is waited for.

    Args:
        producers: idle ones; their sockets do not block afterwards.
        window: messages of each that may be unanswered.
        seconds: how long new messages are sent; without meaning if `messages` is given.
        messages: how many are sent in all.
    """
    selector = selectors.DefaultSelector()
    lines = [_Windowed(producer, window) for producer in producers]
    for line in lines:
        selector.register(line.producer.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, line)
    load = Load()
    began = time.perf_counter()
    left = messages if messages is not None else 1 << 62
    on_the_way = 0
    while left or on_the_way:
        if messages is None and time.perf_counter() - began > seconds:
            left = 0
        ready = selector.select(TIMEOUT_S)
        if not ready:
            raise AnswerUnexpected(f"no answer within {TIMEOUT_S:g} s")
        for key, events in ready:
            line: _Windowed = key.data
            if events & selectors.EVENT_READ:
                stored = line.producer.receive()
                line.free += stored
                on_the_way -= stored
                load.sent += stored
                load.stored_at.append(time.monotonic())
            count = line.fill(left)
            left -= count
            on_the_way += count
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.outgoing else 0)
            if wanted != key.events:
                selector.modify(line.producer.socket, wanted, line)
    selector.close()
    load.seconds = time.perf_counter() - began
    return load

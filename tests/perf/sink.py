"""What only answers: a server without a store, to show how fast the load generator itself is.

Counts frames as the generator does, acknowledges them at once and sends as many prepared messages to the
consumer of the queue. Prints its ports as JSON; ends when its input ends. Run by `perf.rivals`.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import threading
from collections import deque

from perf import amqp_frames as amqp
from perf.amqp_lines import flow, message, transfer_head
from perf.mqtt_lines import packet, publish

BACKLOG = 128
RECEIVE_BYTES = 256 * 1024
CREDIT = 1_000_000_000

_INT = struct.Struct(">I")


class SinkLine:
    """One connection to the sink."""

    consumers: dict[bytes, SinkLine]

    def __init__(self, connected: socket.socket, size: int) -> None:
        self.socket = connected
        self.size = size
        self.queue: bytes | None = None
        self.unsent: deque[bytes] = deque()
        self.rest = b""

    def send(self, data: bytes) -> None:
        """Give the socket what it takes; keep the rest."""
        if not self.unsent:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                return  # gone; reading will tell
        if data:
            self.unsent.append(data)

    def send_rest(self) -> None:
        """The socket takes more."""
        data = b"".join(self.unsent)
        self.unsent.clear()
        self.send(data)

    def take(self, data: bytes) -> SinkLine | None:
        """Answer; returns a consumer that was sent something."""
        raise NotImplementedError


class StompSink(SinkLine):
    """Answers STOMP frames."""

    consumers: dict[bytes, SinkLine] = {}  # noqa: RUF012 - of all connections

    def take(self, data: bytes) -> SinkLine | None:
        """Answer."""
        if data.startswith(b"CONNECT\n"):
            self.send(b"CONNECTED\nversion:1.2\n\n\0")
        elif data.startswith(b"SUBSCRIBE\n"):
            self.consumers[_header(data, b"destination:")] = self
            self.send(b"RECEIPT\nreceipt-id:s\n\n\0")
        elif self.queue is None and data.startswith(b"SEND\n"):
            self.queue = _header(data, b"destination:")
            head = b"MESSAGE\nsubscription:0\nmessage-id:1\ndestination:%b\nack:1\n" % self.queue
            self.message = head + b"content-length:%d\n\n%b\0" % (self.size, b"x" * self.size)
        if self.queue is None:
            return None
        count = data.count(b"\0")
        self.send(b"RECEIPT\nreceipt-id:m\n\n\0" * count)
        consumer = self.consumers[self.queue]
        consumer.send(self.message * count)
        return consumer


class MqttSink(SinkLine):
    """Answers MQTT packets."""

    consumers: dict[bytes, SinkLine] = {}  # noqa: RUF012 - of all connections

    def take(self, data: bytes) -> SinkLine | None:
        """Answer."""
        kind = data[0]
        if self.queue is not None:
            return self._count(data)
        if kind == 0x10:
            self.send(b"\x20\x02\0\0")
        elif kind == 0x82:
            self.consumers[_mqtt_topic(data, 2)] = self
            self.send(b"\x90\x03\0\1\1")
        elif kind == 0x32:
            self.queue = _mqtt_topic(data, 0)
            self.message = publish(self.queue.decode(), 1, b"x" * self.size)
            return self._count(data)
        elif b"\xa2" in data:
            self.send(packet(0xB0, b"\0\2"))
        return None

    def _count(self, data: bytes) -> SinkLine:
        data = self.rest + data
        count = len(data) // len(self.message)
        self.rest = data[count * len(self.message) :]
        self.send(b"\x40\x02\0\1" * count)
        assert self.queue is not None
        consumer = self.consumers[self.queue]
        consumer.send(self.message * count)
        return consumer


class AmqpSink(SinkLine):
    """Answers AMQP frames."""

    consumers: dict[bytes, SinkLine] = {}  # noqa: RUF012 - of all connections
    counted = 0
    given = 0
    flowing = False

    def take(self, data: bytes) -> SinkLine | None:
        """Answer."""
        data = self.rest + data
        if data[:4] == b"AMQP":
            is_sasl = data[4] == 3
            self.send(data[:8])
            data = data[8:]
            if is_sasl:
                self.send(amqp.frame(amqp.described(amqp.SASL_MECHANISMS, amqp.symbol("PLAIN")), sasl=True))
        if self.flowing:
            return self._count(data)
        frames, end = amqp.whole_frames(data)
        self.rest = data[end:]
        for at in frames:
            told = amqp.performative(data, at)
            assert told is not None
            if told.code == amqp.TRANSFER:
                self.flowing = True
                self.frame_size = _INT.unpack_from(data, at)[0]
                return self._count(data[at:])
            self._answer(told)
        return None

    def _answer(self, told: amqp.Described) -> None:
        if told.code == amqp.SASL_INIT:
            self.send(amqp.frame(amqp.described(amqp.SASL_OUTCOME, amqp.ubyte(0)), sasl=True))
        elif told.code == amqp.OPEN:
            self.send(amqp.frame(amqp.described(amqp.OPEN, amqp.string("sink"))))
        elif told.code == amqp.BEGIN:
            fields = (amqp.ushort(0), amqp.uint(0), amqp.uint(CREDIT), amqp.uint(CREDIT))
            self.send(amqp.frame(amqp.described(amqp.BEGIN, *fields)))
        elif told.code == amqp.ATTACH:
            receives = told.field(2) is True
            place = told.field(5 if receives else 6)
            assert isinstance(place, amqp.Described)
            queue = place.field(0)
            assert isinstance(queue, bytes)
            answer = (amqp.string("link"), amqp.uint(0), amqp.boolean(not receives))
            self.send(amqp.frame(amqp.described(amqp.ATTACH, *answer)))
            if receives:
                self.consumers[queue] = self
            else:
                self.queue = queue
                self.send(flow(0, amqp.uint(0), amqp.uint(0), amqp.uint(CREDIT)))

    def _count(self, data: bytes) -> SinkLine:
        count = len(data) // self.frame_size
        self.rest = data[count * self.frame_size :]
        accepted = amqp.described(amqp.ACCEPTED)
        assert self.queue is not None
        consumer = self.consumers[self.queue]
        assert isinstance(consumer, AmqpSink)
        if count:
            span = (amqp.uint(self.counted), amqp.uint(self.counted + count - 1))
            self.counted += count
            fields = (amqp.boolean(True), *span, amqp.boolean(True), accepted)
            self.send(amqp.frame(amqp.described(amqp.DISPOSITION, *fields)))
            consumer.give(count)
        return consumer

    def give(self, count: int) -> None:
        """Send so many messages."""
        content = message(b"x" * self.size)
        self.send(
            b"".join(
                [
                    amqp.frame(transfer_head(number), content)
                    for number in range(self.given, self.given + count)
                ]
            )
        )
        self.given += count


def _header(data: bytes, name: bytes) -> bytes:
    """The value of a STOMP header of the first frame."""
    return data.partition(name)[2].partition(b"\n")[0]


def _mqtt_topic(data: bytes, skipped: int) -> bytes:
    """The topic of a packet that has so many bytes of content before it."""
    begin = 1
    while data[begin] & 0x80:
        begin += 1
    begin += 1 + skipped
    length = int.from_bytes(data[begin : begin + 2], "big")
    return data[begin + 2 : begin + 2 + length]


class Sink:
    """Listens for all three protocols."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._selector = selectors.EpollSelector()
        self.ports: dict[str, int] = {}
        for name, kind in (("stomp", StompSink), ("mqtt", MqttSink), ("amqp", AmqpSink)):
            listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
            self._selector.register(listening, selectors.EVENT_READ, kind)
            self.ports[name] = listening.getsockname()[1]

    def run(self) -> None:
        """Answer until the process ends."""
        while True:
            for key, events in self._selector.select():
                assert isinstance(key.fileobj, socket.socket)
                if isinstance(key.data, SinkLine):
                    self._serve(key.data, events)
                else:
                    self._accept(key.fileobj, key.data)

    def _accept(self, listening: socket.socket, kind: type[SinkLine]) -> None:
        connected, _ = listening.accept()
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connected, selectors.EVENT_READ, kind(connected, self._size))

    def _serve(self, line: SinkLine, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            line.send_rest()
            self._watch(line)
        if not events & selectors.EVENT_READ:
            return
        try:
            data = line.socket.recv(RECEIVE_BYTES)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(line.socket)
            line.socket.close()
            return
        consumer = line.take(data)
        for each in (line, consumer):
            if each is not None and each.unsent:
                self._watch(each)

    def _watch(self, line: SinkLine) -> None:
        if line.socket.fileno() >= 0:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.unsent else 0)
            self._selector.modify(line.socket, wanted, line)


def main(arguments: list[str]) -> None:
    """Serve until the input ends."""
    sink = Sink(int(arguments[0]))
    print(json.dumps(sink.ports), flush=True)
    threading.Thread(target=sink.run, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])

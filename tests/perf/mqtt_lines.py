"""MQTT 3.1.1 for `perf.lines`: QoS 1 with persistent sessions at both ends.

All messages of a load have the same size, so that frames are counted by division.
"""

from __future__ import annotations

import os
import struct

from perf.lines import RING_WINDOWS, Address, Consumer, LoadFailed, Producer, Ring

_CONNACK = b"\x20\x02"
_SUBACK = b"\x90\x03"
_UNSUBACK = b"\xb0\x02"
_PUBACK_SIZE = 4
_UNSIGNED_SHORT = struct.Struct(">H")


def text(value: str) -> bytes:
    """A string behind its length."""
    data = value.encode()
    return _UNSIGNED_SHORT.pack(len(data)) + data


def packet(first: int, content: bytes) -> bytes:
    """A control packet behind its first byte and remaining length."""
    left, length = len(content), b""
    while True:
        left, digit = left >> 7, left & 0x7F
        length += bytes([digit | (0x80 if left else 0)])
        if not left:
            return bytes([first]) + length + content


def connect(address: Address, client_id: str, *, clean: bool = False) -> bytes:
    """A CONNECT without keep-alive."""
    user, password = address.user
    flags = 0xC0 | (0x02 if clean else 0)
    return packet(
        0x10, text("MQTT") + bytes([4, flags, 0, 0]) + text(client_id) + text(user) + text(password)
    )


def publish(topic: str, number: int, body: bytes) -> bytes:
    """A PUBLISH of QoS 1."""
    return packet(0x32, text(topic) + _UNSIGNED_SHORT.pack(number) + body)


def client_name(queue: str, role: str) -> str:
    """Unique in a run: sessions are persistent. MQTT 3.1 allowed 23 characters, some still refuse more."""
    return f"{role}{os.getpid():x}{queue}"[-64:]


class MqttProducer(Producer):
    """Publishes with QoS 1."""

    def __init__(self, address: Address, queue: str, window: int, body: bytes) -> None:
        super().__init__(address, window)
        self._address, self._name = address, client_name(queue, "p")
        self.ask(connect(address, self._name), _CONNACK)
        topic = address.queue.format(queue)
        numbers = range(1, min(window * RING_WINDOWS, 0xFFFF) + 1)
        self._ring = Ring([publish(topic, number, body) for number in numbers])
        self._bytes = 0

    def frames(self, count: int) -> bytes:
        """The bytes of the next messages."""
        return self._ring.take(count)

    def take(self, data: bytes) -> int:
        """Count acknowledgements; nothing else comes to a publisher."""
        if len(data) >= _PUBACK_SIZE and data[-self._bytes % _PUBACK_SIZE] != 0x40:
            raise LoadFailed(f"no PUBACK: {data[:64]!r}")
        before, self._bytes = self._bytes, self._bytes + len(data)
        return self.acknowledge(self._bytes // _PUBACK_SIZE - before // _PUBACK_SIZE)

    def close(self) -> None:
        """Leave, and end the session."""
        _forget(self, self._address, self._name)


class MqttConsumer(Consumer):
    """Subscribes with QoS 1 and acknowledges each message."""

    def __init__(self, address: Address, queue: str, body: bytes) -> None:
        super().__init__(address)
        self._address, self._name = address, client_name(queue, "c")
        self._topic = address.queue.format(queue)
        self.ask(connect(address, self._name), _CONNACK)
        self.ask(packet(0x82, b"\0\1" + text(self._topic) + b"\1"), _SUBACK)
        self._size = len(publish(self._topic, 1, body))
        self._number_at = self._size - len(body) - 2
        self._rest = b""

    def take(self, data: bytes) -> int:
        """Count the messages that are whole and acknowledge them."""
        data = self._rest + data
        size = self._size
        if data[0] & 0xF0 != 0x30:
            raise LoadFailed(f"no PUBLISH: {data[:64]!r}")
        count = len(data) // size
        end = count * size
        self._rest = data[end:]
        if count:
            self.send(
                b"".join([b"\x40\x02%b" % data[at : at + 2] for at in range(self._number_at, end, size)])
            )
        self.received += count
        return count

    def close(self) -> None:
        """Leave, and end the session with its subscription."""
        self.ask(packet(0xA2, b"\0\2" + text(self._topic)), _UNSUBACK)
        _forget(self, self._address, self._name)


def _forget(line: Producer | Consumer, address: Address, name: str) -> None:
    """Disconnect, come back with a clean session, and leave for good."""
    line.socket.sendall(packet(0xE0, b""))
    line.socket.close()
    again = _Visitor(address)
    again.ask(connect(address, name, clean=True), _CONNACK)
    again.socket.sendall(packet(0xE0, b""))
    again.close()


class _Visitor(Consumer):
    """A connection that says only one thing."""


class Mqtt:
    """Makes pairs."""

    def producer(self, address: Address, queue: str, window: int, body: bytes) -> MqttProducer:
        """A producer that has logged in."""
        return MqttProducer(address, queue, window, body)

    def consumer(self, address: Address, queue: str, body: bytes) -> MqttConsumer:
        """A consumer that has subscribed."""
        return MqttConsumer(address, queue, body)


class IdleClient(Consumer):
    """A connection that has logged in and says nothing; its session ends with it."""

    def __init__(self, address: Address, name: str) -> None:
        super().__init__(address)
        self.ask(connect(address, name, clean=True), _CONNACK)

    def close(self) -> None:
        """Leave in good order."""
        self.socket.sendall(packet(0xE0, b""))
        self.socket.close()

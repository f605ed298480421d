"""The client's end of MQTT, byte by byte.

It writes what clients send, also what they must not, and reads what servers send. It is written from the
specification alone, so that it is a check of `broker.mqtt`.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)

Property = tuple[int, Any]

#: The kind of each property's value. Source: MQTT 5.0 §2.2.2.2, table 2-4.
KINDS = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), "B"),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), "H"),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), "I"),
    **dict.fromkeys((0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F), "text"),
    **dict.fromkeys((0x09, 0x16), "bytes"),
    0x0B: "varint",
    0x26: "pair",
}


# ---- writing


def varint(value: int) -> bytes:
    """A variable byte integer."""
    out = b""
    while True:
        value, low = divmod(value, 128)
        out += bytes([low + (128 if value else 0)])
        if not value:
            return out


def field_of(value: str | bytes) -> bytes:
    """A text or bytes behind a length of two bytes."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def properties(values: Iterable[Property]) -> bytes:
    """Properties behind their length."""
    out = b""
    for number, value in values:
        out += bytes([number])
        match KINDS[number]:
            case "text" | "bytes":
                out += field_of(value)
            case "varint":
                out += varint(value)
            case "pair":
                out += field_of(value[0]) + field_of(value[1])
            case code:
                out += struct.pack(">" + code, value)
    return varint(len(out)) + out


def packet(first: int, body: bytes = b"") -> bytes:
    """A packet of any first byte."""
    return bytes([first]) + varint(len(body)) + body


def connect(
    client_id: str = "c1",
    *,
    version: int = 5,
    clean: bool = True,
    keep_alive_s: int = 0,
    will: tuple[str, bytes, int, bool] | None = None,
    will_values: Iterable[Property] = (),
    user: str | None = None,
    password: bytes | None = None,
    values: Iterable[Property] = (),
    flags: int = 0,
) -> bytes:
    """A CONNECT; `will` is topic, payload, QoS, retain; `flags` are set in addition."""
    flags |= 2 * clean
    payload = field_of(client_id)
    if will is not None:
        topic, content, qos, retain = will
        flags |= 0x04 | qos << 3 | retain << 5
        payload += (properties(will_values) if version == 5 else b"") + field_of(topic) + field_of(content)
    if user is not None:
        flags |= 0x80
        payload += field_of(user)
    if password is not None:
        flags |= 0x40
        payload += field_of(password)
    head = field_of("MQIsdp" if version == 3 else "MQTT") + bytes([version, flags])
    head += struct.pack(">H", keep_alive_s)
    return packet(0x10, head + (properties(values) if version == 5 else b"") + payload)


def publish(
    topic: str,
    payload: bytes = b"",
    qos: int = 0,
    packet_id: int = 0,
    *,
    retain: bool = False,
    dup: bool = False,
    version: int = 5,
    values: Iterable[Property] = (),
) -> bytes:
    """A PUBLISH; with QoS 1 and 2 the packet identifier is written even if it is 0."""
    head = field_of(topic) + (struct.pack(">H", packet_id) if qos else b"")
    head += properties(values) if version == 5 else b""
    return packet(0x30 | dup << 3 | qos << 1 | retain, head + payload)


def ack(
    kind: int, packet_id: int, code: int | None = None, values: Iterable[Property] | None = None
) -> bytes:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP."""
    body = struct.pack(">H", packet_id)
    if code is not None:
        body += bytes([code])
    if values is not None:
        body += properties(values)
    return packet(kind << 4 | (2 if kind == PUBREL else 0), body)


def subscribe(
    packet_id: int,
    filters: Iterable[tuple[str, int]],
    *,
    version: int = 5,
    values: Iterable[Property] = (),
) -> bytes:
    """A SUBSCRIBE of filters with their options."""
    head = struct.pack(">H", packet_id) + (properties(values) if version == 5 else b"")
    return packet(0x82, head + b"".join(field_of(name) + bytes([options]) for name, options in filters))


def unsubscribe(
    packet_id: int, filters: Iterable[str], *, version: int = 5, values: Iterable[Property] = ()
) -> bytes:
    """An UNSUBSCRIBE."""
    head = struct.pack(">H", packet_id) + (properties(values) if version == 5 else b"")
    return packet(0xA2, head + b"".join(map(field_of, filters)))


def disconnect(code: int | None = None, values: Iterable[Property] | None = None) -> bytes:
    """A DISCONNECT; without code that of 3.1.1."""
    body = b"" if code is None else bytes([code])
    return packet(0xE0, body + (b"" if values is None else properties(values)))


def pingreq() -> bytes:
    """A PINGREQ."""
    return packet(0xC0)


# ---- reading


@dataclass
class Reply:
    """A packet of the server; what its type does not have is at its default.

    Attributes:
        kind: its type.
        flags: the lower half of the first byte.
        size: bytes of the whole packet.
        packet_id: of acknowledgements and messages.
        code: reason or return code.
        codes: of SUBACK and UNSUBACK.
        session_present: of CONNACK.
        topic: of a message; empty if only an alias is there.
        payload: likewise.
        values: the properties in their order.
    """

    kind: int
    flags: int = 0
    size: int = 0
    packet_id: int = 0
    code: int = 0
    codes: list[int] = field(default_factory=list)
    session_present: bool = False
    topic: str = ""
    payload: bytes = b""
    values: list[Property] = field(default_factory=list)

    @property
    def qos(self) -> int:
        """Of a message."""
        return self.flags >> 1 & 3

    @property
    def retain(self) -> bool:
        """Of a message."""
        return bool(self.flags & 1)

    @property
    def dup(self) -> bool:
        """Of a message."""
        return bool(self.flags & 8)

    def value(self, number: int) -> Any:
        """A property's value, None if it is absent; of several the first."""
        return next((value for each, value in self.values if each == number), None)


class _Bytes:
    """A body that is read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        assert size <= len(self.data), "the server's packet ends inside a field"
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        return self.binary().decode()

    def varint(self) -> int:
        value = 0
        for place in range(4):
            byte = self.number(1)
            value += (byte & 127) * 128**place
            if byte < 128:
                return value
        raise AssertionError("the server's number has more than four bytes")

    def properties(self) -> list[Property]:
        inner = _Bytes(self.take(self.varint()))
        values: list[Property] = []
        while inner.data:
            number = inner.number(1)
            kind = KINDS[number]
            match kind:
                case "text":
                    values.append((number, inner.text()))
                case "bytes":
                    values.append((number, inner.binary()))
                case "varint":
                    values.append((number, inner.varint()))
                case "pair":
                    values.append((number, (inner.text(), inner.text())))
                case _:
                    values.append((number, inner.number(struct.calcsize(">" + kind))))
        return values


def read_reply(first: int, body: bytes, version: int) -> Reply:
    """Read a packet of the server strictly."""
    reply = Reply(first >> 4, first & 15, 1 + len(varint(len(body))) + len(body))
    rest = _Bytes(body)
    is_v5 = version == 5
    match reply.kind:
        case 2:
            flags = rest.number(1)
            assert flags < 2, "reserved flags of a CONNACK are set"
            reply.session_present, reply.code = bool(flags), rest.number(1)
            reply.values = rest.properties() if is_v5 else []
        case 3:
            reply.topic = rest.text()
            reply.packet_id = rest.number(2) if reply.qos else 0
            reply.values = rest.properties() if is_v5 else []
            reply.payload = rest.take(len(rest.data))
        case 4 | 5 | 6 | 7:
            reply.packet_id = rest.number(2)
            if is_v5 and rest.data:
                reply.code = rest.number(1)
                reply.values = rest.properties() if rest.data else []
        case 9 | 11:
            reply.packet_id = rest.number(2)
            reply.values = rest.properties() if is_v5 else []
            reply.codes = list(rest.take(len(rest.data)))
        case 14:
            assert is_v5, "only 5.0 lets a server send DISCONNECT"
            reply.code = rest.number(1) if rest.data else 0
            reply.values = rest.properties() if rest.data else []
        case kind:
            assert kind == PINGRESP, f"the server sent a packet of type {kind}"
    if reply.kind != PUBLISH:
        assert reply.flags == (2 if reply.kind == PUBREL else 0), "reserved flags are set"
    assert not rest.data, "the server's packet goes on behind its last field"
    return reply


def read_replies(data: bytes, version: int) -> tuple[list[Reply], bytes]:
    """Read the whole packets of the server; returns them and the rest."""
    replies = []
    while len(data) >= 2:
        end = next((at for at in range(1, min(5, len(data))) if data[at] < 128), 0)
        if not end:
            break
        size = sum((byte & 127) * 128**place for place, byte in enumerate(data[1 : end + 1]))
        stop = end + 1 + size
        if len(data) < stop:
            break
        replies.append(read_reply(data[0], data[end + 1 : stop], version))
        data = data[stop:]
    return replies, data


class MqttPeer:
    """A client with a socket that says what it is told to and keeps what it hears.

    Args:
        port: where the server listens on this host.
        version: of MQTT.
        timeout_s: how long anything may take.
    """

    def __init__(self, port: int, version: int = 5, timeout_s: float = 20.0) -> None:
        self.version = version
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.replies: deque[Reply] = deque()
        self.is_closed = False
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def say(self, *packets: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(b"".join(packets))

    def log_in(
        self, client_id: str = "c1", *, user: str = "admin", password: bytes = b"admin", **options: Any
    ) -> Reply:
        """Connect; returns the CONNACK, whatever it says."""
        options.setdefault("version", self.version)
        self.say(connect(client_id, user=user, password=password, **options))
        return self.wait(CONNACK)

    def subscribe(
        self, *filters: tuple[str, int], packet_id: int = 1, values: Sequence[Property] = ()
    ) -> Reply:
        """Subscribe; returns the SUBACK."""
        self.say(subscribe(packet_id, filters, version=self.version, values=values))
        return self.wait(SUBACK)

    def wait(self, kind: int) -> Reply:
        """Wait for the next packet of a type; others before it are kept."""
        while True:
            for reply in self.replies:
                if reply.kind == kind:
                    self.replies.remove(reply)
                    return reply
            assert self._read(), f"the server closed the connection; a packet of type {kind} was expected"

    def next(self) -> Reply:
        """Wait for the next packet."""
        while not self.replies:
            assert self._read(), "the server closed the connection"
        return self.replies.popleft()

    def ping(self) -> None:
        """Wait until everything said before has been read: the answer to a PINGREQ follows all others."""
        self.say(pingreq())
        self.wait(PINGRESP)

    def wait_closed(self) -> list[Reply]:
        """Wait until the server closes the connection; returns what it said before."""
        while self._read():
            pass
        self.socket.close()
        return list(self.replies)

    def _read(self) -> bool:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.is_closed = True
            return False
        replies, self._rest = read_replies(self._rest + data, self.version)
        self.replies += replies
        return True

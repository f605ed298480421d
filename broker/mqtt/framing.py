"""Cuts what a client sends into packets.

A client's first packet is its CONNECT, and what follows it is kept until :meth:`Framing.go_on`. Whatever is
malformed is told as early as it can be seen: what is no MQTT at its first byte, what is too large with its
header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.mqtt import codec, limits
from broker.mqtt.errors import PacketInvalid
from broker.mqtt.packets import V5, PacketType, Puback
from broker.mqtt.property_codec import read_length
from broker.mqtt.reasons import ReasonCode

if TYPE_CHECKING:
    from broker.mqtt.codec import ClientPacket

_CONNECT: Final = PacketType.CONNECT << 4
_PUBLISH: Final = PacketType.PUBLISH << 4
_PUBACK: Final = PacketType.PUBACK << 4
_NOTHING: Final = bytearray()
"""Shared by all that have nothing: never changed in place."""


class Framing:
    """The bytes of one client.

    Attributes:
        version: of MQTT; 0 until a CONNECT has said it.
        error: what is wrong behind the packets that were read, None if nothing; no more is read then.

    Args:
        packet_bytes_max: of a packet after the CONNECT, its header included.
    """

    __slots__ = (
        "_counted",
        "_is_first",
        "_is_held",
        "_limit",
        "_packet_bytes_max",
        "_rest",
        "_wanted",
        "error",
        "version",
    )

    def __init__(self, packet_bytes_max: int) -> None:
        self.version = 0
        self.error: PacketInvalid | None = None
        self._packet_bytes_max = packet_bytes_max
        self._limit = min(limits.CONNECT_BYTES_MAX, packet_bytes_max)
        self._rest = _NOTHING
        self._wanted = 0  # bytes without which the rest is no whole packet
        self._counted = 0  # bytes of the rest that counted as progress
        self._is_first = True
        self._is_held = False

    @property
    def is_inside(self) -> bool:
        """A packet has begun and is not complete."""
        return bool(self._rest) and not self._is_held

    def go_on(self) -> None:
        """The CONNECT is answered: `receive` gives what came behind it, too."""
        self._is_held = False
        self._wanted = 0
        self._limit = self._packet_bytes_max

    def has_progressed(self) -> bool:
        """Whether much of a large packet has come since the last packet, or the last time this was true."""
        size = len(self._rest)
        if size - self._counted < limits.PROGRESS_BYTES:
            return False
        self._counted = size
        return True

    def receive(self, data: bytes) -> list[ClientPacket]:
        """Take some data; returns the packets that are complete now."""
        if self.error is not None:
            return []
        rest = self._rest
        if rest:
            rest += data
            if self._is_held or len(rest) < self._wanted:
                self._check_held()
                return []
            data = bytes(rest)
            self._rest = _NOTHING
        elif self._is_held:
            self._rest = bytearray(data)
            self._check_held()
            return []
        packets: list[ClientPacket] = []
        try:
            at = self._take_first(data, packets) if self._is_first else self._take(data, 0, packets)
        except PacketInvalid as error:
            self.error = error
            return packets
        if at < len(data):
            self._rest = bytearray(data[at:])
        if packets:
            self._counted = len(self._rest)
        return packets

    def _check_held(self) -> None:
        if self._is_held and len(self._rest) > limits.WAITING_BYTES_MAX:
            self._rest = _NOTHING
            self.error = PacketInvalid(
                f"more than {limits.WAITING_BYTES_MAX} bytes came before the CONNECT was answered",
                "a limit of this broker",
                ReasonCode.QUOTA_EXCEEDED,
            )

    def _take(self, data: bytes, at: int, packets: list[ClientPacket]) -> int:
        """Read the whole packets of some data from a place; returns where the rest begins."""
        end = len(data)
        limit = self._limit
        version = self.version
        read_publish = codec.read_publish
        while end - at >= 2:
            size = data[at + 1]
            body = at + 2
            if size >= 0x80:
                size, body = read_length(data, at + 1, end)
                if not body:
                    self._wanted = end - at + 1
                    return at
                if version == V5 and not data[body - 1]:  # [MQTT-1.5.5-1]
                    raise _needless()
            stop = body + size
            if stop - at > limit:
                raise _too_large(stop - at, limit)
            if stop > end:
                self._wanted = stop - at
                return at
            first = data[at]
            if first & 0xF0 == _PUBLISH:
                packets.append(read_publish(first, data, body, stop, version))
            elif first == _PUBACK and size == 2 and (packet_id := data[body] << 8 | data[body + 1]):
                packets.append(Puback(packet_id))
            else:
                packets.append(codec.read_packet(first, data, body, stop, version))
            at = stop
        self._wanted = 2
        return at

    def _take_first(self, data: bytes, packets: list[ClientPacket]) -> int:
        """Read the CONNECT, if it is complete; returns where the rest begins."""
        if not data:
            return 0
        if data[0] != _CONNECT:
            raise _no_connect(data[0])
        end = len(data)
        size, body = read_length(data, 1, end)
        if not body:
            self._wanted = end + 1
            return 0
        stop = body + size
        if stop > self._limit:
            raise _too_large(stop, self._limit)
        if stop > end:
            self._wanted = stop
            return 0
        self.version, at = codec.read_protocol(data, body, stop)
        if self.version == V5 and body > 2 and not data[body - 1]:  # [MQTT-1.5.5-1]
            raise _needless()
        packets.append(codec.read_connect(data, at, stop, self.version))
        self._is_first = False
        self._is_held = True
        return stop


def _no_connect(first: int) -> PacketInvalid:
    if first >> 4 == PacketType.CONNECT:  # [MQTT-2.1.3-1]
        return PacketInvalid(f"the flags of a CONNECT are {first & 0x0F:#x}", "5.0 §2.1.3")
    return PacketInvalid(  # [MQTT-3.1.0-1]
        "the client does not begin with a CONNECT", "5.0 §3.1", ReasonCode.PROTOCOL_ERROR
    )


def _too_large(size: int, limit: int) -> PacketInvalid:
    return PacketInvalid(
        f"a packet has {size} bytes, more than {limit}", "5.0 §3.2.2.3.6", ReasonCode.PACKET_TOO_LARGE
    )


def _needless() -> PacketInvalid:
    return PacketInvalid("the length of a packet has needless bytes", "5.0 §1.5.5")

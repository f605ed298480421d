"""One end of an OpenWire connection, without its socket: frames, negotiation, keep-alive.

Both ends send their WireFormatInfo at once, loose and uncached. When the peer's has come, the version is the
smaller of both; tight encoding, cache and stack traces are on if both want them; sizes and times are the
smaller of both. From then on both ends use what they agreed on.

::

    negotiating ──WireFormatInfo──▶ open ──fault, silence, end──▶ closed
         └────────fault, silence, end──────────────────────────────▲

Commands given to :meth:`WireFormat.send` while negotiating are kept until it is done. A KeepAliveInfo is
answered here if it asks for that, and never becomes an event.

Source: Apache ActiveMQ's ``WireFormatNegotiator`` and ``InactivityMonitor``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from broker.openwire import limits
from broker.openwire.codec import Codec
from broker.openwire.commands import BaseCommand, DataStructure, KeepAliveInfo, WireFormatInfo
from broker.openwire.errors import CodecError, FrameTooLarge
from broker.openwire.schema import VERSION_MAX, VERSION_MIN, concrete
from broker.primitive_map import Long, Value, decode_map, encode_map

_SIZE = struct.Struct(">i")
_MAGIC = b"ActiveMQ"

# From this version to 12 a message's fields are the same.
PLAIN_VERSION_MIN = 10

# How long the peer may take to send its WireFormatInfo if it has no inactivity limits; ActiveMQ's negotiator
# waits as long.
NEGOTIATION_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class WireFormatOptions:
    """What this end offers. The names in brackets are the options of connectors and broker URLs.

    Attributes:
        version: the highest OpenWire version (``wireFormat.version``).
        tight_encoding_enabled: ``wireFormat.tightEncodingEnabled``. Off by default: loose frames are larger,
            but several times faster to read and write here, and a message can be passed on as it came.
        cache_enabled: ``wireFormat.cacheEnabled``. Off by default, so that frames stand for themselves.
        cache_size: entries per direction (``wireFormat.cacheSize``).
        stack_trace_enabled: ``wireFormat.stackTraceEnabled``.
        tcp_no_delay_enabled: ``wireFormat.tcpNoDelayEnabled``; the owner of the socket sets it.
        max_inactivity_duration_ms: silence after which the peer counts as dead, 0 never
            (``wireFormat.maxInactivityDuration``); a third of it without sending makes us send a keep-alive.
        max_inactivity_duration_initial_delay_ms: the same until the connection is negotiated
            (``wireFormat.maxInactivityDurationInitalDelay``, spelled so).
        max_frame_size_bytes: ``wireFormat.maxFrameSize``.
        host: the host a client wants to reach (``wireFormat.host``), None for a broker.
        provider_name: product, for the peer's log.
        provider_version: its version.
        platform_details: what it runs on.
    """

    version: int = VERSION_MAX
    tight_encoding_enabled: bool = False
    cache_enabled: bool = False
    cache_size: int = limits.CACHE_SIZE_DEFAULT
    stack_trace_enabled: bool = False
    tcp_no_delay_enabled: bool = True
    max_inactivity_duration_ms: int = 30_000
    max_inactivity_duration_initial_delay_ms: int = 10_000
    max_frame_size_bytes: int = limits.FRAME_SIZE_MAX_DEFAULT
    host: str | None = None
    provider_name: str = "Fabric"
    provider_version: str = ""
    platform_details: str = ""

    def to_info(self) -> WireFormatInfo:
        """The frame that offers this."""
        properties: dict[str, Value] = {
            "TightEncodingEnabled": self.tight_encoding_enabled,
            "CacheEnabled": self.cache_enabled,
            "TcpNoDelayEnabled": self.tcp_no_delay_enabled,
            "SizePrefixDisabled": False,
            "StackTraceEnabled": self.stack_trace_enabled,
            "MaxInactivityDuration": Long(self.max_inactivity_duration_ms),
            "MaxInactivityDurationInitalDelay": Long(self.max_inactivity_duration_initial_delay_ms),
            "MaxFrameSize": Long(self.max_frame_size_bytes),
            "CacheSize": self.cache_size,
            "ProviderName": self.provider_name,
            "ProviderVersion": self.provider_version,
            "PlatformDetails": self.platform_details,
        }
        if self.host is not None:
            properties["Host"] = self.host
        return WireFormatInfo(version=self.version, marshalled_properties=encode_map(properties))

    @classmethod
    def from_info(cls, info: WireFormatInfo) -> WireFormatOptions:
        """What a peer offers; what it does not say is off or unlimited.

        Raises:
            CodecError: the frame is not what an OpenWire peer sends.
        """
        if info.magic != _MAGIC:
            raise CodecError("the peer does not speak OpenWire: its magic is wrong")
        if info.version < VERSION_MIN:
            raise CodecError(f"the peer speaks OpenWire version {info.version}, the lowest is {VERSION_MIN}")
        properties = _Properties(info.marshalled_properties)
        return cls(
            version=info.version,
            tight_encoding_enabled=properties.flag("TightEncodingEnabled"),
            cache_enabled=properties.flag("CacheEnabled"),
            cache_size=properties.number("CacheSize"),
            stack_trace_enabled=properties.flag("StackTraceEnabled"),
            tcp_no_delay_enabled=properties.flag("TcpNoDelayEnabled"),
            max_inactivity_duration_ms=properties.number("MaxInactivityDuration"),
            max_inactivity_duration_initial_delay_ms=properties.number("MaxInactivityDurationInitalDelay"),
            max_frame_size_bytes=properties.number("MaxFrameSize"),
            host=properties.text("Host"),
            provider_name=properties.text("ProviderName") or "",
            provider_version=properties.text("ProviderVersion") or "",
            platform_details=properties.text("PlatformDetails") or "",
        )

    def agree(self, peer: WireFormatOptions) -> WireFormatOptions:
        """What both ends use: the rest of the peer's offer, with flags and sizes brought together."""
        return replace(
            peer,
            version=min(self.version, peer.version),
            tight_encoding_enabled=self.tight_encoding_enabled and peer.tight_encoding_enabled,
            cache_enabled=self.cache_enabled and peer.cache_enabled,
            cache_size=_smaller(self.cache_size, peer.cache_size),
            stack_trace_enabled=self.stack_trace_enabled and peer.stack_trace_enabled,
            tcp_no_delay_enabled=self.tcp_no_delay_enabled and peer.tcp_no_delay_enabled,
            max_inactivity_duration_ms=min(
                self.max_inactivity_duration_ms, max(peer.max_inactivity_duration_ms, 0)
            ),
            max_frame_size_bytes=_smaller(self.max_frame_size_bytes, peer.max_frame_size_bytes),
        )


def _smaller(one: int, other: int) -> int:
    """The smaller of two numbers, where 0 and less say nothing."""
    return min((each for each in (one, other) if each > 0), default=0)


class _Properties:
    """The properties of a WireFormatInfo within their limits; a value of a wrong type counts as absent."""

    def __init__(self, data: bytes | None) -> None:
        self._values: Mapping[str, Value] = (decode_map(data) if data is not None else None) or {}
        if len(self._values) > limits.HANDSHAKE_PROPERTIES_MAX:
            raise CodecError(f"a WireFormatInfo has more than {limits.HANDSHAKE_PROPERTIES_MAX} properties")
        for key, value in self._values.items():
            if isinstance(value, dict | list):
                raise CodecError(f"the property {key!r} of a WireFormatInfo is nested")
            if isinstance(value, str | bytes) and len(value) > limits.HANDSHAKE_TEXT_SIZE_MAX:
                raise CodecError(f"the property {key!r} of a WireFormatInfo is too long")

    def flag(self, name: str) -> bool:
        return self._values.get(name) is True

    def number(self, name: str) -> int:
        value = self._values.get(name)
        return int(value) if isinstance(value, int) and not isinstance(value, bool) else 0

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        return value if isinstance(value, str) else None


@dataclass(slots=True)
class Negotiated:
    """The encoding is agreed on; `agreed` says how, `peer` what the peer offered."""

    info: WireFormatInfo
    peer: WireFormatOptions
    agreed: WireFormatOptions


@dataclass(slots=True)
class CommandReceived:
    """A command came."""

    command: DataStructure


@dataclass(slots=True)
class MessagesReceived:
    """Messages came in frames that stand for themselves (loose, uncached); only for owners who ask for those.

    Attributes:
        frames: one or several that came together, with nothing between them.
    """

    frames: list[bytes]


@dataclass(slots=True)
class ProtocolViolation:
    """The peer broke the protocol: nothing it sends counts any more. The last event."""

    reason: str
    source: str = "OpenWire"

    def __str__(self) -> str:
        return self.reason


@dataclass(slots=True)
class PeerInactive:
    """The peer was silent for too long: it counts as dead. The last event."""

    reason: str

    def __str__(self) -> str:
        return self.reason


Event = Negotiated | CommandReceived | MessagesReceived | ProtocolViolation | PeerInactive


class _State(Enum):
    NEGOTIATING = 1
    OPEN = 2
    CLOSED = 3


_MESSAGE_CODES = frozenset(each.code for each in concrete("Message", VERSION_MAX) if each.code is not None)


class WireFormat:
    """Frames, negotiation and keep-alive of one connection; either end.

    Args:
        options: what this end offers.
        now_s: the time, on the clock that all later calls use.
        raw_messages: give messages as :class:`MessagesReceived` where the agreed encoding allows it.
    """

    def __init__(self, options: WireFormatOptions, *, now_s: float, raw_messages: bool = False) -> None:
        self.options = options
        self.codec = Codec()  # the first frame is the same in every version
        self.agreed: WireFormatOptions | None = None
        self.frame_size_max = limits.HANDSHAKE_FRAME_SIZE_MAX
        self._state = _State.NEGOTIATING
        self._raw_messages = raw_messages
        self._raw_codes: frozenset[int] = frozenset()
        self._received = bytearray()  # the beginning of a frame
        self._wanted_size = _SIZE.size
        self._outgoing: list[bytes] = [self.codec.encode(options.to_info())]
        self._waiting: list[DataStructure] = []
        self._inactivity_s = 0.0
        self._last_received_s = now_s
        self._last_sent_s = now_s
        self._has_sent = False
        delay_s = options.max_inactivity_duration_initial_delay_ms / 1000
        self._negotiation_deadline_s = now_s + (delay_s if delay_s > 0 else NEGOTIATION_TIMEOUT_S)

    @property
    def is_negotiated(self) -> bool:
        """Whether the encoding is agreed on."""
        return self._state is _State.OPEN

    @property
    def is_plain(self) -> bool:
        """Whether a message's frame stands for itself and has the layout that versions 10 to 12 share."""
        agreed = self.agreed
        return (
            agreed is not None
            and agreed.version >= PLAIN_VERSION_MIN
            and not (agreed.tight_encoding_enabled or agreed.cache_enabled)
        )

    def receive_data(self, data: bytes, now_s: float) -> list[Event]:
        """Takes what the peer sent; the events are in its order.

        After a :class:`ProtocolViolation` all further data is ignored.
        """
        self._last_received_s = now_s
        if self._state is _State.CLOSED:
            return []
        if self._received:
            self._received += data
            if len(self._received) < self._wanted_size:
                return []
            data = bytes(self._received)
        events: list[Event] = []
        try:
            at = self._take_frames(data, events)
        except CodecError as error:
            self._state = _State.CLOSED
            events.append(ProtocolViolation(str(error)))
            at = len(data)
        self._received = bytearray(data[at:])
        return events

    def _take_frames(self, data: bytes, events: list[Event]) -> int:
        """Decodes the whole frames at the beginning of some data; returns where the rest begins."""
        at = 0
        end = len(data)
        frames: list[bytes] | None = None
        while True:
            if end - at < 4:
                self._wanted_size = 4
                return at
            (size,) = _SIZE.unpack_from(data, at)
            if not 0 < size <= self.frame_size_max:
                self._refuse_size(size)
            stop = at + 4 + size
            if stop > end:
                self._wanted_size = stop - at
                return at
            frame = data[at + 4 : stop]
            at = stop
            if frame[0] in self._raw_codes:
                if frames is None:
                    frames = []
                    events.append(MessagesReceived(frames))
                frames.append(frame)
                continue
            frames = None
            command = self.codec.decode(frame)
            if self._state is _State.NEGOTIATING:
                events.append(self._negotiate(command))
            elif isinstance(command, KeepAliveInfo):
                if command.response_required:
                    self.send(KeepAliveInfo())
            elif isinstance(command, WireFormatInfo):
                raise CodecError("the peer sent a second WireFormatInfo")
            else:
                events.append(CommandReceived(command))

    def _refuse_size(self, size: int) -> None:
        if size <= 0:
            raise CodecError(f"a frame has the impossible size of {size} bytes")
        if self._state is _State.NEGOTIATING:
            raise CodecError("the peer does not speak OpenWire: its first frame is too large")
        raise FrameTooLarge(size, self.frame_size_max)

    def _negotiate(self, command: DataStructure) -> Negotiated:
        if not isinstance(command, WireFormatInfo):
            raise CodecError(f"the peer's first command is {type(command).__name__}, not WireFormatInfo")
        peer = WireFormatOptions.from_info(command)
        agreed = self.agreed = self.options.agree(peer)
        self.codec = Codec(
            agreed.version,
            agreed.tight_encoding_enabled,
            agreed.cache_enabled,
            cache_size=agreed.cache_size,
            stack_trace=agreed.stack_trace_enabled,
            frame_size_max=agreed.max_frame_size_bytes,
        )
        if self._raw_messages and self.is_plain:
            self._raw_codes = _MESSAGE_CODES
        self.frame_size_max = agreed.max_frame_size_bytes
        self._inactivity_s = agreed.max_inactivity_duration_ms / 1000
        self._state = _State.OPEN
        for waiting in self._waiting:
            self.send(waiting)
        self._waiting.clear()
        return Negotiated(command, peer, agreed)

    def receive_eof(self) -> list[Event]:
        """The peer has closed its side."""
        if self._state is _State.CLOSED:
            return []
        was_inside = bool(self._received)
        self._state = _State.CLOSED
        return [ProtocolViolation("the connection ended inside a frame")] if was_inside else []

    def send(self, command: DataStructure) -> None:
        """Encodes a command into :meth:`data_to_send`; while negotiating it waits. Ignored once closed.

        Raises:
            CodecError: the command cannot be written; nothing was sent.
        """
        if self._state is _State.OPEN:
            self._outgoing.append(self.codec.encode(command))
        elif self._state is _State.NEGOTIATING:
            self._waiting.append(command)

    def send_last(self, command: BaseCommand) -> None:
        """Sends a command even after the peer's fault, to tell it what was wrong."""
        if self.agreed is not None:
            self._outgoing.append(self.codec.encode(command))

    def send_frame(self, frame: bytes) -> None:
        """Adds a frame, its size included, that was encoded elsewhere in the agreed encoding."""
        self._outgoing.append(frame)

    def close(self) -> None:
        """Ignores what the peer still sends; what is to be sent stays."""
        self._state = _State.CLOSED

    def data_to_send(self) -> bytes:
        """What to write to the socket now; empty if nothing."""
        if not self._outgoing:
            return b""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        self._has_sent = True
        return data

    @property
    def deadline_s(self) -> float | None:
        """When :meth:`handle_deadline` must be called at the latest."""
        if self._state is _State.NEGOTIATING:
            return self._negotiation_deadline_s
        if self._state is _State.CLOSED or self._inactivity_s <= 0:
            return None
        return min(
            self._last_received_s + self._inactivity_s,
            self._last_sent_s + self._inactivity_s / 3,
        )

    def excuse(self, now_s: float) -> None:
        """The peer was not read from, so that its silence says nothing."""
        self._last_received_s = now_s

    def handle_deadline(self, now_s: float) -> list[Event]:
        """Sends a keep-alive if this end was silent, and tells whether the peer was."""
        if self._state is _State.NEGOTIATING and now_s >= self._negotiation_deadline_s:
            self._state = _State.CLOSED
            return [PeerInactive("the peer did not send its wire format in time")]
        if self._state is not _State.OPEN or self._inactivity_s <= 0:
            return []
        if now_s >= self._last_received_s + self._inactivity_s:
            self._state = _State.CLOSED
            return [PeerInactive(f"the peer was silent for more than {self._inactivity_s:g} s")]
        if now_s >= self._last_sent_s + self._inactivity_s / 3:
            if not self._has_sent:
                self.send(KeepAliveInfo())
            self._has_sent = False
            self._last_sent_s = now_s
        return []

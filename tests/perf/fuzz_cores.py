"""Small inputs for what reads a protocol's bytes: one to three changed frames at a time, no region behind it.

A core is made, is told the honest beginning of a stream, and then gets inputs until it has had enough; so
most inputs cost no login, and what one leaves behind is there for the next. What comes out goes the way it
would go in a server: headers are read, messages are made and read, commands are written again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from perf.fuzz_run import SLOW_PER_BYTE_S, SLOW_S, FaultFound, Fuzzer, check_answer
from perf.mutator import Mutator
from support import amqp_frames
from support.valid_streams import STREAMS, TOKENS, Stream
from support.wrapped import EchoServer, context

from broker.amqp import events as amqp_events
from broker.amqp import inbound
from broker.amqp.engine import ProtonConnection
from broker.amqp.handshake import PLAIN, Handshake, LoginAsked
from broker.amqp.outbound import outgoing as amqp_outgoing
from broker.auto import AutoServer
from broker.destination import Destination
from broker.errors import BrokerError, CodecError
from broker.message import Message
from broker.mqtt import packets as mqtt_packets
from broker.mqtt import translation as mqtt_translation
from broker.mqtt.connection import Connection as MqttConnection
from broker.mqtt.events import ClientSilent, ConnectionOptions
from broker.mqtt.events import ProtocolViolation as MqttViolation
from broker.openwire import commands as openwire_commands
from broker.openwire import translation as openwire_translation
from broker.openwire.message_reader import read_message
from broker.openwire.wireformat import CommandReceived, MessagesReceived, WireFormat, WireFormatOptions
from broker.stomp.connection import ProtocolViolation as StompViolation
from broker.stomp.connection import StompConnection
from broker.stomp.destinations import Destinations
from broker.stomp.headers import VERSIONS, Version, read_headers
from broker.stomp.translation import message_of, template_of
from broker.websocket import WebSocketServer

FEEDS_MAX = 24
"""Inputs of one core; what is left in its buffer may make it deaf for the rest."""
FRAMES_MAX = 3
"""Of one input."""
HONEST = 0.1
"""Share of the inputs that stay as they are, so that something goes on."""
FRAME_BYTES_MAX = 1 << 20
MESSAGE_BYTES_MAX = 1 << 22
PLACE = Destination.queue("q")


class Core(Protocol):
    """What reads the bytes of one connection."""

    def feed(self, data: bytes) -> str:
        """Take bytes; says how the connection ended, empty: it goes on."""
        ...

    def said(self) -> int:
        """Take the answers; returns how many bytes they have."""
        ...


def look_at(message: Message) -> None:
    """Read what is read of a message only when somebody asks."""
    _ = message.correlation_id, message.body


# ---- the cores


class OpenWireCore:
    """Frames, commands and messages, written again by the same codec."""

    def __init__(self, stream: Stream) -> None:
        wide = bool(stream.properties)
        options = WireFormatOptions(tight_encoding_enabled=wide, cache_enabled=wide)
        self._wire = WireFormat(options, now_s=0.0, raw_messages=True)
        self.feed(stream.head)

    def feed(self, data: bytes) -> str:
        """See `Core`."""
        for event in self._wire.receive_data(data, 0.0):
            if isinstance(event, MessagesReceived):
                for frame in event.frames:
                    try:
                        self._take_frame(frame)
                    except CodecError as error:
                        return str(error)
                    except BrokerError:
                        continue
            elif isinstance(event, CommandReceived):
                self._take(event.command)
            elif not self._wire.is_negotiated:
                return str(event)
        return ""

    def _take_frame(self, frame: bytes) -> None:
        received = read_message(frame)
        if received is None:
            self._take(openwire_translation.read_frame(frame), frame)
        else:
            look_at(received.message)

    def _take(self, command: Any, frame: bytes | None = None) -> None:
        try:
            self._wire.send(command)
            if isinstance(command, openwire_commands.Message):
                look_at(openwire_translation.to_message(command, frame))
        except BrokerError:
            pass

    def said(self) -> int:
        """See `Core`."""
        return len(self._wire.data_to_send())


class StompCore:
    """Frames, headers and messages."""

    def __init__(self, stream: Stream) -> None:
        self._wire = StompConnection(MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX, 0.0)
        nowhere: Any = SimpleNamespace(connection_id="c", add_destination=lambda destination: None)
        self._places = Destinations(nowhere)
        self._wire.receive_data(stream.head, 0.0)
        self._wire.version = VERSIONS.get(stream.name.removeprefix("version "), Version.V1_2)
        self._wire.open()

    def feed(self, data: bytes) -> str:
        """See `Core`."""
        wire = self._wire
        for event in wire.receive_data(data, 0.0):
            if isinstance(event, StompViolation):
                return event.reason
            command, head, body, has_length = event
            try:
                headers = read_headers(head, wire.version)
                if command == b"SEND":
                    template = template_of(headers, has_length, self._places.resolve)
                    look_at(message_of(template, b"ID:1", 1, body, has_length))
                else:
                    wire.send_frame("MESSAGE", headers)
            except BrokerError as error:
                wire.send_error(str(error))
                return str(error)
        return ""

    def said(self) -> int:
        """See `Core`."""
        return len(self._wire.data_to_send())


class MqttCore:
    """Packets and identifiers, answered at once; messages, and the packets they would leave in."""

    def __init__(self, stream: Stream) -> None:
        self._wire = MqttConnection(ConnectionOptions(packet_bytes_max=MESSAGE_BYTES_MAX))
        self.feed(stream.head)

    def feed(self, data: bytes) -> str:
        """See `Core`."""
        for event in self._wire.receive_data(data, 0.0):
            if isinstance(event, MqttViolation | ClientSilent):
                return str(event)
            if isinstance(event, mqtt_packets.Disconnect):
                return "in good order"
            try:
                self._answer(event)
            except BrokerError:
                continue
        return ""

    def _answer(self, event: Any) -> None:
        wire = self._wire
        match event:
            case mqtt_packets.Publish():
                if event.qos == 1:
                    wire.send_puback(event.packet_id)
                elif event.qos:
                    wire.send_pubrec(event.packet_id)
                message = mqtt_translation.from_publish(event, "ID:1", 1)
                look_at(message)
                out = mqtt_translation.outgoing(message)
                if wire.send_quota:
                    wire.send_publish(out.topic, out.payload, 1, properties=out.properties)
            case mqtt_packets.Pubrel():
                wire.send_pubcomp(event.packet_id)
            case mqtt_packets.Pubrec():
                wire.send_pubrel(event.packet_id)
            case mqtt_packets.Subscribe():
                wire.send_suback(event.packet_id, [each.qos for each in event.subscriptions])
            case mqtt_packets.Unsubscribe():
                wire.send_unsuback(event.packet_id, [0] * len(event.filters))
            case mqtt_packets.Connect():
                if event.will is not None:
                    mqtt_translation.decode_will(mqtt_translation.encode_will(event.will))
                wire.accept(0.0)

    def said(self) -> int:
        """See `Core`."""
        return len(self._wire.data_to_send())


class AmqpCore:
    """The handshake, Proton's engine with links on which all is accepted, and messages."""

    def __init__(self, stream: Stream) -> None:
        self._handshake = Handshake([PLAIN])
        self._engine = ProtonConnection(FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, 0)
        self.feed(stream.head)

    def feed(self, data: bytes) -> str:
        """See `Core`."""
        handshake = self._handshake
        if not handshake.is_done:
            for asked in handshake.receive_data(data):
                if not isinstance(asked, LoginAsked):
                    return asked.reason
                handshake.accept()
            data = handshake.rest() if handshake.is_done else b""
        for events in self._engine.receive_data(data):
            for event in events:
                if end := self._take(event):
                    self._engine.close()
                    return end
        return ""

    def _take(self, event: amqp_events.Event) -> str:
        engine = self._engine
        match event:
            case amqp_events.Opened():
                engine.open("b", (), {})
            case amqp_events.Attached(link):
                if link.is_open:
                    engine.attach(link, link.source, link.target)
                    if not link.sends:
                        engine.flow(link, 100)
            case amqp_events.Flowed(link):
                if link.is_open and engine.credit(link) > 0:
                    engine.send(link, b"\0Sw\xa1\1x", 0, settled=link.presettled)
            case amqp_events.Transferred(link, delivery):
                if link.is_open:
                    read_amqp(event.content)
                    engine.settle(delivery, amqp_events.ACCEPTED)
            case amqp_events.Disposed(link, delivery):
                if link.is_open:
                    engine.remote_error(delivery)
                    engine.remote_values(delivery)
                    engine.settle(delivery)
            case amqp_events.Detached(link, closed):
                engine.answer_detach(link, closed=closed)
            case amqp_events.TooLong(link):
                engine.end_link(link, "amqp:link:message-size-exceeded", "too long")
            case amqp_events.Ended(session):
                engine.answer_end(session)
            case amqp_events.Closed():
                return "in good order"
            case amqp_events.Failed(reason):
                return reason or "failed"
        return ""

    def said(self) -> int:
        """See `Core`."""
        return len(self._handshake.data_to_send()) + len(self._engine.data_to_send())


def read_amqp(content: bytes) -> None:
    """A message, read and written again."""
    try:
        message = inbound.take(content, PLACE, 1, lambda: "ID:1")
        look_at(message)
        amqp_outgoing(message, 1, 1)
    except BrokerError:
        pass


class AmqpMessages:
    """Nothing but messages: what is in a transfer."""

    def __init__(self, stream: Stream) -> None:
        del stream

    def feed(self, data: bytes) -> str:
        """See `Core`."""
        read_amqp(data)
        return ""

    def said(self) -> int:
        """See `Core`."""
        return 0


class WrappedCore:
    """A server around another one that only listens."""

    def __init__(self, stream: Stream) -> None:
        makes: Any = dict.fromkeys(("openwire", "stomp", "mqtt", "amqp"), EchoServer)
        makes["ws"] = lambda *given: WebSocketServer(makes, *given)
        self._server = self._made(makes, context(), "tcp://h:1", 0.0, lambda: None)
        if stream.head:
            self.feed(stream.head)

    def _made(self, *given: Any) -> Any:
        return WebSocketServer(*given)

    def feed(self, data: bytes) -> str:
        """See `Core`."""
        self._server.receive_data(data, 0.0)
        return (self._server.close_reason or "in good order") if self._server.closing else ""

    def said(self) -> int:
        """See `Core`."""
        return len(self._server.data_to_send())


class AutoCore(WrappedCore):
    """One whose protocol is not known."""

    def _made(self, *given: Any) -> Any:
        return AutoServer(*given)


MakeCore = Callable[[Stream], Core]
CORES: dict[str, MakeCore] = {
    "amqp": lambda stream: AmqpMessages(stream) if stream.name == MESSAGES else AmqpCore(stream),
    "auto": AutoCore,
    "mqtt": MqttCore,
    "openwire": OpenWireCore,
    "stomp": StompCore,
    "ws": WrappedCore,
}
MESSAGES = "messages"
BODIES = ("text", {"a": [1, b"b"]}, [1, 2.5, None, True], b"bytes", 7)


# ---- the inputs


def frames(protocol: str, data: bytes) -> list[bytes]:
    """A stream's frames; where there are none, pieces."""
    ends = {"amqp": _sized(0), "openwire": _sized(4), "mqtt": _mqtt_end, "ws": _web_end}
    if protocol == "stomp":
        return [each + b"\0\n" for each in data.split(b"\0\n") if each]
    if protocol not in ends:
        return [data[at : at + 64] for at in range(0, len(data), 64)]
    return list(_walk(data, ends[protocol]))


def _walk(data: bytes, end_of: Callable[[bytes, int], int]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        end = max(end_of(data, at), at + 1)
        yield data[at:end]
        at = end


def _sized(more: int) -> Callable[[bytes, int], int]:
    return lambda data, at: at + int.from_bytes(data[at : at + 4], "big") + more


def _mqtt_end(data: bytes, at: int) -> int:
    length, shift, place = 0, 0, at + 1
    while True:
        length |= (data[place] & 0x7F) << shift
        shift += 7
        place += 1
        if data[place - 1] < 0x80:
            return place + length


def _web_end(data: bytes, at: int) -> int:
    size = data[at + 1] & 0x7F
    return at + 6 + size if size < 126 else at + 8 + int.from_bytes(data[at + 2 : at + 4], "big")


def streams(protocol: str) -> list[Stream]:
    """Where inputs come from."""
    honest = STREAMS[protocol]()
    if protocol == "auto":  # all is in the first bytes
        return [Stream(each.name, b"", each.data[:256]) for each in honest]
    if protocol == "amqp":
        honest.append(Stream(MESSAGES, b"", b""))
    return honest


class CoreFuzzer(Fuzzer):
    """See the module."""

    kind = "cores"
    block_inputs = 50_000

    def __init__(self, protocol: str, seed: int, folder: Path) -> None:
        super().__init__(protocol, seed, folder)
        self._make = CORES[protocol]
        self._streams = [(each, _units(protocol, each)) for each in streams(protocol)]

    def feed_block(self, chance: random.Random, seed: str) -> None:
        """See `Fuzzer`."""
        others = [unit for _, units in self._streams for unit in units]
        mutate = Mutator(seed, TOKENS[self.protocol], others).mutate
        pick, roll = chance.randrange, chance.random
        found, left = self.findings, self.block_inputs
        feeds_max = 1 if self.protocol == "auto" else FEEDS_MAX
        while left:
            stream, units = self._streams[pick(len(self._streams))]
            core, fed, end = self._begin(stream), [], ""
            for _ in range(min(feeds_max, left)):
                first = pick(len(units))
                data = units[first] if roll() < 0.6 else b"".join(units[first : first + 1 + pick(FRAMES_MAX)])
                if roll() >= HONEST:
                    data = mutate(data)
                left -= 1
                found.inputs += 1
                found.octets += len(data)
                fed.append(data)
                began_s = time.perf_counter()
                try:
                    end = core.feed(data)
                    check_answer(core.said(), len(data))
                    cost_s = time.perf_counter() - began_s
                    if cost_s > SLOW_S + SLOW_PER_BYTE_S * len(data):
                        cost_s = self._again(stream, fed)
                except Exception as error:
                    raise self._fault(error, stream, fed) from error
                if cost_s > found.slowest_s:
                    found.time(cost_s, len(data))
                if end:
                    break
            found.end(end)

    def _begin(self, stream: Stream) -> Core:
        core = self._make(stream)
        core.said()
        return core

    def _again(self, stream: Stream, fed: list[bytes]) -> float:
        """An input has taken long: what it costs when nothing else happens.

        Raises:
            FaultFound: as much.
        """
        cost_s = min(seconds_of_last(self._begin(stream), fed) for _ in range(3))
        if cost_s > SLOW_S + SLOW_PER_BYTE_S * len(fed[-1]):
            raise FaultFound(f"{len(fed[-1])} bytes cost {cost_s:.3f} s")
        return cost_s

    def _fault(self, error: Exception, stream: Stream, fed: list[bytes]) -> FaultFound:
        cuts = [len(stream.head)]
        for each in fed[:-1]:
            cuts.append(cuts[-1] + len(each))
        return self.keep(error, stream.name, stream.head + b"".join(fed), cuts, stream.properties)


def _units(protocol: str, stream: Stream) -> list[bytes]:
    if stream.name == MESSAGES:
        return [amqp_frames.message(each, colour="red", n=7) for each in BODIES]
    if protocol == "auto":
        return [stream.tail]
    return frames(protocol, stream.tail)


def seconds_of_last(core: Core, fed: list[bytes]) -> float:
    """Feed all; what the last one cost."""
    for each in fed[:-1]:
        core.feed(each)
        core.said()
    began_s = time.process_time()
    core.feed(fed[-1])
    core.said()
    return time.process_time() - began_s


def replay(protocol: str, data: bytes) -> None:
    """Feed one input again to each kind of core, whole and byte by byte."""
    for stream in streams(protocol):
        nothing = Stream(stream.name, b"", b"", stream.properties)
        for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
            core = CORES[protocol](nothing)
            began_s = time.process_time()
            for piece in pieces:
                if core.feed(piece):
                    break
            seconds = time.process_time() - began_s
            print(f"core, {stream.name}, {len(pieces)} pieces: {seconds * 1000:.1f} ms")

"""The broker's end of one MQTT connection, without its socket and without its session.

::

    waiting ─CONNECT─▶ connecting ─accept─▶ connected ─fault, silence, DISCONNECT, end─▶ closed
       │ fault, end          │ refuse, end                  disconnect                     ▲
       └─────────────────────┴─────────────────────────────────────────────────────────────┘

The client's packets are the events. PINGREQ is answered here and never one; neither is what repeats a packet
whose answer is known or on its way. Two events end a connection without the client's word:
:class:`ProtocolViolation` and :class:`ClientSilent`; then, and when the socket is gone, the owner publishes
the will.

What a client may have under way is known here (`broker.mqtt.inflight`), what outlives the connection is the
session's: the owner stores it, gives it back with `accept`, and answers only what is stored. Answers are
given in the order of what they answer [MQTT-4.6.0-2] to [MQTT-4.6.0-4].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Final

from broker.mqtt import codec, limits, reasons
from broker.mqtt.aliases import AliasesIn, AliasesOut
from broker.mqtt.errors import PacketInvalid
from broker.mqtt.events import ClientSilent, ConnectionOptions, Event, ProtocolViolation
from broker.mqtt.framing import Framing
from broker.mqtt.inflight import NEW, Incoming, Outgoing, Verdict
from broker.mqtt.packets import (
    NO_PROPERTIES,
    V3_1,
    V5,
    Auth,
    Connect,
    Disconnect,
    PacketType,
    Pingreq,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
)
from broker.mqtt.reasons import ReasonCode

TOO_LARGE: Final = -1
"""Returned for a message that is larger than the client takes."""


class State(Enum):
    """See the module's picture."""

    WAITING = 1
    CONNECTING = 2
    CONNECTED = 3
    CLOSED = 4


_SUBACK_BYTES_MAX: Final = 8
"""Bytes of a SUBACK or UNSUBACK besides its codes: type, length (up to 4), identifier, and no properties."""
_UNWANTED: Final = ReasonCode.PACKET_IDENTIFIER_IN_USE
_NOT_FOUND: Final = ReasonCode.PACKET_IDENTIFIER_NOT_FOUND


class Connection:
    """Packets, keep alive, aliases and identifiers of one connection.

    Attributes:
        state: see the module's picture.
        version: of MQTT; 0 until a CONNECT has said it.
        connect: the client's, once it has come.
        keep_alive_s: that holds; 0: none.
        client_packet_bytes_max: larger packets are not sent.

    Args:
        options: what this end takes.
    """

    __slots__ = (
        "_aliases_in",
        "_aliases_out",
        "_framing",
        "_goes_on",
        "_incoming",
        "_last_received_s",
        "_options",
        "_outgoing",
        "_to_send",
        "client_packet_bytes_max",
        "connect",
        "keep_alive_s",
        "state",
        "version",
    )

    def __init__(self, options: ConnectionOptions) -> None:
        self.state = State.WAITING
        self.version = 0
        self.connect: Connect | None = None
        self.keep_alive_s = 0
        self.client_packet_bytes_max = limits.LENGTH_MAX + 1 + limits.LENGTH_BYTES_MAX
        self._options = options
        self._framing = Framing(options.packet_bytes_max)
        self._to_send: list[bytes] = []
        self._last_received_s = 0.0
        self._goes_on = False
        self._incoming = Incoming()
        self._outgoing = Outgoing(0)
        self._aliases_in: AliasesIn | None = None
        self._aliases_out: AliasesOut | None = None

    # ---- what comes

    def receive_data(self, data: bytes, now_s: float) -> list[Event]:
        """Take what the client sent; the events are in its order.

        What follows a CONNECT is kept until that is accepted: the first call after `accept` gives its events,
        too, and may have no data.
        """
        if self.state is State.CLOSED:
            return []
        framing = self._framing
        packets = framing.receive(data)
        if self.state is State.WAITING:
            self.version = framing.version
        if packets or framing.has_progressed():
            self._last_received_s = now_s
        events: list[Event] = []
        take_publish = self._take_publish
        try:
            for packet in packets:
                event = (
                    take_publish(packet)
                    if packet.__class__ is Publish
                    else _TAKERS[packet.__class__](self, packet)
                )
                if event is not None:
                    events.append(event)
                    if event.__class__ is Disconnect:
                        return events
            if framing.error is not None:
                self._fail(framing.error, events)
        except PacketInvalid as error:
            self._fail(error, events)
        return events

    def receive_eof(self) -> list[Event]:
        """The client has closed its side."""
        if self.state is State.CLOSED:
            return []
        was_inside = self._framing.is_inside
        self.close()
        if not was_inside:
            return []
        return [ProtocolViolation("the connection ended inside a packet", "5.0 §2.1.4")]

    def _take_connect(self, connect: Connect) -> Connect | None:
        if self.state is not State.WAITING:  # [MQTT-3.1.0-2]
            raise PacketInvalid("a second CONNECT came", "5.0 §3.1", ReasonCode.PROTOCOL_ERROR)
        properties = connect.properties
        if properties.maximum_packet_size is not None:
            self.client_packet_bytes_max = properties.maximum_packet_size
        if properties.authentication_method is not None:  # [MQTT-4.12.0-1]
            raise PacketInvalid(
                f"the authentication method {properties.authentication_method[:100]!r} is not supported",
                "5.0 §4.12",
                ReasonCode.BAD_AUTHENTICATION_METHOD,
            )
        if properties.authentication_data is not None:
            raise PacketInvalid(
                "there is authentication data without a method", "5.0 §3.1.2.11.10", ReasonCode.PROTOCOL_ERROR
            )
        if not connect.client_id and not connect.clean_start and connect.version < V5:  # 3.1.1 [MQTT-3.1.3-8]
            raise PacketInvalid(
                "a session that is kept needs a client id",
                "3.1.1 §3.1.3.1",
                ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
            )
        self.connect = connect
        self.keep_alive_s = connect.keep_alive_s
        self.state = State.CONNECTING
        return connect

    def _take_publish(self, packet: Publish) -> Publish | None:
        if packet.properties.topic_alias is not None:
            if self._aliases_in is None:
                self._aliases_in = AliasesIn(self._options.topic_aliases_max)
            self._aliases_in.resolve(packet)
        if not packet.qos:
            return packet
        incoming = self._incoming
        verdict = incoming.publish(packet)
        if verdict is NEW:
            if incoming.unanswered > self._options.receive_maximum and self.version == V5:
                raise PacketInvalid(  # [MQTT-3.3.4-7], [MQTT-3.3.4-9]
                    f"more than {self._options.receive_maximum} messages are not acknowledged",
                    "5.0 §3.3.4",
                    ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
                )
            return packet
        if verdict is Verdict.AGAIN:
            self._send(codec.write_ack(PacketType.PUBREC, packet.packet_id))
        elif verdict is Verdict.IN_USE:
            kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
            self._refuse_id(kind, packet.packet_id)
        return None

    def _refuse_id(self, kind: PacketType, packet_id: int) -> None:
        if self.version < V5:
            raise PacketInvalid(f"the packet identifier {packet_id} is in use", "3.1.1 §2.3.1")
        self._send(codec.write_ack(kind, packet_id, _UNWANTED))

    def _take_puback(self, packet: Puback) -> Puback | None:
        return packet if self._outgoing.acknowledge(packet.packet_id) is NEW else None

    def _take_pubrec(self, packet: Pubrec) -> Pubrec | None:
        verdict = self._outgoing.record(packet.packet_id, packet.reason_code)
        if verdict is NEW:
            return packet
        if verdict is Verdict.AGAIN:
            self._send(codec.write_ack(PacketType.PUBREL, packet.packet_id))
        elif verdict is Verdict.UNKNOWN and packet.reason_code < reasons.FAILURE:
            code = _NOT_FOUND if self.version == V5 else 0
            self._send(codec.write_ack(PacketType.PUBREL, packet.packet_id, code))
        return None

    def _take_pubrel(self, packet: Pubrel) -> Pubrel | None:
        verdict = self._incoming.release(packet.packet_id)
        if verdict is NEW:
            return packet
        if verdict is Verdict.UNKNOWN:
            # In a session that goes on the answer may have been lost; MQTT.js takes the code for a failure.
            code = _NOT_FOUND if self.version == V5 and not self._goes_on else 0
            self._send(codec.write_ack(PacketType.PUBCOMP, packet.packet_id, code))
        return None

    def _take_pubcomp(self, packet: Pubcomp) -> Pubcomp | None:
        return packet if self._outgoing.complete(packet.packet_id) is NEW else None

    def _take_subscribe(self, packet: Subscribe) -> Subscribe | None:
        self._check_answer(len(packet.subscriptions))
        if self._incoming.ask(packet.packet_id) is NEW:
            return packet
        self._refuse_request(PacketType.SUBACK, packet.packet_id, len(packet.subscriptions))
        return None

    def _take_unsubscribe(self, packet: Unsubscribe) -> Unsubscribe | None:
        self._check_answer(len(packet.filters))
        if self._incoming.ask(packet.packet_id) is NEW:
            return packet
        self._refuse_request(PacketType.UNSUBACK, packet.packet_id, len(packet.filters))
        return None

    def _check_answer(self, count: int) -> None:
        """What cannot be answered is not carried out."""
        if count + _SUBACK_BYTES_MAX > self.client_packet_bytes_max:  # [MQTT-3.1.2-24]
            raise PacketInvalid(
                f"the answer to {count} topic filters is larger than the client takes",
                "5.0 §3.1.2.11.4",
                ReasonCode.PACKET_TOO_LARGE,
            )

    def _refuse_request(self, kind: PacketType, packet_id: int, count: int) -> None:
        if self.version < V5:
            raise PacketInvalid(f"the packet identifier {packet_id} is in use", "3.1.1 §2.3.1")
        self._send(codec.write_suback(kind, packet_id, [_UNWANTED] * count, NO_PROPERTIES))

    def _take_pingreq(self, packet: Pingreq) -> None:
        del packet
        self._send(codec.PINGRESP)  # [MQTT-3.12.4-1]

    def _take_disconnect(self, packet: Disconnect) -> Disconnect:
        assert self.connect is not None
        if packet.properties.session_expiry_s and not self.connect.properties.session_expiry_s:
            raise PacketInvalid(
                "a DISCONNECT keeps a session that was to end with the connection",
                "5.0 §3.14.2.2.2",
                ReasonCode.PROTOCOL_ERROR,
            )
        self.close()
        return packet

    def _take_auth(self, packet: Auth) -> None:
        del packet
        raise PacketInvalid(  # [MQTT-4.12.0-6]
            "an AUTH came without an authentication method", "5.0 §4.12", ReasonCode.PROTOCOL_ERROR
        )

    # ---- the end

    def _fail(self, error: PacketInvalid, events: list[Event]) -> None:
        """The client's fault: it is told, and heard no more."""
        reason = str(error)
        if self.state is State.CONNECTED:
            self.disconnect(error.code, reason)
        else:
            self.refuse(error.code, reason)
        events.append(ProtocolViolation(reason, error.source, error.code))

    def close(self) -> None:
        """Ignore what the client still sends; what is to be sent stays."""
        self.state = State.CLOSED

    def refuse(self, code: ReasonCode, reason: str = "", *, server_reference: str | None = None) -> None:
        """Answer a CONNECT with what is wrong, and close.

        A client older than 5.0 gets the return code that is nearest, or no answer if there is none.
        """
        if self.state is State.CLOSED:
            return
        if self.version == V5:
            said = code if code in reasons.OF_CONNACK else ReasonCode.SERVER_UNAVAILABLE  # [MQTT-3.2.2-8]
            properties = self._told(reason, server_reference)
            self._send_bounded(lambda told: codec.write_connack(False, said, told), properties)
        elif code in reasons.RETURN_CODES and (
            self.version or code == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
        ):
            self._send(codec.write_connack(False, reasons.RETURN_CODES[code], None))
        self.close()

    def disconnect(self, code: ReasonCode, reason: str = "", *, server_reference: str | None = None) -> None:
        """End the connection; a client of 5.0 is told why."""
        if self.state is State.CONNECTED and self.version == V5:
            assert code in reasons.OF_SERVER_DISCONNECT
            properties = self._told(reason, server_reference)
            self._send_bounded(lambda told: codec.write_disconnect(code, told), properties)
        self.close()

    def _told(self, reason: str, server_reference: str | None = None) -> Properties:
        if not reason and server_reference is None:
            return NO_PROPERTIES
        return Properties(reason_string=reason or None, server_reference=server_reference)

    def _send_bounded(self, write: Callable[[Properties], bytes], properties: Properties) -> bool:
        """Send a packet, without its explanations if these make it larger than the client takes.

        Returns:
            Whether it was small enough, at least so.
        """
        data = write(properties)
        if len(data) > self.client_packet_bytes_max:  # [MQTT-3.2.2-19], [MQTT-3.2.2-20]
            data = write(replace(properties, reason_string=None, user=()))
        if len(data) > self.client_packet_bytes_max:  # [MQTT-3.1.2-24]
            return False
        self._send(data)
        return True

    # ---- time

    @property
    def deadline_s(self) -> float | None:
        """When `handle_deadline` must be called, seconds on the clock of `receive_data`; None: never."""
        if self.state is not State.CONNECTED or not self.keep_alive_s:
            return None
        return self._last_received_s + 1.5 * self.keep_alive_s

    def excuse(self, now_s: float) -> None:
        """The client was not read from, so that its silence says nothing."""
        self._last_received_s = now_s

    def handle_deadline(self, now_s: float) -> list[Event]:
        """Tell whether the client was silent for too long."""
        deadline_s = self.deadline_s
        if deadline_s is None or now_s < deadline_s:
            return []
        reason = f"the client was silent for more than {1.5 * self.keep_alive_s:g} s"  # [MQTT-3.1.2-22]
        self.disconnect(ReasonCode.KEEP_ALIVE_TIMEOUT, reason)
        return [ClientSilent(reason)]

    # ---- what is sent

    def data_to_send(self) -> bytes:
        """Take all bytes to be written."""
        to_send = self._to_send
        if not to_send:
            return b""
        data = to_send[0] if len(to_send) == 1 else b"".join(to_send)
        to_send.clear()
        return data

    def _send(self, data: bytes) -> None:
        if self.state is not State.CLOSED:  # [MQTT-3.14.4-1]
            self._to_send.append(data)

    def accept(
        self,
        now_s: float,
        *,
        session_present: bool = False,
        properties: Properties = NO_PROPERTIES,
        received: Iterable[int] = (),
        sent: Iterable[int] = (),
    ) -> bool:
        """Accept a CONNECT.

        Args:
            now_s: the time.
            session_present: an earlier session goes on.
            properties: for a client of 5.0: what the owner has to say (`session_expiry_s` if it is another
                than the client's, `assigned_client_id`, …); what this end takes is added here.
            received: of an earlier session: identifiers of messages of QoS 2 that were received and not
                released; a PUBLISH with such an identifier is a repetition.
            sent: of an earlier session: identifiers that are not to be used for other messages. The owner
                sends them again with `send_publish` and `send_pubrel`, in their old order [MQTT-4.6.0-1].

        Returns:
            Whether the connection is open: not if it was closed before, or if the client takes no packet that
            is as large as the answer.
        """
        if self.state is State.CLOSED:
            return False
        assert self.state is State.CONNECTING
        assert self.connect is not None
        wanted = self.connect.properties
        options = self._options
        if self.version < V5:
            # 3.1 has no flag for a present session. Source: MQTT 3.1 §3.2
            self._send(codec.write_connack(session_present and self.version > V3_1, 0, None))
        elif not self._send_bounded(
            lambda told: codec.write_connack(session_present, 0, told), self._terms(properties)
        ):
            self.close()
            return False
        aliases_max = min(wanted.topic_alias_maximum or 0, options.topic_aliases_max)
        if aliases_max:
            self._aliases_out = AliasesOut(aliases_max, self.client_packet_bytes_max)
        self._goes_on = session_present
        self._incoming = Incoming(received)
        send_maximum = min(wanted.receive_maximum or limits.PACKET_IDS_MAX, options.send_maximum)
        self._outgoing = Outgoing(send_maximum, sent)
        self._framing.go_on()
        self._last_received_s = now_s
        self.state = State.CONNECTED
        return True

    def _terms(self, properties: Properties) -> Properties:
        """What holds for a connection of 5.0, besides what the owner says."""
        options = self._options
        if options.keep_alive_s_max and not 0 < self.keep_alive_s <= options.keep_alive_s_max:
            self.keep_alive_s = options.keep_alive_s_max
            properties = replace(properties, server_keep_alive_s=self.keep_alive_s)
        return replace(
            properties,
            receive_maximum=options.receive_maximum,
            maximum_packet_size=options.packet_bytes_max,
            topic_alias_maximum=options.topic_aliases_max or None,
        )

    @property
    def send_quota(self) -> int:
        """Messages of QoS 1 and 2 that the client takes now; its answers to others add to it."""
        return self._outgoing.quota

    def next_packet_id(self) -> int:
        """An identifier for `send_publish` that is not in use, for owners that store it before they send."""
        return self._outgoing.next_id()

    def send_publish(
        self,
        topic: bytes,
        payload: bytes,
        qos: int = 0,
        *,
        retain: bool = False,
        dup: bool = False,
        packet_id: int = 0,
        properties: bytes = b"",
    ) -> int:
        """Send a message; with QoS 1 or 2 only while `send_quota` is above 0. Ignored once closed.

        Args:
            topic: its name, UTF-8.
            payload: any bytes.
            qos: 0 to 2.
            retain: the retain flag.
            dup: it may have been sent before.
            packet_id: with QoS 1 and 2: that it had, or is to have; 0: a new one.
            properties: for a client of 5.0: written by `broker.mqtt.property_codec.write_properties`,
                without a topic alias, which is added here. Others do not get them.

        Returns:
            The packet identifier, 0 with QoS 0. `TOO_LARGE`: the message is larger than the client takes; it
            was not sent, and counts as if it had been sent and acknowledged [MQTT-3.1.2-25].
        """
        if self.state is not State.CONNECTED:
            return packet_id
        first = 0x30 | qos << 1 | retain | dup << 3
        if qos and not packet_id:
            packet_id = self._outgoing.next_id()
        if self.version == V5:
            frame = self._write_publish(first, topic, packet_id, payload, properties)
            if frame is None:
                self._outgoing.forget(packet_id)
                return TOO_LARGE
        else:
            frame = codec.write_publish(first, topic, packet_id, payload)
        if qos:
            self._outgoing.publish(packet_id, qos)
        self._to_send.append(frame)
        return packet_id

    def _write_publish(
        self, first: int, topic: bytes, packet_id: int, payload: bytes, properties: bytes
    ) -> bytes | None:
        """A PUBLISH of 5.0; None: too large."""
        aliases = self._aliases_out
        if aliases is None:
            frame = codec.write_publish(first, topic, packet_id, payload, properties)
        else:
            frame = aliases.write(first, topic, packet_id, payload, properties)
        return frame if len(frame) <= self.client_packet_bytes_max else None

    def send_puback(self, packet_id: int, code: int = 0, reason: str = "") -> None:
        """Answer a `Publish` of QoS 1; its identifier is free. Older clients are told nothing but that."""
        self._incoming.acknowledge(packet_id)
        if code:
            self._send_ack(PacketType.PUBACK, packet_id, code, reason)
        else:
            self._send(codec.write_puback(packet_id))

    def send_pubrec(self, packet_id: int, code: int = 0, reason: str = "") -> None:
        """Answer a `Publish` of QoS 2; with a `code` from 0x80 it is refused and forgotten, in 5.0."""
        if self.version < V5:
            code = 0
        self._incoming.record(packet_id, code)
        self._send_ack(PacketType.PUBREC, packet_id, code, reason)

    def send_pubrel(self, packet_id: int) -> None:
        """Go on after a `Pubrec`, or with what an earlier connection has not finished."""
        self._outgoing.release(packet_id)
        self._send(codec.write_ack(PacketType.PUBREL, packet_id))

    def send_pubcomp(self, packet_id: int) -> None:
        """Answer a `Pubrel`; its identifier is free."""
        self._incoming.complete(packet_id)
        self._send(codec.write_ack(PacketType.PUBCOMP, packet_id))

    def forget_sent(self, packet_id: int) -> None:
        """Free an identifier: of a message of QoS 2, or of one of an earlier connection."""
        self._outgoing.forget(packet_id)

    def send_suback(self, packet_id: int, codes: Sequence[int], reason: str = "") -> None:
        """Answer a `Subscribe`, with one code per filter."""
        self._incoming.answer(packet_id)
        self._answer_request(PacketType.SUBACK, packet_id, codes, reason)

    def send_unsuback(self, packet_id: int, codes: Sequence[int], reason: str = "") -> None:
        """Answer an `Unsubscribe`, with one code per filter; older clients are not told the codes."""
        self._incoming.answer(packet_id)
        self._answer_request(PacketType.UNSUBACK, packet_id, codes, reason)

    def _answer_request(self, kind: PacketType, packet_id: int, codes: Sequence[int], reason: str) -> None:
        if self.version == V5:
            known = reasons.OF_SUBSCRIBE if kind == PacketType.SUBACK else reasons.OF_UNSUBSCRIBE
            assert known.issuperset(codes)
            properties = self._explained(reason)
            self._send_bounded(lambda told: codec.write_suback(kind, packet_id, codes, told), properties)
        elif kind == PacketType.SUBACK:
            codes = [min(code, reasons.FAILURE) for code in codes]
            self._send(codec.write_suback(kind, packet_id, codes, None))
        else:
            self._send(codec.write_suback(kind, packet_id, (), None))

    def _send_ack(self, kind: PacketType, packet_id: int, code: int, reason: str) -> None:
        if not code or self.version < V5:
            self._send(codec.write_ack(kind, packet_id))
            return
        assert code in reasons.OF_PUBLISH
        properties = self._explained(reason)
        self._send_bounded(lambda told: codec.write_ack(kind, packet_id, code, told), properties)

    def _explained(self, reason: str) -> Properties:
        """For people, if the client wants that [MQTT-3.1.2-29]."""
        assert self.connect is not None
        if self.connect.properties.request_problem_information == 0:
            return NO_PROPERTIES
        return self._told(reason)


_TAKERS: Final[dict[type, Callable[..., Event | None]]] = {
    Connect: Connection._take_connect,
    Puback: Connection._take_puback,
    Pubrec: Connection._take_pubrec,
    Pubrel: Connection._take_pubrel,
    Pubcomp: Connection._take_pubcomp,
    Subscribe: Connection._take_subscribe,
    Unsubscribe: Connection._take_unsubscribe,
    Pingreq: Connection._take_pingreq,
    Disconnect: Connection._take_disconnect,
    Auth: Connection._take_auth,
}

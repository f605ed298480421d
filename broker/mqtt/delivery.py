"""What a client of MQTT is sent: messages of its subscriptions, by their QoS, and what it answers.

::

    QoS 1   dispatch ─PUBLISH─▶ … ─PUBACK─▶ acknowledged
    QoS 2   dispatch ─stored─PUBLISH─▶ … ─PUBREC─▶ acknowledged and stored ─PUBREL─▶ … ─PUBCOMP─▶ free

With QoS 2 the packet identifier is stored before it is used, so that a new master repeats the exchange with
the same one: a client that has the message already knows it by that. With QoS 1 it is repeated with the same
identifier by the same master, and with another by the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.mqtt.connection import TOO_LARGE
from broker.mqtt.packets import V5, Puback, Pubcomp, Pubrec
from broker.mqtt.reasons import FAILURE
from broker.mqtt.sessions import SENT, Sent, Session
from broker.mqtt.translation import Outgoing, expiry_property, outgoing, subscription_property
from broker.region.consumer import AckKind
from broker.region.riders import in_one_append
from journal.record import Record

if TYPE_CHECKING:
    from broker.message import Message
    from broker.mqtt.connection import Connection
    from broker.mqtt.sessions import Subscribed
    from broker.region.connection import RegionConnection

_INDIVIDUAL: Final = AckKind.INDIVIDUAL


class _Waiting(NamedTuple):
    """A message for which the client has no room."""

    subscribed: Subscribed
    ref: int
    out: Outgoing
    qos: int
    expiration: int
    again: bool


class Delivery:
    """The messages that one connection sends.

    Args:
        wire: writes them.
        region_connection: gets them.
        session: whose.
        reply: does something when a batch is durable.
    """

    def __init__(
        self,
        wire: Connection,
        region_connection: RegionConnection,
        session: Session,
        reply: Callable[[int, Callable[[], None]], None],
    ) -> None:
        self._wire = wire
        self._region_connection = region_connection
        self._region = region_connection.region
        self._session = session
        self._reply = reply
        self._is_v5 = wire.version == V5
        self._inflight: dict[int, Sent] = {}
        self._waiting: deque[_Waiting] | None = None  # an empty one takes 760 bytes of each connection
        self._unsent = 0
        """Messages of QoS 2 whose identifiers are being stored."""
        self._former = {
            (sent.name, sent.ref): packet_id for packet_id, sent in session.sent.items() if sent.ref
        }

    # ---- an earlier connection

    def go_on(self) -> None:
        """Go on with what an earlier connection has not finished; its messages come again by themselves."""
        for packet_id, sent in list(self._session.sent.items()):
            if sent.ref and self._waits(sent):
                continue
            if sent.ref:
                del self._former[sent.name, sent.ref]
            if sent.qos == 2:  # the message is gone: the client may forget the identifier
                self._session.sent[packet_id] = Sent("", 0, 2)
                self._wire.send_pubrel(packet_id)
            else:
                del self._session.sent[packet_id]
                self._wire.forget_sent(packet_id)

    def _waits(self, sent: Sent) -> bool:
        """Whether a message still waits for this client."""
        key = self._session.client_id, sent.name
        subscription = self._region.store.state.subscriptions.get(key)
        return subscription is not None and sent.ref in subscription.pending

    def end(self) -> None:
        """The connection is over: what it has not finished is the session's."""
        sent = self._session.sent
        if self._session.expiry_s:
            sent.update(self._inflight)
        else:
            sent.clear()

    # ---- messages

    def dispatch(self, subscribed: Subscribed, message: Message, ref: int, again: bool) -> None:
        """Send a message, or keep it until the client has room."""
        out = outgoing(message)
        topic = out.topic
        if not topic or (topic[0] == 0x24 and subscribed.filter[0] in "+#"):  # "$" [MQTT-4.7.2-1]
            self._done(subscribed.filter, ref)
            return
        qos = min(out.qos, subscribed.qos)
        if qos and (self._waiting or self._wire.send_quota <= self._unsent):
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(_Waiting(subscribed, ref, out, qos, message.expiration, again))
        else:
            self._send(subscribed, ref, out, qos, message.expiration, again)

    def _send(  # noqa: PLR0917 - the hot path
        self, subscribed: Subscribed, ref: int, out: Outgoing, qos: int, expiration: int, again: bool
    ) -> None:
        filter_ = subscribed.filter
        retain = out.retained or (subscribed.retain_as_published and out.retain)
        properties = out.properties if self._is_v5 else b""
        if self._is_v5:
            if expiration:
                properties += expiry_property(expiration, self._region.now_ms)
            if subscribed.id:
                properties += subscription_property(subscribed.id)
        send = self._wire.send_publish
        if not qos:
            send(out.topic, out.payload, retain=retain, properties=properties)
            self._done(filter_, ref)
            return
        known = self._former.pop((subscribed.name, ref), 0) if self._former else 0
        if qos == 1 or known or not (subscribed.name and self._session.expiry_s):
            packet_id = send(
                out.topic,
                out.payload,
                qos,
                retain=retain,
                dup=again or bool(known),
                packet_id=known,
                properties=properties,
            )
            if known:
                self._session.sent.pop(known, None)
            if packet_id == TOO_LARGE:
                self._done(filter_, ref)
            else:
                self._inflight[packet_id] = Sent(subscribed.name, ref, qos, filter_)
            return
        packet_id = self._wire.next_packet_id()
        sent = self._inflight[packet_id] = Sent(subscribed.name, ref, qos, filter_)
        self._unsent += 1

        def send_now() -> None:
            self._unsent -= 1
            if packet_id not in self._inflight:
                return
            if (
                send(
                    out.topic,
                    out.payload,
                    2,
                    retain=retain,
                    dup=again,
                    packet_id=packet_id,
                    properties=properties,
                )
                == TOO_LARGE
            ):
                del self._inflight[packet_id]
                self._region.append((self._session.note(f"{SENT}{packet_id}"),))
                self._done(filter_, ref)

        batch = self._region.append((self._session.note(f"{SENT}{packet_id}", sent.encode()),))
        self._reply(batch, send_now)

    def _done(self, filter_: str, ref: int) -> int:
        return self._region_connection.acknowledge(filter_, _INDIVIDUAL, ref, ref)

    def _send_waiting(self) -> None:
        waiting = self._waiting
        while waiting and self._wire.send_quota > self._unsent:
            self._send(*waiting.popleft())

    def forget(self, filter_: str) -> None:
        """A subscription is over: what waits for room is not sent any more."""
        if self._waiting:
            self._waiting = deque(each for each in self._waiting if each.subscribed.filter != filter_)

    # ---- answers

    def gather(self, packet: Puback) -> None:
        """A message of QoS 1 has arrived, or is refused, which is its end, too; `finish_gathered` follows."""
        sent = self._inflight.pop(packet.packet_id, None)
        if sent is not None:
            self._region_connection.gather(sent.filter, sent.ref, cumulative=False)
        else:
            self._session.sent.pop(packet.packet_id, None)

    def finish_gathered(self) -> None:
        """What was acknowledged is done with, and there is room for more."""
        self._region_connection.finish_gathered()
        if self._waiting:
            self._send_waiting()

    def take_pubrec(self, packet: Pubrec) -> None:
        """A message of QoS 2 has arrived; or is refused, which is its end."""
        packet_id, session = packet.packet_id, self._session
        sent = self._inflight.pop(packet_id, None)
        refused = packet.reason_code >= FAILURE
        former = session.sent.get(packet_id) if sent is None else None
        stored = bool(session.expiry_s)
        records: list[Record] = []
        if stored:
            value = b"" if refused else Sent("", 0, 2).encode()
            records.append(session.note(f"{SENT}{packet_id}", value))
        if former is not None and former.ref:  # before it was sent again: it waits, and is not dispatched
            self._former.pop((former.name, former.ref), None)
            records += self._withdraw(former)
        if sent is not None:
            batch = in_one_append(self._region, records, lambda: self._done(sent.filter, sent.ref))
        else:
            batch = self._region.append(records) if records else 0
        if refused:
            session.sent.pop(packet_id, None)
            self._reply(batch, lambda: self._wire.forget_sent(packet_id))
            self._send_waiting()
            return
        session.sent[packet_id] = Sent("", 0, 2)
        self._reply(batch, lambda: self._wire.send_pubrel(packet_id))

    def _withdraw(self, sent: Sent) -> list[Record]:
        """A message that waits is done with."""
        subscription = self._region.subscriptions.durable.get((self._session.client_id, sent.name))
        if subscription is None:
            return []
        entries = subscription.waiting_among([sent.ref])
        subscription.withdraw(entries)
        records: list[Record] = []
        subscription.consumed(entries, records)
        return records

    def take_pubcomp(self, packet: Pubcomp) -> None:
        """The client has done its part for a message of QoS 2."""
        packet_id = packet.packet_id
        if self._session.sent.pop(packet_id, None) is not None and self._session.expiry_s:
            self._region.append((self._session.note(f"{SENT}{packet_id}"),))
        self._wire.forget_sent(packet_id)
        if self._waiting:
            self._send_waiting()

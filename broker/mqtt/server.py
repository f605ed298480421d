"""The broker's side of one MQTT connection, without its socket.

::

    waiting ─CONNECT─▶ logging in ─accepted, session stored─▶ connected ─DISCONNECT, fault, silence─▶ closing
                            │ refused                              │ another connection of its id        ▲
                            └──────────────────────────────────────┴────────────────────────────────────┘

Packets, keep alive and identifiers are :mod:`broker.mqtt.connection`'s, what outlives the connection
:mod:`broker.mqtt.sessions`', what the client is sent :mod:`broker.mqtt.delivery`'s. PUBACK, PUBREC, PUBREL
and PUBCOMP wait here for the journal.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Never

from broker.authorization import Permission
from broker.destination import is_storable
from broker.errors import AccessDenied, ClientError, InvalidDestination, ResourceExhausted, SendBlocked
from broker.mqtt import translation
from broker.mqtt.connection import Connection, State
from broker.mqtt.delivery import Delivery
from broker.mqtt.events import ClientSilent, ConnectionOptions, Event, ProtocolViolation
from broker.mqtt.packets import (
    NO_PROPERTIES,
    V5,
    Connect,
    Disconnect,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Subscription,
    Unsubscribe,
)
from broker.mqtt.reasons import ReasonCode
from broker.mqtt.sessions import FOR_EVER_S, RECEIVED, Session, Sessions, Subscribed
from broker.mqtt.system import SYSTEM, SystemTopics
from broker.mqtt.topics import SHARE, split_share
from broker.naming import new_connection_id
from broker.region.consumer import DURABLE_TOPIC_PREFETCH, TOPIC_PREFETCH, ConsumerOptions
from broker.region.riders import in_one_append
from broker.serving import ServerContext, ServerSide

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.consumer import Consumer
    from journal.record import Record

Answer = int | Callable[[], None]
"""What waits for a batch: the PUBACK of a packet identifier, or anything."""

_log: Final = logging.getLogger("broker.mqtt")
_SILENT: Final = frozenset({"", "the client left"})


class MqttServer(ServerSide[Answer, Never]):
    """Serves one client.

    Args:
        context: see `ServerContext`.
        remote: the client's address, for the log.
        now_s: monotonic seconds.
        wake: called when there is something to send that no call of the owner's brought about.
    """

    def __init__(self, context: ServerContext, remote: str, now_s: float, wake: Callable[[], None]) -> None:
        super().__init__(context, remote, wake)
        config = context.config
        self._wire = Connection(ConnectionOptions(packet_bytes_max=config.frame_bytes_max))
        self._now_s = now_s
        self._sessions = Sessions.of(context.region)
        self._system = SystemTopics.of(context.region)
        self._session: Session | None = None
        self._delivery: Delivery | None = None
        self._is_accepting = False
        self._wants_will = True
        self._expiry_s: int | None = None
        self._id_prefix = ""
        self._sequence = 0
        self._subscriptions: dict[str, Subscribed] = {}
        self.system_filters: dict[str, Subscribed] = {}

    # ---- the socket's owner

    @property
    def reading_paused(self) -> bool:
        """What arrives would only be kept."""
        return self._is_accepting or super().reading_paused

    @property
    def deadline_s(self) -> float | None:
        """When :meth:`handle_deadline` must be called, monotonic seconds."""
        return None if self.closing else self._wire.deadline_s

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Takes what arrived."""
        if self.closing:
            return
        self._now_s = now_s
        self._take_all(self._wire.receive_data(data, now_s))

    def receive_eof(self) -> None:
        """The client sends no more."""
        self._take_all(self._wire.receive_eof())
        if not self.closing:
            self.close("")

    def resume(self) -> None:
        """The login is decided; what came meanwhile waits until the session is stored, too."""

    def let_go(self, answer: Answer) -> None:
        """Sends an answer that had to wait."""
        if isinstance(answer, int):
            self._wire.send_puback(answer)
        else:
            answer()

    def data_to_send(self) -> bytes:
        """Takes all bytes to be written."""
        return self._wire.data_to_send()

    def handle_deadline(self, now_s: float) -> None:
        """Gives a silent client up; one that is not read from cannot be heard."""
        if self.reading_paused:
            self._wire.excuse(now_s)
        self._take_all(self._wire.handle_deadline(now_s))

    def last_words(self, reason: str) -> bytes:
        """Says that the broker ends."""
        if self.closing:
            return b""
        self._wire.disconnect(ReasonCode.SERVER_SHUTTING_DOWN, reason)
        return self._wire.data_to_send()

    def ended(self) -> None:
        """What the session needs to know of the connection's end."""
        self._system.forget(self)
        if self._delivery is not None:
            self._delivery.end()
        if self._session is not None:
            self._sessions.lost(self._session, self, wants_will=self._wants_will, expiry_s=self._expiry_s)

    # ---- the region

    def dispatch(self, consumer: Consumer, message: Message, ref: int, redelivery_counter: int) -> None:
        """Sends a message to a subscription."""
        assert self._delivery is not None
        filter_ = consumer.key
        assert isinstance(filter_, str)
        self._delivery.dispatch(self._subscriptions[filter_], message, ref, redelivery_counter > 0)

    def dispatch_none(self, consumer: Consumer) -> None:
        """Nobody browses or pulls here."""

    def set_prefetch(self, consumer: Consumer, prefetch_size: int) -> None:
        """The client has its receive maximum."""

    def close_consumer(self, consumer: Consumer) -> None:
        """A subscription is closed since it was too slow: the client has no other way to hear of it."""
        self._end(ReasonCode.QUOTA_EXCEEDED, f"the subscription {consumer.key} was too slow")

    def disconnect(self, reason: str) -> None:
        """Ends the connection for the region's reasons."""
        self._end(ReasonCode.ADMINISTRATIVE_ACTION, reason)

    # ---- sessions

    def take_over(self) -> None:
        """Another connection of the same client id has come."""
        self._end(ReasonCode.SESSION_TAKEN_OVER, "another connection with the same client id came")

    def _end(self, code: ReasonCode, reason: str) -> None:
        if not self.closing:
            self._wire.disconnect(code, reason)
            self.close(reason)
            self.wake()

    # ---- events

    def _take_all(self, events: list[Event]) -> None:
        gathering: Delivery | None = None
        for event in events:
            if isinstance(event, Puback):
                gathering = self._delivery
                assert gathering is not None
                gathering.gather(event)
                continue
            if gathering is not None:
                gathering.finish_gathered()
                gathering = None
            if isinstance(event, Publish):
                self._publish(event)
            else:
                _TAKERS[event.__class__](self, event)
            if self.closing:
                return
        if gathering is not None:
            gathering.finish_gathered()

    def _take_violation(self, event: ProtocolViolation) -> None:
        self.close(str(event))

    def _take_silence(self, event: ClientSilent) -> None:
        self.close(str(event))

    def _take_disconnect(self, event: Disconnect) -> None:
        self._wants_will = event.reason_code != ReasonCode.SUCCESS
        self._expiry_s = event.properties.session_expiry_s
        self.close("")

    def _reply(self, batch: int, answer: Answer) -> None:
        """Answer when a batch is durable, and behind what was to be answered before."""
        held = self.held
        if held:
            held.append((max(batch, held[-1][0]), answer))
        elif batch > self.region.durable_batch:
            held.append((batch, answer))
        else:
            self.let_go(answer)

    # ---- CONNECT

    def _take_connect(self, connect: Connect) -> None:
        password = connect.password
        self._is_accepting = True

        def decided(verdict: ClientError | None) -> None:
            try:
                if verdict is not None:
                    raise verdict
                self._open(connect)
            except ClientError as error:
                self._is_accepting = False
                code = _connect_code(error)
                if code == ReasonCode.NOT_AUTHORIZED and connect.user_name:
                    code = ReasonCode.BAD_USER_NAME_OR_PASSWORD
                self._wire.refuse(code, str(error))
                self.close(str(error))

        text = None if password is None else password.decode("utf-8", "replace")
        self.log_in(connect.user_name, text, decided)

    def _open(self, connect: Connect) -> None:
        """The client is who it says: it gets its session."""
        region, user = self.region, self.user
        if connect.will is not None:
            region.permit(user, Permission.WRITE, translation.destination_of(connect.will.topic))
        client_id = connect.client_id or f"{self.context.broker_name}-{uuid.uuid4().hex}"
        if not is_storable(client_id):
            raise _ClientIdInvalid("The client id is too long.")
        properties = connect.properties
        if connect.version == V5:
            expiry_s = properties.session_expiry_s or 0
        else:
            expiry_s = 0 if connect.clean_start else FOR_EVER_S
        former = self._sessions.by_id.get(client_id)
        if former is not None and former.server is not None:
            former.server.take_over()
        holder = region.client_ids.get(client_id)
        if holder is not None:  # source: ActiveMQ, whose MQTT connectors have `allowLinkStealing`
            holder.close()
            holder.client.disconnect("another connection with the same client id came")
        connection_id = new_connection_id(self.context.broker_id)
        self._id_prefix = f"{connection_id}:-1:1:"
        self.connection = region.connect(self, connection_id, client_id, user=user, remote=self.remote)
        session, is_present, batch = self._sessions.resume(
            client_id, expiry_s, connect.will, self, clean_start=connect.clean_start
        )
        self._session = session
        told = NO_PROPERTIES if connect.client_id else Properties(assigned_client_id=client_id)
        self._reply(batch, lambda: self._accept(session, told, is_present=is_present))

    def _accept(self, session: Session, told: Properties, *, is_present: bool) -> None:
        """The session is stored: the client is told, and served."""
        connection = self.connection
        assert connection is not None
        self._is_accepting = False
        wire = self._wire
        if not wire.accept(
            self._now_s,
            session_present=is_present,
            properties=told,
            received=session.received,
            sent=session.sent,
        ):
            self.close("the client takes no packet as large as its CONNACK")
            self.wake()
            return
        self._delivery = delivery = Delivery(wire, connection, session, self._reply)
        delivery.go_on()
        for subscribed in list(session.subscriptions.values()):
            try:
                self._attach(session, subscribed)
            except ClientError as error:
                _log.warning(
                    "%s: subscription %s: %s",
                    self.remote,
                    subscribed.filter,
                    error,
                    extra={"connection": self.remote, "destination": subscribed.filter},
                )
        self._take_all(wire.receive_data(b"", self._now_s))
        self.wake()

    # ---- PUBLISH

    def _publish(self, packet: Publish) -> None:
        if packet.topic[0] == "$" and not self._may_publish_there(packet):
            return
        self._sequence += 1
        message = translation.from_publish(packet, f"{self._id_prefix}{self._sequence}", self.region.now_ms)
        qos = packet.qos
        connection = self.connection
        assert connection is not None
        try:
            batch = connection.send(message) if qos < 2 else self._send_once(message, packet.packet_id)
        except SendBlocked:
            self._block(message, packet)
        except ClientError as error:
            self._refuse(packet, error)
        else:
            if qos == 1:
                self._reply(batch, packet.packet_id)
            elif qos:
                self._recorded(batch, packet.packet_id)

    def _send_once(self, message: Message, packet_id: int) -> int:
        """Send a message and store that its identifier was received, in one batch."""
        connection, session = self.connection, self._session
        assert connection is not None
        assert session is not None
        if not session.expiry_s:
            return connection.send(message)
        records = [session.note(f"{RECEIVED}{packet_id}", b"\1")]
        batch = in_one_append(self.region, records, lambda: connection.send(message))
        session.received.add(packet_id)
        return batch

    def _recorded(self, batch: int, packet_id: int) -> None:
        self._reply(batch, lambda: self._wire.send_pubrec(packet_id))

    def _block(self, message: Message, packet: Publish) -> None:
        """Answer a message when there is space for it."""
        connection = self.connection
        assert connection is not None

        def send() -> int:
            return connection.send(message) if packet.qos < 2 else self._send_once(message, packet.packet_id)

        def answer(outcome: int | ClientError) -> None:
            if isinstance(outcome, ClientError):
                self._refuse(packet, outcome)
            elif packet.qos == 1:
                self._reply(outcome, packet.packet_id)
            elif packet.qos:
                self._recorded(outcome, packet.packet_id)
            self.wake()

        connection.block(message, send, answer, None)

    def _refuse(self, packet: Publish, error: ClientError) -> None:
        """A message cannot be taken: nobody is told that it was."""
        _log.warning(
            "%s: message to %s refused: %s",
            self.remote,
            packet.topic,
            error,
            extra={"connection": self.remote, "destination": packet.topic},
        )
        code, wire = _code(error), self._wire
        if code == ReasonCode.TOPIC_FILTER_INVALID:
            code = ReasonCode.TOPIC_NAME_INVALID
        if not packet.qos:
            return
        if wire.version < V5:  # it has no other way to say so [MQTT-3.3.5-2]
            self._end(code, f"message to {packet.topic} refused: {error}")
        elif packet.qos == 1:
            self._reply(0, lambda: wire.send_puback(packet.packet_id, code, str(error)))
        else:
            self._reply(0, lambda: wire.send_pubrec(packet.packet_id, code, str(error)))

    def _may_publish_there(self, packet: Publish) -> bool:
        """Whether a topic that begins with `$` is taken; otherwise the message is answered and dropped.

        Source: ActiveMQ's `publishDollarTopics`.
        """
        is_own = packet.topic.startswith(SYSTEM)
        if self.context.config.publish_dollar_topics and not is_own:
            return True
        if self._wire.version == V5 and is_own:
            self._refuse(packet, AccessDenied(f"Topics that begin with {SYSTEM} are the broker's own."))
        elif packet.qos == 1:
            self._reply(0, packet.packet_id)
        elif packet.qos:
            self._recorded(0, packet.packet_id)
        return False

    def _take_pubrel(self, packet: Pubrel) -> None:
        packet_id, session = packet.packet_id, self._session
        assert session is not None
        batch = 0
        if packet_id in session.received:
            session.received.discard(packet_id)
            batch = self.region.append((session.note(f"{RECEIVED}{packet_id}"),))
        self._reply(batch, lambda: self._wire.send_pubcomp(packet_id))

    def _take_pubrec(self, packet: Pubrec) -> None:
        assert self._delivery is not None
        self._delivery.take_pubrec(packet)

    def _take_pubcomp(self, packet: Pubcomp) -> None:
        assert self._delivery is not None
        self._delivery.take_pubcomp(packet)

    # ---- subscriptions

    def _take_subscribe(self, packet: Subscribe) -> None:
        ids = packet.properties.subscription_ids
        codes: list[int] = []
        batch, reason = 0, ""
        for wanted in packet.subscriptions:
            try:
                batch = max(batch, self._subscribe(wanted, ids[0] if ids else 0))
                codes.append(wanted.qos)
            except ClientError as error:
                _log.warning(
                    "%s: subscription %s refused: %s",
                    self.remote,
                    wanted.filter,
                    error,
                    extra={"connection": self.remote, "destination": wanted.filter},
                )
                codes.append(_code(error))
                reason = reason or str(error)
        self._reply(batch, lambda: self._wire.send_suback(packet.packet_id, codes, reason))

    def _subscribe(self, wanted: Subscription, id_: int) -> int:
        session, connection = self._session, self.connection
        assert session is not None
        assert connection is not None
        known = session.subscriptions.get(wanted.filter)
        subscribed = Subscribed(wanted.filter, wanted.qos, wanted.no_local, wanted.retain_as_published, id_)
        if wanted.filter.startswith(SHARE) or (session.expiry_s and (wanted.qos or (known and known.name))):
            subscribed.name = self._sessions.durable_name(session, subscribed)
        batch = 0
        if known is None or wanted.filter not in self._subscriptions:
            batch = self._attach(session, subscribed)
        elif (known.name, known.no_local) == (subscribed.name, subscribed.no_local):
            self._subscriptions[wanted.filter] = subscribed
        else:
            connection.remove_consumer(wanted.filter)
            batch = self._attach(session, subscribed)
        records: list[Record] = self._sessions.add(session, subscribed)
        if records:
            batch = max(batch, self.region.append(records))
        if wanted.filter.startswith(SYSTEM):
            self._system.tell(self, wanted)
        elif not wanted.filter.startswith(SHARE) and wanted.retain_handling <= (known is None):
            batch = max(batch, self.region.retained.offer(connection.consumers[wanted.filter]))
        return batch

    def _attach(self, session: Session, subscribed: Subscribed) -> int:
        """Open the consumer of a subscription."""
        filter_ = subscribed.filter
        if filter_.startswith(SYSTEM):
            self.system_filters[filter_] = subscribed
            self._system.add(self)
            return 0
        connection = self.connection
        assert connection is not None
        share, proper = split_share(filter_)
        prefetch_size = self.context.config.subscription_prefetch
        if not prefetch_size:
            prefetch_size = DURABLE_TOPIC_PREFETCH if subscribed.name else TOPIC_PREFETCH
        options = ConsumerOptions(
            prefetch_size=prefetch_size,
            no_local=subscribed.no_local,
            subscription_name=subscribed.name or None,
            shared=share is not None,
            common=True,
            advisories=False,
        )
        self._subscriptions[filter_] = subscribed
        try:
            return connection.add_consumer(filter_, translation.destination_of(proper), options)
        except ClientError:
            del self._subscriptions[filter_]
            raise

    def _take_unsubscribe(self, packet: Unsubscribe) -> None:
        session, connection, delivery = self._session, self.connection, self._delivery
        assert session is not None
        assert connection is not None
        assert delivery is not None
        codes: list[int] = []
        batch = 0
        for filter_ in packet.filters:
            if filter_ not in session.subscriptions:
                codes.append(ReasonCode.NO_SUBSCRIPTION_EXISTED)
                continue
            codes.append(ReasonCode.SUCCESS)
            connection.remove_consumer(filter_)
            delivery.forget(filter_)
            self._subscriptions.pop(filter_, None)
            self.system_filters.pop(filter_, None)
            records = self._sessions.remove(session, filter_)
            if records:
                batch = self.region.append(records)
        self._reply(batch, lambda: self._wire.send_unsuback(packet.packet_id, codes))

    # ---- $SYS

    def send_system(self, topic: str, value: bytes, *, retain: bool = False) -> None:
        """Send the client what the broker says of itself; lost if it does not read."""
        connection = self.connection
        if self._wire.state is State.CONNECTED and connection is not None and connection.dispatch_budget > 0:
            self._wire.send_publish(topic.encode(), value, retain=retain)


class _ClientIdInvalid(ClientError):
    """The client id cannot be used."""


def _code(error: ClientError) -> ReasonCode:
    """What a client of 5.0 is told."""
    if isinstance(error, AccessDenied):
        return ReasonCode.NOT_AUTHORIZED
    if isinstance(error, ResourceExhausted):
        return ReasonCode.QUOTA_EXCEEDED
    if isinstance(error, InvalidDestination):
        return ReasonCode.TOPIC_FILTER_INVALID
    return ReasonCode.UNSPECIFIED_ERROR


def _connect_code(error: ClientError) -> ReasonCode:
    """What a client is told that cannot connect."""
    if isinstance(error, _ClientIdInvalid):
        return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    if isinstance(error, ResourceExhausted):
        return ReasonCode.SERVER_BUSY
    return _code(error)


_TAKERS: Final[dict[type, Callable[..., None]]] = {
    Connect: MqttServer._take_connect,
    Pubrel: MqttServer._take_pubrel,
    Pubrec: MqttServer._take_pubrec,
    Pubcomp: MqttServer._take_pubcomp,
    Subscribe: MqttServer._take_subscribe,
    Unsubscribe: MqttServer._take_unsubscribe,
    Disconnect: MqttServer._take_disconnect,
    ProtocolViolation: MqttServer._take_violation,
    ClientSilent: MqttServer._take_silence,
}

"""Connections: a login that outlives brokers, and everything made from it."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from functools import partial

from broker.openwire.commands import (
    BaseCommand,
    ConnectionId,
    ConnectionInfo,
    ConsumerControl,
    ConsumerId,
    LocalTransactionId,
    MessageDispatch,
    ProducerAck,
    ProducerId,
    RemoveInfo,
    Response,
)
from broker.openwire.wireformat import CommandReceived, WireFormat, WireFormatOptions
from mqclient.audit import AcknowledgementAudit
from mqclient.consumer import NOTHING_DELIVERED, MessageConsumer
from mqclient.delivery import Delivery, DeliveryLedger
from mqclient.discovery import Discovery
from mqclient.errors import ClientError, FailoverTimeout
from mqclient.events import (
    AddressesChanged,
    AttemptFailed,
    CommandRefused,
    Event,
    Failed,
    Interrupted,
    Resumed,
)
from mqclient.failover import FailoverTransport
from mqclient.identity import new_connection_id
from mqclient.modes import AcknowledgeMode
from mqclient.network import Link
from mqclient.options import UNLIMITED
from mqclient.outlook import notice, notice_times, unreached
from mqclient.replay import ConnectionState
from mqclient.session import Session
from mqclient.tls import ClientTls
from mqclient.url import BrokerAddress, BrokerUrl

FAILOVER_LOG = logging.getLogger("mqclient.failover")
DISCOVERY_LOG = logging.getLogger("mqclient.discovery")
WAITING_LOG = logging.getLogger("mqclient.waiting")

THREAD_JOIN_TIMEOUT_S = 5.0
"""How long close waits for the network thread, which is then left to die with the process."""

PROVIDER_NAME = "Fabric client"


class Connection:
    """Made by :meth:`ConnectionFactory.create_connection`; thread-safe, its sessions are not.

    Attributes:
        client_id: None unless one was given.
        on_error: called in a thread of the connection's own with errors nobody waits for, the last one being
            why the connection is over.
        on_interrupted: called there when the broker is lost, with its URL.
        on_resumed: called there when the next broker has taken over, with its URL.
    """

    def __init__(
        self,
        url: BrokerUrl,
        *,
        user: str | None,
        password: str | None,
        client_id: str | None,
        discovery: Discovery | None,
        tls: ClientTls | None = None,
    ) -> None:
        self.options = url.client
        self.connection_id = new_connection_id()
        self.client_id = client_id or url.client.client_id or None
        self.ledger = DeliveryLedger(AcknowledgementAudit())
        self.consumers: dict[ConsumerId, MessageConsumer] = {}
        self.started = False
        self.on_error: Callable[[ClientError], None] | None = None
        self.on_interrupted: Callable[[str], None] | None = None
        self.on_resumed: Callable[[str], None] | None = None
        self._url = url
        self._discovery = discovery
        self._sessions: list[Session] = []
        self._session_count = 0
        self._transaction_count = 0
        self._temporary_count = 0
        self._closing = threading.Lock()
        self._closed = False
        self._last_failure = ""
        self._notices: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._notifier: threading.Thread | None = None
        info = ConnectionInfo(
            connection_id=ConnectionId(value=self.connection_id),
            client_id=self.client_id or self.connection_id,
            user_name=url.client.user_name or None if user is None else user,
            password=url.client.password or None if password is None else password,
            manageable=True,
            fault_tolerant=url.failover is not None,
        )
        transport = FailoverTransport(
            ConnectionState(info),
            url.failover,
            make_wire=_make_wire,
            rng=random.Random(),  # nosec B311  # noqa: S311 - spreads clients over brokers, guards nothing
            follow_broker=url.discovery is None and url.failover is not None,
        )
        self.link = Link(transport, self._take_event, f"mqclient {self.connection_id}", tls)

    # The program

    def start(self) -> None:
        """Let messages come to consumers; sending is possible before."""
        self.check_open()
        self._set_started(True)

    def stop(self) -> None:
        """Let no messages come to consumers until start is called again."""
        self.check_open()
        self._set_started(False)

    def create_session(
        self, transacted: bool = False, acknowledge_mode: AcknowledgeMode = AcknowledgeMode.AUTO
    ) -> Session:
        """Make a session; with ``transacted`` the acknowledge mode does not count."""
        self.check_open()
        with self.link.lock:
            self._session_count += 1
            number = self._session_count
        session = Session(self, number, AcknowledgeMode.TRANSACTED if transacted else acknowledge_mode)
        with self.link.lock:
            self._sessions.append(session)
        return session

    def close(self) -> None:
        """Close sessions and log out. Blocked calls of other threads end with ConnectionClosed or None.

        The program was told of all asynchronous sends when this returns.

        Raises:
            IllegalState: called by a completion listener.
        """
        with self._closing:
            if self._closed:
                return
            for session in list(self._sessions):
                session.completions.check_outside()
            self._closed = True
            try:
                self._log_out()
            finally:
                if self._discovery is not None:
                    self._discovery.unsubscribe(self._set_addresses)
                self.link.stop(THREAD_JOIN_TIMEOUT_S)
                for session in list(self._sessions):
                    session.closed_by_connection()
                self._notices.put(None)
                if self._notifier is not None and threading.current_thread() is not self._notifier:
                    self._notifier.join(THREAD_JOIN_TIMEOUT_S)

    @property
    def broker_url(self) -> str | None:
        """The broker we are connected to; None while there is none."""
        with self.link.lock:
            address = self.link.transport.address
            return address.url if address is not None and self.link.transport.connected else None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The factory

    def connect(self) -> None:
        """Start the network thread and wait for the first login."""
        try:
            self.link.start(self._url.addresses)
            if self._discovery is not None:
                self._discovery.subscribe(self._set_addresses)
            with self.link.lock:
                self.wait_connected()
        except FailoverTimeout as error:
            explained = FailoverTimeout(f"{error} No broker: {self._why_no_broker()}")
            self.close()
            raise explained from error
        except BaseException:
            self.close()
            raise

    # Sessions, producers and consumers

    @property
    def usable(self) -> bool:
        """Whether the connection is not over; it may be between two brokers."""
        return self.link.transport.error is None

    @property
    def failover_timeout_s(self) -> float | None:
        """How long a send waits for a broker."""
        timeout_ms = self._url.failover.timeout if self._url.failover is not None else UNLIMITED
        return timeout_ms / 1000 if timeout_ms > 0 else None

    @property
    def close_timeout_s(self) -> float | None:
        """How long closing something waits for the broker."""
        return self.options.close_timeout / 1000 or None

    @property
    def tracks_messages(self) -> bool:
        """Whether non-persistent sends are repeated after a failover."""
        return self._url.failover is not None and self._url.failover.track_messages

    def check_open(self) -> None:
        """Raise why the connection is over, if it is."""
        error = self.link.transport.error
        if error is not None:
            raise error

    def request(self, command: BaseCommand) -> Response:
        """Send a command and wait for the answer."""
        return self.link.request(command)

    def request_quietly(self, command: BaseCommand) -> None:
        """Send a command that closes something; whatever becomes of it, it is closed for us."""
        try:
            self.link.request(command, self.close_timeout_s)
        except ClientError as error:
            FAILOVER_LOG.debug("%s was not answered: %s", type(command).__name__, error)

    def wait_connected(self) -> None:
        """Wait for a broker; the lock is held, and let go meanwhile.

        Raises:
            FailoverTimeout: none came in the time that the option ``timeout`` gives.
            ConnectionFailed: none will come.
        """
        transport, changed = self.link.transport, self.link.changed
        began_s, limit_s = time.monotonic(), self.failover_timeout_s

        def settled() -> bool:
            return transport.connected or transport.error is not None

        for notice_s in notice_times():
            until_s = notice_s if limit_s is None else min(notice_s, limit_s)
            if changed.wait_for(settled, began_s + until_s - time.monotonic()):
                break
            if until_s == limit_s:
                raise FailoverTimeout(f"Failover timeout of {self._failover_timeout_ms} ms reached.")
            self.notify_later(partial(self._tell_waiting, notice_s))
        self.check_open()

    def next_transaction_id(self) -> LocalTransactionId:
        """A new transaction; the lock is held."""
        self._transaction_count += 1
        return LocalTransactionId(
            value=self._transaction_count, connection_id=ConnectionId(value=self.connection_id)
        )

    def next_temporary_name(self) -> str:
        """A name for a temporary destination; it begins with the connection's id, its owner."""
        with self.link.lock:
            self._temporary_count += 1
            return f"{self.connection_id}:{self._temporary_count}"

    def adopted(self, delivery: Delivery) -> None:
        """A message that a session holds was dispatched again; the lock is held."""
        for session in self._sessions:
            if session.holds(delivery):
                session.adopted(delivery)

    def forget_session(self, session: Session) -> None:
        """A session was closed."""
        with self.link.lock:
            if session in self._sessions:
                self._sessions.remove(session)

    def notify_later(self, notice: Callable[[], None]) -> None:
        """Call something of the program's in the notification thread."""
        if self._notifier is None:
            self._notifier = threading.Thread(
                target=self._run_notices, name=f"notices {self.connection_id}", daemon=True
            )
            self._notifier.start()
        self._notices.put(notice)

    # Inside

    def _log_out(self) -> None:
        for session in list(self._sessions):
            session.close()
        if self.usable and self.link.transport.epoch > 0:
            self.request_quietly(
                RemoveInfo(
                    object_id=ConnectionId(value=self.connection_id),
                    last_delivered_sequence_id=NOTHING_DELIVERED,  # the sessions have told it already
                )
            )

    def _set_started(self, started: bool) -> None:
        with self.link.lock:
            self.started = started
            for session in self._sessions:
                session.arrived.notify_all()

    def _set_addresses(self, addresses: tuple[BrokerAddress, ...]) -> None:
        self.link.post(lambda: self.link.transport.set_addresses(addresses, time.monotonic()))

    def _run_notices(self) -> None:
        while (notice := self._notices.get()) is not None:
            try:
                notice()
            except Exception:  # noqa: BLE001 - the program's
                FAILOVER_LOG.exception("A listener of the connection has failed")

    def _tell(self, listener: Callable[[str], None] | None, address: BrokerAddress) -> None:
        if listener is not None:
            self.notify_later(lambda: listener(address.url))

    def _tell_waiting(self, waited_s: float) -> None:
        """Log that there is no broker; in the notification thread, since it asks the registry."""
        why = self._why_no_broker()
        if self.broker_url is None and not self._closed:
            limitable = self._url.failover is not None
            WAITING_LOG.warning("%s", notice(why, waited_s, self._failover_timeout_ms, limitable=limitable))

    def _why_no_broker(self) -> str:
        with self.link.lock:
            addresses, reason = self.link.transport.addresses, self._last_failure
        if addresses or self._discovery is None:
            return unreached(addresses, reason)
        return self._discovery.why_nobody()

    def _tell_error(self, error: ClientError) -> None:
        listener = self.on_error
        if listener is not None:
            self.notify_later(lambda: listener(error))

    def _take_event(self, event: Event) -> None:
        """What the core has to say; in the network thread, with the lock held."""
        match event:
            case CommandReceived(command=MessageDispatch() as dispatch):
                consumer = self.consumers.get(dispatch.consumer_id) if dispatch.consumer_id else None
                if consumer is not None:
                    consumer.take_dispatch(dispatch)
            case CommandReceived(command=ConsumerControl(consumer_id=ConsumerId() as consumer_id) as control):
                if consumer_id in self.consumers:
                    self.consumers[consumer_id].control(control)
            case CommandReceived(command=ProducerAck(producer_id=ProducerId() as producer_id, size=size)):
                for session in self._sessions:
                    session.producer_acknowledged(producer_id, size)
            case CommandReceived():
                pass  # BrokerInfo and others that only inform
            case CommandRefused(error=error):
                FAILOVER_LOG.warning("The broker reports: %s", error)
                self._tell_error(error)
            case _:
                self._take_change(event)

    def _take_change(self, event: Event) -> None:
        match event:
            case Resumed(address=address, first=first):
                self.ledger.resumed(self.link.transport.epoch)
                FAILOVER_LOG.info("Successfully %s to %s", "connected" if first else "reconnected", address)
                if not first:
                    self._tell(self.on_resumed, address)
            case Interrupted(address=address, reason=reason):
                self.ledger.interrupted()
                for consumer in self.consumers.values():
                    consumer.interrupted()
                for session in self._sessions:
                    session.interrupted()
                outlook = ", attempting to automatically reconnect" if self._url.failover is not None else ""
                FAILOVER_LOG.warning("Transport (%s) failed%s: %s", address, outlook, reason)
                self._tell(self.on_interrupted, address)
            case AttemptFailed():
                self._log_attempt(event)
            case AddressesChanged(added=added, removed=removed):
                for address in added:
                    DISCOVERY_LOG.info("Adding new broker connection URL: %s", address)
                for address in removed:
                    DISCOVERY_LOG.info("Removing broker connection URL: %s", address)
            case Failed(error=error):
                for session in self._sessions:
                    session.arrived.notify_all()
                    session.interrupted()
                self._tell_error(error)
            case _:
                pass

    def _log_attempt(self, attempt: AttemptFailed) -> None:
        if attempt.tell:
            names = ", ".join(each.url for each in self.link.transport.addresses)
            FAILOVER_LOG.warning(
                "Failed to connect to [%s] after: %d attempt(s) continuing to retry. Last reason: %s",
                names,
                attempt.failed_rounds,
                attempt.reason,
            )
        self._last_failure = attempt.reason
        FAILOVER_LOG.debug("Connecting to %s failed: %s", attempt.address, attempt.reason)

    @property
    def _failover_timeout_ms(self) -> int:
        return self._url.failover.timeout if self._url.failover is not None else UNLIMITED


def _make_wire(address: BrokerAddress, now_s: float) -> WireFormat:
    wire = address.wire
    options = WireFormatOptions(
        version=wire.version,
        tight_encoding_enabled=wire.tight_encoding_enabled,
        cache_enabled=wire.cache_enabled,
        cache_size=wire.cache_size,
        stack_trace_enabled=wire.stack_trace_enabled,
        tcp_no_delay_enabled=wire.tcp_no_delay,
        max_inactivity_duration_ms=wire.max_inactivity_duration,
        max_inactivity_duration_initial_delay_ms=wire.max_inactivity_duration_inital_delay,
        max_frame_size_bytes=wire.max_frame_size,
        host=address.host,
        provider_name=PROVIDER_NAME,
    )
    return WireFormat(options, now_s=now_s)

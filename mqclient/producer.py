"""Producers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from broker.openwire.commands import Message as MessageCommand
from broker.openwire.commands import MessageId, ProducerId, ProducerInfo, RemoveInfo
from mqclient.completions import Completion
from mqclient.destination import Destination, to_command
from mqclient.errors import ClientError, IllegalState, InvalidDestination, TimedOut
from mqclient.events import Request
from mqclient.identity import producer_id_text
from mqclient.message import Message
from mqclient.message_codec import delay
from mqclient.message_codec import to_command as message_to_command
from mqclient.modes import PRIORITY_DEFAULT, PRIORITY_MAX, DeliveryMode

if TYPE_CHECKING:
    from mqclient.session import Session

MESSAGE_OVERHEAD_BYTES = 1024
"""What a message takes of a producer's window beyond its content; the broker counts the same.
Source: ActiveMQ's `Message.getSize`."""


class MessageProducer:
    """Made by :meth:`Session.create_producer`.

    Attributes:
        destination: None: each send names one.
        delivery_mode, priority, time_to_live_ms: for sends that do not say otherwise.
        delivery_delay_ms: the broker keeps messages for so long, or until the commit and so long; 0: it does
            not. A broker whose `schedulerSupport` is off delivers them at once.
        disable_timestamp: messages carry no time, and cannot expire.
    """

    def __init__(self, session: Session, producer_id: ProducerId, destination: Destination | None) -> None:
        self.session = session
        self.producer_id = producer_id
        self.destination = destination
        self.delivery_mode = DeliveryMode.PERSISTENT
        self.priority = PRIORITY_DEFAULT
        self.time_to_live_ms = 0
        self.delivery_delay_ms = 0
        self.disable_timestamp = session.connection.options.disable_time_stamps_by_default
        self._connection = session.connection
        self._link = session.connection.link
        self._target = to_command(destination) if destination is not None else None
        self._id_prefix = producer_id_text(producer_id) + ":"
        self._sequence_id = 0
        self._window = session.connection.options.async_send_window
        self._unanswered = 0
        self._window_bytes = session.connection.options.producer_window_size
        self._bytes_under_way = 0
        """Of one-way sends that the broker has not acknowledged, if there is a window."""
        self._failure: ClientError | None = None
        self._answered = threading.Condition(self._link.lock)
        self._closed = False
        self._connection.request(
            ProducerInfo(producer_id=producer_id, destination=self._target, window_size=self._window_bytes)
        )

    def send(
        self,
        message: Message,
        delivery_mode: DeliveryMode | None = None,
        priority: int | None = None,
        time_to_live_ms: int | None = None,
        *,
        destination: Destination | None = None,
        on_completion: Completion | None = None,
    ) -> None:
        """Send a message.

        A persistent message outside a transaction is safe when this returns, unless asynchronous sends are
        on. A failover in between does not show, and the message is not stored twice.

        Args:
            message: gets its id, time and destination.
            delivery_mode: None: the producer's.
            priority: 0 to 9; None: the producer's.
            time_to_live_ms: 0: never expires; None: the producer's.
            destination: for a producer without one.
            on_completion: return at once; told later, in another thread, how it went, in the order of the
                session's sends. A listener as in JMS 2.0, or a function of the message and the error.

        Raises:
            ClientError: this message was refused, or, with asynchronous sends, an earlier one was.
        """
        persistent = (
            self.delivery_mode if delivery_mode is None else delivery_mode
        ) == DeliveryMode.PERSISTENT
        command = self._prepare(message, persistent, priority, time_to_live_ms, destination)
        options = self._connection.options
        if on_completion is not None:
            self._send_later(command, message, on_completion)
        elif self.session.transacted:
            self._send_in_transaction(command)
        elif persistent:
            if options.use_async_send:
                self._send_later(command)
            else:
                self._send_now(command)
        elif options.always_sync_send:
            self._send_now(command)
        elif self._connection.tracks_messages:
            self._send_later(command)
        else:
            with self._link.lock:
                self._take_of_window(command)
                self._link.send_patiently(command, self._connection.failover_timeout_s)

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait until the broker has answered all asynchronous sends.

        Raises:
            TimedOut: not within ``timeout_s``.
            ClientError: one of them was refused.
        """
        with self._link.lock:
            if not self._answered.wait_for(lambda: self._unanswered == 0, timeout_s):
                raise TimedOut(f"{self._unanswered} sends were not answered within {timeout_s:g} s")
            self._raise_failure()

    def close(self) -> None:
        """Wait for the answers to asynchronous sends, and until the program was told of them, then close.

        Raises:
            IllegalState: called by a completion listener of the session.
        """
        if self._closed:
            return
        self.session.completions.check_outside()
        self._closed = True
        try:
            if self._connection.usable:
                self.flush(self._connection.close_timeout_s)
                self.session.completions.wait(self._connection.close_timeout_s)
        finally:
            if self._connection.usable:
                self._connection.request_quietly(RemoveInfo(object_id=self.producer_id))
            self.session.forget_producer(self)

    def __enter__(self) -> MessageProducer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Inside

    def _prepare(
        self,
        message: Message,
        persistent: bool,
        priority: int | None,
        time_to_live_ms: int | None,
        destination: Destination | None,
    ) -> MessageCommand:
        if self._closed or self.session.closed:
            self._connection.check_open()
            raise IllegalState("the producer is closed")
        command = message_to_command(message, compress=self._connection.options.use_compression)
        target = self._target
        if destination is not None and destination != self.destination:
            if target is not None:
                raise IllegalState(f"this producer sends to {self.destination} only")
            target = to_command(destination)
        if target is None:
            raise InvalidDestination("this producer has no destination of its own; name one with each send")
        sent_ms = time.time_ns() // 1_000_000
        now_ms = 0 if self.disable_timestamp else sent_ms
        message.delivery_time = sent_ms + self.delivery_delay_ms
        if self.delivery_delay_ms > 0:
            delay(command, self.delivery_delay_ms, message.delivery_time)
        ttl_ms = self.time_to_live_ms if time_to_live_ms is None else time_to_live_ms
        self._sequence_id += 1
        command.destination = target
        command.producer_id = self.producer_id
        command.message_id = MessageId(producer_id=self.producer_id, producer_sequence_id=self._sequence_id)
        command.persistent = persistent
        command.priority = min(max(self.priority if priority is None else priority, 0), PRIORITY_MAX)
        command.timestamp = now_ms
        command.expiration = now_ms + ttl_ms if ttl_ms > 0 and now_ms else 0
        message.message_id = f"{self._id_prefix}{self._sequence_id}"
        message.destination = destination or self.destination
        message.delivery_mode = DeliveryMode.PERSISTENT if persistent else DeliveryMode.NON_PERSISTENT
        message.priority = command.priority
        message.timestamp = now_ms
        message.expiration = command.expiration
        return command

    def _send_now(self, command: MessageCommand) -> None:
        timeout_ms = self._connection.options.send_timeout
        self._link.request(command, timeout_ms / 1000 if timeout_ms else None)

    def _send_in_transaction(self, command: MessageCommand) -> None:
        with self._link.lock:
            self._take_of_window(command)
            command.transaction_id = self.session.ensure_transaction()
            if not self._link.send(command):
                self._link.send_patiently(command, self._connection.failover_timeout_s)

    def _send_later(
        self, command: MessageCommand, message: Message | None = None, completion: Completion | None = None
    ) -> None:
        completions = self.session.completions

        def done(request: Request) -> None:
            self._unanswered -= 1
            self.acknowledged(size)
            if pending is not None:
                completions.done(pending, request.error)
            elif request.error is not None and self._failure is None:
                self._failure = request.error

        with self._link.lock:
            self._answered.wait_for(lambda: self._unanswered < self._window)
            size = self._take_of_window(command)
            self._raise_failure()
            command.transaction_id = self.session.ensure_transaction()
            pending = None
            if message is not None and completion is not None:
                pending = completions.add(message, completion)
            self._unanswered += 1
            try:
                self._link.begin_request(Request(command, done))
            except BaseException:
                self._unanswered -= 1
                self.acknowledged(size)
                if pending is not None:
                    completions.withdraw(pending)
                raise

    def _take_of_window(self, command: MessageCommand) -> int:
        """Wait until the window has room; returns the bytes taken of it. The lock is held."""
        if not self._window_bytes:
            return 0
        size = (
            MESSAGE_OVERHEAD_BYTES + len(command.content or b"") + len(command.marshalled_properties or b"")
        )
        self._answered.wait_for(
            lambda: self._bytes_under_way < self._window_bytes or not self._connection.usable
        )
        self._connection.check_open()
        self._bytes_under_way += size
        return size

    def acknowledged(self, size: int) -> None:
        """The broker has taken so many bytes of one-way sends; the lock is held."""
        self._bytes_under_way = max(0, self._bytes_under_way - size)
        self._answered.notify_all()

    def interrupted(self) -> None:
        """The broker is lost: what was under way is, too, or is repeated by others. The lock is held."""
        self._bytes_under_way = 0
        self._answered.notify_all()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

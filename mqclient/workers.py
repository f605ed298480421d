"""The threads of the mq-client: each has a connection of its own and sends, receives or browses.

The lines they log are the original's, whose readers know them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mqclient.arguments import Arguments
from mqclient.connection import Connection
from mqclient.destination import Topic, parse_destination
from mqclient.errors import ClientError, ConnectionClosed, TransactionRolledBack
from mqclient.factory import ConnectionFactory
from mqclient.message import Message
from mqclient.modes import DeliveryMode
from mqclient.session import Session
from mqclient.texts import TEXT_SIZES, describe, make_message

PRODUCER_LOG = logging.getLogger("mqclient.producer")
CONSUMER_LOG = logging.getLogger("mqclient.consumer")
BROWSER_LOG = logging.getLogger("mqclient.browser")
SERVICE_LOG = logging.getLogger("mqclient.service")

RECEIVE_TIMEOUT_S = 3.0
"""Of one poll; a consumer polls until it has its count."""

SUBSCRIPTION_NAME = "fuseSub"
"""Of the durable subscriber, as in the original."""

BATCH_ATTEMPTS_MAX = 10
"""How often a batch that was rolled back is sent again before the producer gives up."""


@dataclass(slots=True)
class Result:
    """What one worker has done so far."""

    messages: int = 0
    elapsed_s: float = 0.0
    error: BaseException | None = None


class Worker:
    """One thread of the mq-client.

    Args:
        say: writes a line that the original writes to standard output itself.
    """

    def __init__(
        self, number: int, factory: ConnectionFactory, arguments: Arguments, say: Callable[[str], None]
    ) -> None:
        self.name = f"Thread-{number}"
        self.result = Result()
        self._factory = factory
        self._arguments = arguments
        self._say = say
        self._stopping = threading.Event()
        self._finished = threading.Event()  # Thread.join believes a thread dead when Ctrl-C interrupts it
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._guard, name=self.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for its end; returns whether it came."""
        return self._finished.wait(timeout_s)

    def interrupt(self) -> None:
        """End the work as soon as possible; what was done is kept in the result."""
        self._stopping.set()
        if self._connection is None:  # it waits for a broker, and has nothing to finish
            self._finished.set()

    def break_off(self) -> None:
        """Close the connection under the work."""
        if self._connection is not None:
            self._connection.close()

    # Inside

    def work(self, session: Session) -> None:
        """What the worker is for."""
        raise NotImplementedError

    @property
    def transacted(self) -> bool:
        """Whether the session is."""
        return self._arguments.batch_size > 0

    def finished(self) -> None:
        """Log that the work is over."""

    def _guard(self) -> None:
        started_s = time.monotonic()
        try:
            self._connect_and_work()
        except (ClientError, OSError) as error:
            if not (self._stopping.is_set() and isinstance(error, ConnectionClosed)):
                self.result.error = error
        finally:
            self.result.elapsed_s = time.monotonic() - started_s
            self._finished.set()

    def _connect_and_work(self) -> None:
        client_id = self._arguments.client_id
        connection = self._factory.create_connection(client_id)
        self._connection = connection
        try:
            connection.start()
            self.work(connection.create_session(self.transacted))
        finally:
            connection.close()
            SERVICE_LOG.info("Closed JMS connection")
            self.finished()

    def _sleep(self) -> None:
        if self._arguments.sleep_ms > 0:
            self._stopping.wait(self._arguments.sleep_ms / 1000)


class Producer(Worker):
    """Sends its count of messages."""

    def work(self, session: Session) -> None:
        """Send; with a batch size in transactions, the last of which may be smaller."""
        arguments = self._arguments
        producer = session.create_producer(parse_destination(arguments.effective_destination))
        producer.delivery_mode = (
            DeliveryMode.PERSISTENT if arguments.persistent else DeliveryMode.NON_PERSISTENT
        )
        producer.time_to_live_ms = arguments.ttl_ms
        if arguments.text_size is not None and arguments.text_size not in TEXT_SIZES:
            PRODUCER_LOG.warning(
                "Type size unknown : %s, we will use a text message of 100b", arguments.text_size
            )
        PRODUCER_LOG.info("%s Started to calculate elapsed time ...\n", self.name)
        started_s = time.monotonic()
        try:
            if self.transacted:
                self._send_batches(session, producer.send)
            else:
                self._send_all(producer.send)
        finally:
            elapsed_ms = int((time.monotonic() - started_s) * 1000)
            PRODUCER_LOG.info("%s Produced: %d messages", self.name, self.result.messages)
            PRODUCER_LOG.info("%s Elapsed time in second : %d s", self.name, elapsed_ms // 1000)
            PRODUCER_LOG.info("%s Elapsed time in milli second : %d milli seconds", self.name, elapsed_ms)

    def finished(self) -> None:
        """Log that the work is over."""
        PRODUCER_LOG.info("%s Producer thread finished", self.name)

    def _send_all(self, send: Callable[[Message], None]) -> None:
        for index in range(self._arguments.count):
            if self._stopping.is_set():
                return
            self._send_one(send, index)
            self.result.messages += 1
            self._sleep()

    def _send_batches(self, session: Session, send: Callable[[Message], None]) -> None:
        size, count = self._arguments.batch_size, self._arguments.count
        for number, first in enumerate(range(0, count, size)):
            indexes = range(first, min(first + size, count))
            for attempt in range(1, BATCH_ATTEMPTS_MAX + 1):
                try:
                    sent = self._send_batch(send, indexes)
                    PRODUCER_LOG.info("%s Committing transaction: %d", self.name, number)
                    session.commit()
                except TransactionRolledBack as error:
                    if attempt == BATCH_ATTEMPTS_MAX:
                        raise
                    PRODUCER_LOG.warning("%s Sending batch %d again: %s", self.name, number, error)
                    continue
                self.result.messages += sent
                break
            if self._stopping.is_set():
                return

    def _send_batch(self, send: Callable[[Message], None], indexes: range) -> int:
        """Send messages until the end of the batch or an interrupt; returns how many."""
        for sent, index in enumerate(indexes):
            if self._stopping.is_set():
                return sent
            self._send_one(send, index)
            self._sleep()
        return len(indexes)

    def _send_one(self, send: Callable[[Message], None], index: int) -> None:
        message = make_message(index, size=self._arguments.size, text_size=self._arguments.text_size)
        message.group_id = self._arguments.group_id
        send(message)
        PRODUCER_LOG.info("%s Sent: %s", self.name, describe(message))


class Consumer(Worker):
    """Receives its count of messages, however long that takes."""

    def work(self, session: Session) -> None:
        """Receive; with a batch size in transactions, the last of which may be smaller."""
        arguments = self._arguments
        destination = parse_destination(arguments.effective_destination)
        if arguments.client_id is not None:
            assert isinstance(destination, Topic)
            consumer = session.create_durable_subscriber(destination, SUBSCRIPTION_NAME, arguments.selector)
        else:
            consumer = session.create_consumer(destination, arguments.selector)
        CONSUMER_LOG.info("%s Waiting for: %d messages", self.name, arguments.count)
        try:
            self._receive_all(session, consumer.receive)
        finally:
            self._say(f"{self.name} Consumed: {self.result.messages} messages")

    def finished(self) -> None:
        """Log that the work is over."""
        CONSUMER_LOG.info("%s Consumer thread finished", self.name)

    def _receive_all(self, session: Session, receive: Callable[[float], Message | None]) -> None:
        received, transaction = 0, 0
        while self.result.messages + received < self._arguments.count and not self._stopping.is_set():
            message = receive(min(RECEIVE_TIMEOUT_S, INTERRUPT_CHECK_S))
            if message is None:
                continue
            CONSUMER_LOG.info("%s Received %s", self.name, describe(message))
            if not self.transacted:
                self.result.messages += 1
            else:
                received += 1
                if received == self._arguments.batch_size:
                    self._commit(session, received, transaction)
                    received, transaction = 0, transaction + 1
            self._sleep()
        if received:
            self._commit(session, received, transaction)

    def _commit(self, session: Session, received: int, number: int) -> None:
        CONSUMER_LOG.info("%sCommitting transaction: %d", self.name, number)
        try:
            session.commit()
        except TransactionRolledBack as error:
            CONSUMER_LOG.warning("%s Receiving batch %d again: %s", self.name, number, error)
            return
        self.result.messages += received


class Browser(Worker):
    """Shows the messages of a queue, up to its count."""

    def work(self, session: Session) -> None:
        """Browse."""
        queue = parse_destination(self._arguments.effective_destination)
        with session.create_browser(queue, self._arguments.selector) as browser:
            for message in browser:
                BROWSER_LOG.info("%s Browsed %s", self.name, describe(message))
                self.result.messages += 1
                if self.result.messages >= self._arguments.count or self._stopping.is_set():
                    break
                self._sleep()
        self._say(f"{self.name} Browsed: {self.result.messages} messages")

    def finished(self) -> None:
        """Log that the work is over."""
        BROWSER_LOG.info("%s Browser thread finished", self.name)

    @property
    def transacted(self) -> bool:
        """Browsing consumes nothing."""
        return False


INTERRUPT_CHECK_S = 0.25
"""How soon a waiting consumer notices an interrupt."""

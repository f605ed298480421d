"""A producer that sends every few milliseconds and a consumer, each with its own connection and thread."""

import threading
import time
from collections.abc import Callable

from perf.ledger import Ledger
from support.waiting import wait_until

from mqclient import Connection, ConnectionFactory, TextMessage

DRAIN_TIMEOUT_S = 60.0
RECEIVE_TIMEOUT_S = 0.2


class Traffic:
    """Messages that flow through two queues until `stop`; `ledger` is the current round's."""

    def __init__(self, factory: ConnectionFactory, interval_s: float) -> None:
        self._factory = factory
        self._interval_s = interval_s
        self._number = 0
        self._round = 0
        self._stopping = threading.Event()
        self._pausing = threading.Event()
        self._paused = threading.Event()
        self._failures: list[BaseException] = []
        self.ledger = Ledger()
        self._connections: list[Connection] = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=work.__name__, daemon=True)
            for work in (self._produce, self._consume)
        ]

    def start(self) -> None:
        """Connect and let messages flow."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads."""
        self._stopping.set()
        for connection in self._connections:
            connection.close()
        for thread in self._threads:
            thread.join(DRAIN_TIMEOUT_S)

    def begin_round(self) -> Ledger:
        """Start a new ledger; messages flow from now on."""
        self.ledger = Ledger()
        self._round += 1
        self._paused.clear()
        self._pausing.clear()
        return self.ledger

    def end_round(self) -> None:
        """Hold the producer and wait until all that was acknowledged has arrived, or will not."""
        self._pausing.set()
        wait_until(self._paused.is_set, DRAIN_TIMEOUT_S, "the producer pauses")
        self._drain()
        waited = time.monotonic() + DRAIN_TIMEOUT_S
        wait_until(lambda: not self.ledger.missing(0) or time.monotonic() > waited, DRAIN_TIMEOUT_S + 1)
        self.check()

    def wait_acknowledged_after(self, seconds: float, count: int, timeout_s: float) -> None:
        """Wait until so many sends were acknowledged after a moment."""

        def enough() -> bool:
            self.check()
            return self.ledger.acknowledged_after(seconds) >= count

        wait_until(enough, timeout_s, f"{count} sends acknowledged after the fault")

    def check(self) -> None:
        """Raise what ended a thread, if one ended."""
        if self._failures:
            raise RuntimeError("the benchmark's client failed") from self._failures[0]

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - whatever it is, the main thread raises it in check()
            if not self._stopping.is_set():
                self._failures.append(failure)

    def _connect(self) -> Connection:
        connection = self._factory.create_connection()
        connection.start()
        self._connections.append(connection)
        return connection

    def _produce(self) -> None:
        session = self._connect().create_session()
        producers = [
            session.create_producer(session.create_queue(name)) for name in ("bench.live", "bench.quiet")
        ]
        next_at = time.monotonic()
        while not self._stopping.is_set():
            if self._pausing.is_set():
                self._paused.set()
                self._stopping.wait(self._interval_s)
                continue
            number, ledger = self._number, self.ledger
            self._number += 1
            producers[number % 2].send(session.create_text_message(f"{self._round} {number}"))
            now = time.monotonic()
            ledger.acknowledge(number, now)
            next_at = max(now, next_at + self._interval_s)
            self._stopping.wait(max(0.0, next_at - now))

    def _consume(self) -> None:
        session = self._connect().create_session()
        consumer = session.create_consumer(session.create_queue("bench.live"))
        while not self._stopping.is_set():
            self._count(consumer.receive(RECEIVE_TIMEOUT_S))

    def _count(self, message: object) -> bool:
        if message is None:
            return False
        assert isinstance(message, TextMessage)
        round_number, number = message.text.split()
        if int(round_number) == self._round:
            self.ledger.receive(int(number))
        return True

    def _drain(self) -> None:
        """Empty the quiet queue; only here, when nothing goes wrong, so that twice means stored twice."""
        connection = self._factory.create_connection()
        connection.start()
        session = connection.create_session()
        consumer = session.create_consumer(session.create_queue("bench.quiet"))
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self._count(consumer.receive(RECEIVE_TIMEOUT_S)) and not self.ledger.missing(1):
                break
        connection.close()

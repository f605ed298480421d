"""Clients that write down what they do: ``python -m faults.recorder --zookeeper-url …``.

Producers send numbered durable messages, one at a time, and wait for each answer; every queue has one
consumer. They find the master by ``discovery:``, and leave it as soon as the registry says so. Some producers
do not: they have the address of one broker, and ask it until that itself refuses or closes.

Each event is a line of `faults.history`, on standard output. The line ``end`` on standard input, or its end,
ends the sending; then everything is received, which is written down as well, and the process ends. It needs
`mqclient`, `faults.history` and three modules of the soak, and runs wherever those are: on this machine, or
in a container that they were copied into.
"""

import argparse
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from urllib.parse import urlsplit

from faults.history import ACKNOWLEDGED, BEGUN, DELIVERED, DRAINED, REFUSED, STAYING, Event
from integration.soak.accounts import Account, Key
from integration.soak.producers import Producer, Worker, key_of

from mqclient import Connection, ConnectionFactory, Queue, TextMessage
from mqclient.errors import ClientError

RECEIVE_TIMEOUT_S = 0.2
QUIET_S = 1.0
"""A queue from which everything acknowledged has come is read to its end after so long without a message."""
DRAIN_TIMEOUT_S = 90.0
"""What has not come by then is lost, as far as a client can tell."""
SIZES = (100, 1024, 4096)
LOOK_S = 0.05
"""Between two looks for a master by a client that was left by the one it had."""
LEAVE_TIMEOUT_S = 10.0
"""A broker may owe one that stays its answer for ever: its host is gone."""
CLOSE_TIMEOUT_MS = 1000
CANNOT_GO_ON = 3


class Lines:
    """Where events go; any thread."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._lock = threading.Lock()

    def note(self, event: Event) -> None:
        """Write an event down at once: this process may be killed next."""
        with self._lock:
            self._write(event.to_line() + "\n")


class Book(Account):
    """What producers and the consumer of one queue tell; the soak's accounts, written down besides."""

    def __init__(self, queue: str, lines: Lines) -> None:
        super().__init__(queue)
        self._lines = lines
        self.brokers: dict[str, Callable[[], str]] = {}

    def begin(self, key: Key) -> None:
        """A send is about to be made."""
        self._tell(BEGUN, key)

    def acknowledged(self, keys: Iterable[Key]) -> None:
        """Sends that were answered: written down first, since the message may be lost all the same."""
        keys = list(keys)
        for key in keys:
            self._tell(ACKNOWLEDGED, key, self.brokers[key[0]]())
        super().acknowledged(keys)

    def refused(self, key: Key) -> None:
        """The broker has refused a send."""
        self._tell(REFUSED, key)
        super().refused(key)

    def _tell(self, what: str, key: Key, broker: str = "") -> None:
        producer, number = key
        self._lines.note(Event(time.monotonic(), what, producer, self.name, producer, number, broker=broker))

    def given(self, consumer: str, key: Key, *, redelivered: bool) -> None:
        """The consumer was given a message."""
        self._lines.note(Event(time.monotonic(), DELIVERED, consumer, self.name, key[0], key[1], redelivered))
        self.arrived(key)
        self.settle()

    def drained(self, consumer: str) -> None:
        """Nothing more is expected of this queue."""
        self._lines.note(Event(time.monotonic(), DRAINED, consumer, self.name))


class RecordedProducer(Producer):
    """A producer of the soak that says before each send that it sends."""

    def __init__(
        self, name: str, connection: Connection, queue: str, book: Book, *, interval_s: float
    ) -> None:
        super().__init__(name, connection, Queue(queue), [book], interval_s=interval_s, sizes=SIZES)
        self._book = book
        book.brokers[name] = lambda: host_of(connection.broker_url)

    def next_message(self) -> tuple[Key, TextMessage]:
        """The next one; it is sent as soon as this returns."""
        key, message = super().next_message()
        self._book.begin(key)
        return key, message


class StayingProducer(RecordedProducer):
    """Sends to one broker until that refuses or closes, then to whoever is master.

    A send that is not answered by then is in doubt, and is not repeated.
    """

    def __init__(
        self, name: str, find: Callable[[], Connection | None], queue: str, book: Book, *, interval_s: float
    ) -> None:
        connection = None
        while connection is None:
            connection = find()
        super().__init__(name, connection, queue, book, interval_s=interval_s)
        self._find = find
        self._queue = Queue(queue)
        self._use(connection)

    def _use(self, connection: Connection) -> None:
        self._connection = connection
        host = host_of(connection.broker_url)
        self._book.brokers[self.name] = lambda: host
        self._producer = connection.create_session().create_producer(self._queue)

    def send_some(self) -> None:
        """Send one message; to another broker next time, if this one does not want it."""
        try:
            super().send_some()
        except ClientError:
            self._connection.close()
            self._move()

    def _move(self) -> None:
        while not (self.stopping.is_set() or self._pausing.is_set()):
            connection = self._find()
            if connection is not None:
                try:
                    self._use(connection)
                except ClientError:  # lost again already
                    connection.close()
                else:
                    return
            self.stopping.wait(LOOK_S)

    def leave(self) -> None:
        """Send nothing more; wait a while for the last answer."""
        self.pause()
        self._paused.wait(LEAVE_TIMEOUT_S)
        self.stopping.set()
        self._connection.close()
        self.end()


class RecordedConsumer(Worker):
    """Receives until it is stopped, and acknowledges each message as it comes."""

    def __init__(self, name: str, connection: Connection, queue: str, book: Book) -> None:
        super().__init__(name)
        self._book = book
        self._last_at = time.monotonic()
        self._consumer = connection.create_session().create_consumer(Queue(queue))

    def work(self) -> None:
        """Receive."""
        while not self.stopping.is_set():
            message = self._consumer.receive(RECEIVE_TIMEOUT_S)
            if message is None:
                continue
            self._last_at = time.monotonic()
            assert isinstance(message, TextMessage) and message.text is not None
            self._book.given(self.name, key_of(message.text), redelivered=message.redelivered)

    @property
    def is_done(self) -> bool:
        """Whether everything acknowledged has come, and nothing else for a moment."""
        return not self._book.missing() and time.monotonic() > self._last_at + QUIET_S

    def leave(self) -> None:
        """Stop receiving, and say that the queue was read to its end."""
        self.end()
        self._book.drained(self.name)


def host_of(url: str | None) -> str:
    """The host in a broker's URL, "" without one."""
    return (urlsplit(url).hostname or "") if url else ""


class Recorder:
    """All clients, and their end.

    Args:
        factory: finds the master.
        direct: makes one for a broker's URL.
        lines: take the events.
        producers: follow the registry.
        staying: other producers, that do not.
        queues: each with one consumer.
        interval_s: between two sends of one producer.
    """

    def __init__(
        self,
        factory: ConnectionFactory,
        direct: Callable[[str], ConnectionFactory],
        lines: Lines,
        *,
        producers: int,
        staying: int,
        queues: int,
        interval_s: float,
    ) -> None:
        self._connections: list[Connection] = []
        self._factory = factory
        self._direct = direct
        names = [f"recorded.{os.getpid()}.{number}" for number in range(1, queues + 1)]
        books = {name: Book(name, lines) for name in names}
        self._consumers = [
            RecordedConsumer(f"consumer-{number}", self._connect(), name, books[name])
            for number, name in enumerate(names, start=1)
        ]
        self._producers = [
            RecordedProducer(
                f"producer-{number + 1}",
                self._connect(),
                names[number % queues],
                books[names[number % queues]],
                interval_s=interval_s,
            )
            for number in range(producers)
        ]
        self._scout = self._connect() if staying else None
        self._staying = [
            StayingProducer(
                f"{STAYING}{number + 1}",
                self._find,
                names[number % queues],
                books[names[number % queues]],
                interval_s=interval_s,
            )
            for number in range(staying)
        ]

    @property
    def _workers(self) -> list[Worker]:
        return [*self._consumers, *self._producers, *self._staying]

    def _find(self) -> Connection | None:
        """A connection to the master's address alone, None if there is no master now."""
        assert self._scout is not None
        url = self._scout.broker_url
        if url is None:
            return None
        try:
            return self._direct(f"{url}?jms.closeTimeout={CLOSE_TIMEOUT_MS}").create_connection()
        except ClientError:
            return None

    def _connect(self) -> Connection:
        connection = self._factory.create_connection()
        connection.start()
        self._connections.append(connection)
        return connection

    def start(self) -> None:
        """Let messages flow."""
        for worker in self._workers:
            worker.start()

    def failure(self) -> BaseException | None:
        """What ended a client, if one ended."""
        failures = [worker.failure for worker in self._workers]
        return next((failure for failure in failures if failure is not None), None)

    def finish(self, waiting: threading.Event) -> None:
        """Send nothing more, wait for all answers and all messages, and leave."""
        for producer in self._producers:
            producer.pause()
        for staying in self._staying:
            staying.leave()
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while time.monotonic() < deadline and self.failure() is None:
            if all(each.is_paused for each in self._producers) and all(c.is_done for c in self._consumers):
                break
            waiting.wait(RECEIVE_TIMEOUT_S)
        for consumer in self._consumers:
            consumer.leave()
        for producer in self._producers:
            producer.end()
        for connection in self._connections:
            connection.close()


def wait_for_end(recorder: Recorder, ended: threading.Event) -> None:
    """Return when somebody says ``end``, or a client has failed."""

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "end":
                break
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    while not ended.wait(RECEIVE_TIMEOUT_S):
        if recorder.failure() is not None:
            return


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; passwords come by the environment."""
    parser = argparse.ArgumentParser(
        prog="python -m faults.recorder", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--group", default="default", help="of the brokers (default)")
    parser.add_argument("--zookeeper-url", required=True)
    parser.add_argument("--user", default="admin")
    parser.add_argument("--producers", type=int, default=3, help="each with a connection of its own (3)")
    parser.add_argument(
        "--staying", type=int, default=2, help="others, that stay with the broker they have (2)"
    )
    parser.add_argument("--queues", type=int, default=2, help="each with one consumer (2)")
    parser.add_argument("--interval-ms", type=float, default=10.0, help="between two sends of one (10)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the clients."""
    wanted = parse(arguments)
    logging.getLogger("mqclient").setLevel(logging.CRITICAL)  # lost connections are no news here
    login = {"user": wanted.user, "password": os.environ.get("RECORDER_PASSWORD", "admin")}
    factory = ConnectionFactory(
        f"discovery:(fabric:{wanted.group})",
        **login,
        zookeeper_url=wanted.zookeeper_url,
        zookeeper_password=os.environ.get("ZOOKEEPER_PASSWORD", ""),
    )

    def write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    recorder = Recorder(
        factory,
        partial(ConnectionFactory, **login),
        Lines(write),
        producers=wanted.producers,
        staying=wanted.staying,
        queues=wanted.queues,
        interval_s=wanted.interval_ms / 1000,
    )
    recorder.start()
    ended = threading.Event()
    wait_for_end(recorder, ended)
    recorder.finish(ended if not ended.is_set() else threading.Event())
    failure = recorder.failure()
    if failure is not None:
        print(json.dumps({"failure": repr(failure)}), file=sys.stderr, flush=True)
        return CANNOT_GO_ON
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

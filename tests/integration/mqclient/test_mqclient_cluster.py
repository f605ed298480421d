"""The client on real brokers: found through a real ZooKeeper, killed, frozen, and woken again."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.our_broker import OurBroker, add_user, running
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

from mqclient import Connection, ConnectionFactory, TextMessage, Topic
from mqclient.errors import AuthenticationFailed, RegistryUnreachable

pytestmark = pytest.mark.integration

TIMEOUT_S = 60.0
MESSAGES_BEFORE, MESSAGES_AFTER = 50, 50


class Pair:
    """Two brokers of one name on one store: `master` serves, `slave` waits."""

    def __init__(self, zookeeper: ZooKeeperForTests, folder: Path) -> None:
        self.zookeeper = zookeeper
        self.group = folder.name
        self.master = OurBroker(zookeeper, folder, port=free_port(), container="first")
        self.slave: OurBroker | None = None
        self._folder = folder

    def start_slave(self) -> None:
        """Start the second broker, once the first one is the master."""
        self.master.wait_listening()
        self.slave = OurBroker(self.zookeeper, self._folder, port=free_port(), container="second")
        log = self.slave.log
        wait_until(lambda: "waiting to become the master" in log.read_text("utf-8"), TIMEOUT_S)

    @property
    def factory(self) -> ConnectionFactory:
        """Connections to whoever is the master."""
        return ConnectionFactory(
            f"discovery:(fabric:{self.group})",
            "admin",
            "admin",
            zookeeper_url=self.zookeeper.url,
            zookeeper_password=self.zookeeper.password,
        )

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start mq-client on this group."""
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "mqclient.main", f"-Dzookeeper.url={self.zookeeper.url}", *arguments),
                *("--user", "admin", "--password", "admin", "--destination", "queue://work"),
                *(() if "--brokerUrl" in arguments else ("--brokerUrl", f"discovery:fabric:{self.group}")),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "FABRIC_ZOOKEEPER_PASSWORD": self.zookeeper.password},
        )


@pytest.fixture
def pair(zookeeper: ZooKeeperForTests, tmp_path: Path) -> Iterator[Pair]:
    """A master and a slave."""
    add_user(zookeeper)
    made = Pair(zookeeper, tmp_path)
    with running(made.master):
        made.start_slave()
        assert made.slave is not None
        with running(made.slave):
            yield made


class Traffic:
    """A producer that sends without pause, in a thread of its own."""

    def __init__(self, connection: Connection) -> None:
        self.acknowledged: list[int] = []
        self.failures: list[BaseException] = []
        self._stopping = threading.Event()
        session = connection.create_session()
        self._producer = session.create_producer("work")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for number in itertools.count():
                if self._stopping.wait(0.002):
                    return
                self._producer.send(TextMessage(str(number)))
                self.acknowledged.append(number)
        except Exception as failure:  # noqa: BLE001 - the test asserts that there is none
            self.failures.append(failure)

    def wait_for(self, more: int) -> None:
        """Wait until so many more sends were acknowledged."""
        target = len(self.acknowledged) + more
        wait_until(
            lambda: len(self.acknowledged) >= target or self.failures,
            TIMEOUT_S,
            lambda: f"{more} more sends; so far {len(self.acknowledged)}",
        )

    def stop(self) -> list[int]:
        """End it; returns what was acknowledged."""
        self._stopping.set()
        self._thread.join(TIMEOUT_S)
        assert self.failures == []
        return self.acknowledged


def kill(pair: Pair) -> None:
    """End the master's process as a crash does."""
    pair.master.kill()


def freeze(pair: Pair) -> None:
    """Stop the master's process; its sockets stay open."""
    pair.master.process.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize("fault", [kill, freeze])
def test_nothing_acknowledged_is_lost_or_stored_twice(pair: Pair, fault: Callable[[Pair], None]) -> None:
    """Both follow the master; each acknowledged message arrives once, in order (P1, P3, P4)."""
    with pair.factory.create_connection() as producing, pair.factory.create_connection() as consuming:
        consuming.start()
        consumer = consuming.create_session().create_consumer("work")
        traffic = Traffic(producing)
        received: list[int] = []

        def receive_all_acknowledged() -> None:
            while len(received) < len(traffic.acknowledged):
                message = consumer.receive(TIMEOUT_S)
                assert isinstance(message, TextMessage)
                assert message.text is not None
                received.append(int(message.text))

        traffic.wait_for(MESSAGES_BEFORE)
        receive_all_acknowledged()
        fault(pair)
        traffic.wait_for(MESSAGES_AFTER)
        assert pair.slave is not None
        assert producing.broker_url == pair.slave.url
        if fault is freeze:
            pair.master.process.send_signal(signal.SIGCONT)
        traffic.wait_for(MESSAGES_AFTER)
        acknowledged = traffic.stop()
        receive_all_acknowledged()
        assert received == acknowledged
        assert consumer.receive(0.2) is None
        assert producing.broker_url == pair.slave.url


def test_the_command_follows_the_master(pair: Pair) -> None:
    """The lab's producer and consumer go through a kill of the master; each message comes once."""
    count = 300
    producer = pair.command("producer", "--count", str(count), "--sleep", "5")
    consumer = pair.command("consumer", "--count", str(count))
    assert producer.stdout is not None
    lines = []
    for line in producer.stdout:
        lines.append(line)
        if "Sent: test message: 100" in line:
            pair.master.kill()
    said, _ = consumer.communicate(timeout=TIMEOUT_S)
    assert producer.wait(TIMEOUT_S) == 0, lines[-5:]
    assert consumer.returncode == 0, said
    received = [line.rpartition(" ")[2] for line in said.splitlines() if "Received test message" in line]
    assert received == [str(number) for number in range(count)]
    assert pair.slave is not None
    assert f"[mqclient.failover] : Successfully reconnected to {pair.slave.url}\n" in lines
    assert f"[mqclient.discovery] : Adding new broker connection URL: {pair.slave.url}\n" in lines
    producer.stdout.close()


def test_a_browser_sees_more_than_its_prefetch_size(pair: Pair) -> None:
    """Browsing goes on as the program reads on, and takes nothing."""
    with pair.factory.create_connection() as connection:
        connection.start()
        session = connection.create_session()
        producer = session.create_producer("browsed")
        numbers = [str(number) for number in range(45)]
        for number in numbers:
            producer.send(TextMessage(number), on_completion=lambda sent, error: None)
        producer.flush(TIMEOUT_S)
        for _ in range(2):
            with session.create_browser("browsed?consumer.prefetchSize=10") as browser:
                texts = [message.text for message in browser if isinstance(message, TextMessage)]
            assert texts == numbers


def test_work_goes_on_without_zookeeper(
    zookeeper_factory: Callable[[], ZooKeeperForTests], tmp_path: Path
) -> None:
    """A discovery client that loses ZooKeeper keeps what it knows (P6)."""
    zookeeper = zookeeper_factory()
    add_user(zookeeper)
    pair = Pair(zookeeper, tmp_path)
    with running(pair.master):
        pair.master.wait_listening()
        with pair.factory.create_connection() as connection:
            interrupted: list[str] = []
            connection.on_interrupted = interrupted.append
            traffic = Traffic(connection)
            traffic.wait_for(MESSAGES_BEFORE)
            zookeeper.kill()
            traffic.wait_for(MESSAGES_AFTER)
            assert traffic.stop()
            assert interrupted == []


def test_wrong_passwords_are_told(pair: Pair) -> None:
    """A wrong password of the user or of the registry is an error at once."""
    with pytest.raises(AuthenticationFailed):
        pair.factory.create_connection(password="wrong")
    factory = ConnectionFactory(
        "discovery:(fabric:default)", zookeeper_url=pair.zookeeper.url, zookeeper_password="wrong"
    )
    with pytest.raises(RegistryUnreachable, match="password"):
        factory.create_connection()


def test_a_client_waits_for_the_first_broker(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """Started before any broker, a discovery client connects when one appears."""
    add_user(zookeeper)
    connections: list[Connection] = []
    pair_factory = ConnectionFactory(
        f"discovery:(fabric:{tmp_path.name})",
        "admin",
        "admin",
        zookeeper_url=zookeeper.url,
        zookeeper_password=zookeeper.password,
    )
    waiting = threading.Thread(target=lambda: connections.append(pair_factory.create_connection()))
    waiting.start()
    pair = Pair(zookeeper, tmp_path)
    with running(pair.master):
        waiting.join(TIMEOUT_S)
        (connection,) = connections
        assert connection.broker_url == pair.master.url
        connection.close()


def test_a_misspelt_group_is_told_with_those_there_are(pair: Pair) -> None:
    """Discovery waits as it did, but says for whom, and who is there instead; an option bounds the wait."""
    misspelt = f"{pair.group}x"
    limited = pair.command("producer", "--brokerUrl", f"discovery:fabric:{misspelt}?timeout=2500")
    said, _ = limited.communicate(timeout=TIMEOUT_S)
    assert limited.returncode == 2
    notice = next(line for line in said.splitlines() if "[mqclient.waiting]" in line)
    assert f"No broker yet: the registry at {pair.zookeeper.url} knows none of group {misspelt}. " in notice
    assert pair.group in notice.partition("Groups with brokers: ")[2]
    assert "Waiting, until 2500 ms have passed." in notice
    assert f"Failover timeout of 2500 ms reached. No broker: the registry at {pair.zookeeper.url}" in said


def test_shared_and_selecting_subscriptions_survive_a_crash(pair: Pair) -> None:
    """After kill -9 of the master: each message comes to one of those who share, and only what is selected.

    A subscriber that is away meanwhile finds what it selects, and no more.
    """
    red = "colour = 'red'"
    with pair.factory.create_connection("away") as away:
        away.create_session().create_durable_subscriber("news.*", "s", red).close()
    with (
        pair.factory.create_connection() as producing,
        pair.factory.create_connection() as first,
        pair.factory.create_connection() as second,
    ):
        sharing = []
        for connection in (first, second):
            session = connection.create_session()
            sharing.append(session.create_shared_durable_consumer("news.>", "shared", red))
            connection.start()
        producer = producing.create_session().create_producer()
        wanted: list[str] = []

        def send(numbers: range) -> None:
            for number in numbers:
                message = TextMessage(str(number))
                message.properties["colour"] = "red" if number % 2 else "blue"
                producer.send(message, destination=Topic(f"news.{number % 3}"))
                if number % 2:
                    wanted.append(str(number))

        def receive() -> list[str]:
            """What both get until nothing is missing."""
            found: list[str] = []
            wait_until(
                lambda: (
                    found.extend(
                        message.text or ""
                        for consumer in sharing
                        if isinstance(message := consumer.receive(0.05), TextMessage)
                    )
                    or set(found) >= set(wanted)
                ),
                TIMEOUT_S,
            )
            return found

        send(range(20))
        assert sorted(receive()) == sorted(wanted)
        del wanted[:]
        send(range(20, 40))
        pair.master.kill()
        send(range(40, 60))
        # At least once: acknowledgements may be lost with the master.
        assert all(int(text) % 2 for text in receive())
        for consumer in sharing:
            consumer.close()
        first.create_session().unsubscribe("shared")
    with pair.factory.create_connection("away") as away:
        subscriber = away.create_session().create_durable_subscriber("news.*", "s", red)
        away.start()
        texts = [subscriber.receive(TIMEOUT_S) for _ in range(30)]
        assert [each.text for each in texts if isinstance(each, TextMessage)] == [
            str(number) for number in range(60) if number % 2
        ]
        assert subscriber.receive(0.2) is None

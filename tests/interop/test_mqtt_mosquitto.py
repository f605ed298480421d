"""Mosquitto's command line against a broker process of ours, also through a takeover."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.our_broker import OurBroker, add_user, running
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

pytestmark = pytest.mark.interop
VERSIONS = ["mqttv31", "mqttv311", "mqttv5"]


class Place:
    """A broker that is replaced by another when it is killed, at the same port."""

    def __init__(self, zookeeper: ZooKeeperForTests, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self._zookeeper = zookeeper
        self._names = iter(f"broker{number}" for number in range(100))
        self.master = self._start()

    def _start(self) -> OurBroker:
        properties = {"connectors": "openwire mqtt", "mqtt-port": str(self.port)}
        broker = OurBroker(
            self._zookeeper, self.folder, port=free_port(), container=next(self._names), properties=properties
        )
        broker.wait_listening()
        return broker

    def take_over(self) -> None:
        """Kill the master."""
        self.master.kill()
        self.master = self._start()

    def command(self, program: str, version: str, *arguments: str) -> list[str]:
        """How a program is called."""
        login = ["-h", "127.0.0.1", "-p", str(self.port), "-u", "admin", "-P", "admin", "-V", version]
        return [program, *login, *arguments]

    def publish(self, version: str, *arguments: str) -> None:
        """Publish; returns when it is acknowledged."""
        subprocess.run(self.command("mosquitto_pub", version, *arguments), check=True, timeout=30)

    def read(self, version: str, *arguments: str) -> list[str]:
        """What a subscriber prints until it ends by itself."""
        command = self.command("mosquitto_sub", version, *arguments)
        done = subprocess.run(command, check=True, timeout=30, capture_output=True, text=True)
        return done.stdout.splitlines()

    @contextlib.contextmanager
    def subscriber(self, output: Path, version: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A subscriber that is ready; its output goes to a file, and it is ended with the block."""
        with output.open("wb") as file:
            command = ["stdbuf", "-oL", *self.command("mosquitto_sub", version, "-d", *arguments)]
            process = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: "Subscribed" in output.read_text("utf-8"))
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def place(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The broker of this file."""
    add_user(zookeeper)
    place = Place(zookeeper, tmp_path_factory.mktemp("mosquitto"))
    try:
        yield place
    finally:
        with running(place.master):
            pass


@pytest.mark.parametrize("version", VERSIONS)
def test_publish_and_subscribe(place: Place, tmp_path: Path, version: str) -> None:
    """With each version and QoS."""
    output = tmp_path / "output"
    arguments = ("-q", "2", "-t", f"{version}/#", "-C", "3", "-F", "%q %t %p")
    with place.subscriber(output, version, *arguments) as subscriber:
        for qos in ("0", "1", "2"):
            place.publish(version, "-q", qos, "-t", f"{version}/{qos}", "-m", f"qos {qos}")
        assert subscriber.wait(20) == 0
    lines = [line for line in output.read_text("utf-8").splitlines() if f" {version}/" in line]
    assert [line for line in lines if line[1:2] == " "] == [f"{q} {version}/{q} qos {q}" for q in range(3)]


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_and_retained_messages_outlive_the_master(place: Place, version: str) -> None:
    """What waits for a session, and what a topic retains, is there after kill -9."""
    expiry = ("-x", "3600") if version == "mqttv5" else ()
    session = ("-c", "-i", f"keeper-{version}", "-q", "1", *expiry)
    topic = f"wait/{version}"
    assert place.read(version, *session, "-t", topic, "-E") == []
    place.publish(version, "-q", "1", "-t", topic, "-m", "waits")
    place.publish(version, "-q", "1", "-r", "-t", f"kept/{version}", "-m", "kept")
    place.take_over()
    assert place.read(version, *session, "-t", topic, "-C", "1", "-W", "20") == ["waits"]
    line = place.read(version, "-t", f"kept/{version}", "-C", "1", "-W", "20", "-F", "%r %p")
    assert line == ["1 kept"]


def test_properties(place: Place, tmp_path: Path) -> None:
    """Mosquitto prints those of 5.0."""
    output = tmp_path / "output"
    form = "%F|%C|%R|%D|%E|%P|%p"
    with place.subscriber(output, "mqttv5", "-q", "1", "-t", "props", "-C", "1", "-F", form) as subscriber:
        values = {"content-type": "text/plain", "response-topic": "re/ply", "correlation-data": "corr"}
        options = [word for name, value in values.items() for word in ("-D", "publish", name, value)]
        options += [
            "-D",
            "publish",
            "message-expiry-interval",
            "100",
            "-D",
            "publish",
            "user-property",
            "n",
            "v",
        ]
        options += ["-D", "publish", "payload-format-indicator", "1"]
        place.publish("mqttv5", "-q", "1", "-t", "props", "-m", "x", *options)
        assert subscriber.wait(20) == 0
    (line,) = [line for line in output.read_text("utf-8").splitlines() if "re/ply" in line]
    assert line in {f"1|text/plain|re/ply|corr|{left}|n:v|x" for left in range(90, 101)}


def test_the_brokers_own_topics(place: Place) -> None:
    """`$SYS` can be read."""
    (line,) = place.read("mqttv5", "-t", "$SYS/broker/uptime", "-C", "1", "-W", "20")
    assert line.endswith(" seconds")


def test_a_will(place: Place, tmp_path: Path) -> None:
    """A subscriber that is killed leaves its will."""
    heard = tmp_path / "heard"
    will = ("--will-topic", "will/m", "--will-payload", "alas", "--will-qos", "1")
    with (
        place.subscriber(heard, "mqttv5", "-t", "will/#", "-C", "1", "-F", "heard %p") as listener,
        place.subscriber(tmp_path / "gone", "mqttv5", "-t", "x", *will) as gone,
    ):
        gone.kill()
        assert listener.wait(20) == 0
    assert "heard alas" in heard.read_text("utf-8").splitlines()

"""Bad input and bad surroundings: one broker process, a clear error each time, and nobody else disturbed."""

import contextlib
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import crc32c
import pytest
from support.openwire_peer import OpenWirePeer, Refused
from support.our_broker import OurBroker, add_user, running
from support.small_disk import SmallDisk
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

pytestmark = pytest.mark.integration

QUEUE = "workshop.test"
IDLE_CONNECTIONS = 1_000


@pytest.fixture(scope="module")
def broker(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OurBroker]:
    """One broker that all tests of this module maltreat in turn."""
    add_user(zookeeper)
    broker = OurBroker(zookeeper, tmp_path_factory.mktemp("faults"), port=free_port())
    with running(broker):
        broker.wait_listening()
        yield broker


@pytest.fixture
def bystander(broker: OurBroker) -> Iterator[OpenWirePeer]:
    """A client that must not notice anything."""
    with OpenWirePeer(broker.port, "ID:bystander-1-1:1") as client:
        client.log_in()
        client.consume("bystander")
        yield client
        client.send("bystander", "still here", 1)
        assert client.next_text() == "still here"


def log_of(broker: OurBroker) -> str:
    """What it has logged."""
    return broker.log.read_text("utf-8")


def read_to_end(client: socket.socket) -> bytes:
    """Everything until the broker closes the connection."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while chunk := client.recv(65536):
            data += chunk
    return data


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
        bytes(range(256)) * 16,
        b"\x00\x00\x00\x08\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff" + b"x" * 1000,
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
    ],
)
def test_garbage_closes_its_connection_and_no_other(
    broker: OurBroker, bystander: OpenWirePeer, garbage: bytes
) -> None:
    """P8: what is no OpenWire ends that connection with one line in the log."""
    del bystander
    lines = log_of(broker).count("closed: ")
    with socket.create_connection(("127.0.0.1", broker.port), timeout=10) as client:
        client.sendall(garbage)
        read_to_end(client)
    wait_until(lambda: log_of(broker).count("closed: ") == lines + 1, 30, lambda: log_of(broker))
    assert "Traceback" not in log_of(broker)


def test_a_half_frame_waits_for_its_other_half_and_ends_quietly(
    broker: OurBroker, bystander: OpenWirePeer
) -> None:
    """A client that dies in the middle of a frame leaves nothing behind."""
    del bystander
    peer = OpenWirePeer(broker.port, "ID:half-1-1:1")
    with peer:
        peer.log_in()
        peer.socket.sendall(b"\x00\x00\x10\x00half")
        peer.socket.shutdown(socket.SHUT_WR)
        read_to_end(peer.socket)
    with OpenWirePeer(broker.port, "ID:half-1-1:1") as again:
        again.log_in().send(QUEUE, "whole", 1)
        assert again.drain(QUEUE, 1) == ["whole"]


def test_a_frame_above_the_limit_is_refused(broker: OurBroker, bystander: OpenWirePeer) -> None:
    """A frame larger than maxFrameSize ends its connection before its bytes are read."""
    del bystander
    with OpenWirePeer(broker.port, "ID:large-1-1:1") as peer:
        peer.log_in()
        peer.socket.sendall((200 * 1024 * 1024).to_bytes(4, "big"))
        peer.wait_closed()


@pytest.mark.parametrize(
    ("user", "password"), [("admin", "wrong"), ("nobody", "admin"), (None, None), ("admin", None)]
)
def test_wrong_credentials_are_refused(
    broker: OurBroker, bystander: OpenWirePeer, user: str | None, password: str | None
) -> None:
    """P7: the answer is a SecurityException, and the connection ends."""
    del bystander
    with OpenWirePeer(broker.port, "ID:stranger-1-1:1") as peer:
        with pytest.raises(Refused, match=r"java\.lang\.SecurityException"):
            peer.log_in(user, password)
        peer.wait_closed()


def test_nothing_is_done_before_the_login(broker: OurBroker, bystander: OpenWirePeer) -> None:
    """P7: a client that just sends is refused."""
    del bystander
    with OpenWirePeer(broker.port, "ID:early-1-1:1") as peer, pytest.raises((Refused, ConnectionError)):
        peer.send(QUEUE, "sneaked in", 1)


def test_a_thousand_idle_connections_disturb_nobody(broker: OurBroker) -> None:
    """The default limit admits a thousand clients, and those that work do not wait for those that do not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        with contextlib.ExitStack() as stack:
            for number in range(IDLE_CONNECTIONS - 1):
                stack.enter_context(OpenWirePeer(broker.port, f"ID:idle-1-1:{number}")).log_in()
            with OpenWirePeer(broker.port, "ID:busy-1-1:1") as busy:
                busy.log_in()
                for number in range(20):
                    busy.send("busy", f"m{number}", number + 1)
                assert busy.drain("busy", 20) == [f"m{number}" for number in range(20)]
                with socket.create_connection(("127.0.0.1", broker.port), timeout=10) as one_too_many:
                    assert read_to_end(one_too_many) == b""
                assert "maximumConnections is 1000" in log_of(broker)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: _admits(broker), 30, "the places are free again")


def _admits(broker: OurBroker) -> bool:
    with OpenWirePeer(broker.port, "ID:again-1-1:1") as peer, contextlib.suppress(ConnectionError):
        peer.log_in()
        return True
    return False


def resident_bytes(broker: OurBroker) -> int:
    """Memory the broker's process has."""
    pages = int(Path(f"/proc/{broker.process.pid}/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


def test_a_client_that_never_reads_costs_bounded_memory(broker: OurBroker, bystander: OpenWirePeer) -> None:
    """Dispatch to a client that does not read stops; its messages go to others when it is gone."""
    text = "x" * 100_000
    with OpenWirePeer(broker.port, "ID:deaf-1-1:1", receive_buffer_bytes=4096) as deaf:
        deaf.log_in()
        deaf.consume("never.read", prefetch_size=32_000)
        before = resident_bytes(broker)
        for number in range(300):
            bystander.send("never.read", text, number + 2, persistent=False)
        grown = resident_bytes(broker) - before
        assert grown < 3 * 300 * len(text)
    bystander.consume("never.read", 2)
    for _ in range(300):
        assert bystander.next_text() == text


def start(zookeeper: ZooKeeperForTests, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a broker that is not expected to run long."""
    command = [sys.executable, "-m", "broker", "--zookeeper-url", zookeeper.url, "--data", str(folder)]
    return subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_a_wrong_ensemble_password_is_said_at_once(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """The broker does not wait for ever for a registry that refuses it."""
    done = start(zookeeper, tmp_path, "--zookeeper-password", "wrong", "--group", tmp_path.name)
    assert done.returncode == 1
    assert "password" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_options_are_said_at_once(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """A port that is none, and a name that is none, end the program with a sentence."""
    for arguments in (("--port", "x"), ("--name", "/")):
        done = start(zookeeper, tmp_path, *arguments)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr


def logs(broker: OurBroker, text: str) -> Callable[[], bool]:
    """Whether it has logged a text."""
    return lambda: text in log_of(broker)


def test_a_taken_port_is_said_and_tried_again(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """A broker whose port is taken gives mastership up, says why, and serves once the port is free."""
    add_user(zookeeper)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        broker = OurBroker(zookeeper, tmp_path, port=port)
        with running(broker):
            wait_until(logs(broker, "failed to start."), 30, lambda: log_of(broker))
            assert f"cannot listen on 127.0.0.1, port {port}" in log_of(broker)
            assert not (tmp_path / "store").exists(), "nobody was fenced for a broker that cannot serve"
            taken.close()
            broker.wait_listening()


def not_mounted(store: Path) -> Callable[[], object]:
    """The folder in which the store is to be is not there."""
    store.symlink_to(store.parent / "not mounted" / "store")
    return lambda: store.readlink().mkdir(parents=True)


def no_folder(store: Path) -> Callable[[], object]:
    """A file stands in its place."""
    store.write_bytes(b"not a directory")
    return store.unlink


def newer(store: Path) -> Callable[[], object]:
    """A later version has written it."""
    store.mkdir()
    header = bytearray(64)
    header[:14] = b"FMQSTORE" + bytes(4) + (99).to_bytes(2, "little")
    header[8:12] = crc32c.crc32c(bytes(header)).to_bytes(4, "little")
    (store / "data-000001-000000").write_bytes(header)
    (store / "claim-1").write_bytes(b"")
    return lambda: [each.unlink() for each in store.iterdir()]


@pytest.mark.parametrize("make", [not_mounted, no_folder, newer], ids=lambda make: make.__name__)
def test_an_unusable_store_is_said_and_tried_again(
    zookeeper: ZooKeeperForTests, tmp_path: Path, make: Callable[[Path], Callable[[], object]]
) -> None:
    """A store that cannot be used stops the broker from serving, not from trying again when it is mended."""
    add_user(zookeeper)
    mend = make(tmp_path / "store")
    broker = OurBroker(zookeeper, tmp_path, port=free_port())
    with running(broker):
        wait_until(logs(broker, "failed to start."), 30, lambda: log_of(broker))
        assert "Traceback" not in log_of(broker)
        mend()
        broker.wait_listening()
        broker.process.send_signal(signal.SIGTERM)
        assert broker.process.wait(timeout=30) == 0


def test_a_read_only_store_is_said_and_left_as_it_is(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """On a file system that takes no writes the broker says so, changes nothing, and serves once it does."""
    add_user(zookeeper)
    disk = SmallDisk(tmp_path, 64)
    disk.mount()
    try:
        if not disk.mounted:
            pytest.skip("no file system can be mounted here")
        (tmp_path / "store").symlink_to(disk.path / "store")
        (disk.path / "store").mkdir()
        disk.remount("ro")
        broker = OurBroker(zookeeper, tmp_path, port=free_port())
        with running(broker):
            wait_until(logs(broker, "failed to start."), 30, lambda: log_of(broker))
            assert "Read-only file system" in log_of(broker)
            assert "Traceback" not in log_of(broker)
            assert list((disk.path / "store").iterdir()) == []
            disk.remount("rw")
            broker.wait_listening()
    finally:
        disk.unmount()

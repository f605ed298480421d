"""The managed ZooKeeper child process."""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

from registry.errors import ServerNotFound, ServerNotStarted
from registry.quorum import EnsembleServer, QuorumSettings
from registry.server import ZooKeeperServer, find_zookeeper

pytestmark = pytest.mark.integration


def test_server_serves_after_wait_ready(zookeeper: ZooKeeperForTests) -> None:
    """After wait_ready the server answers at its url."""
    assert zookeeper.serves()
    assert zookeeper.pid


def test_second_object_adopts_the_running_process(zookeeper: ZooKeeperForTests) -> None:
    """A restarted supervisor takes over the server it started before instead of starting a second one."""
    heir = ZooKeeperServer(find_zookeeper(), zookeeper.log_path.parent, zookeeper.port)
    heir.start()
    assert heir.pid == zookeeper.pid


def test_stop_ends_the_process_and_it_starts_again(
    zookeeper_factory: Callable[[], ZooKeeperForTests],
) -> None:
    """A stopped server is gone, and starts again on the same data."""
    server = zookeeper_factory()
    first = server.pid
    server.stop()
    assert server.pid is None
    assert not server.serves()
    server.start_ready()
    assert server.pid not in (None, first)
    server.kill()
    assert server.pid is None


def test_adopted_server_is_stopped(zookeeper_factory: Callable[[], ZooKeeperForTests]) -> None:
    """A server that is not our child is stopped like our own."""
    server = zookeeper_factory()
    heir = ZooKeeperServer(find_zookeeper(), server.log_path.parent, server.port)
    assert heir.adopt()
    heir.stop()
    wait_until(lambda: not server.running)


def test_taken_port_is_named(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """A port in use is reported at the start, with its number."""
    with pytest.raises(ServerNotStarted, match=str(zookeeper.port)):
        ZooKeeperServer(find_zookeeper(), tmp_path, zookeeper.port).start()


@pytest.mark.parametrize("taken", ["quorum_port", "election_port"])
def test_taken_port_of_a_member_is_named(tmp_path: Path, taken: str) -> None:
    """So is one for the ensemble's other servers, although it is needed later only."""
    own = EnsembleServer(1, "127.0.0.1", free_port(), free_port(), "127.0.0.1", free_port())
    with socket.create_server(("127.0.0.1", 0)) as other:
        own = replace(own, **{taken: other.getsockname()[1]})  # type: ignore[arg-type]  # a port
        quorum = QuorumSettings(own, (), "secret")
        with pytest.raises(ServerNotStarted, match=f"{getattr(own, taken)}, for the ensemble's other"):
            ZooKeeperServer(find_zookeeper(), tmp_path, own.client_port, quorum=quorum).start()


def test_failing_start_shows_the_log(tmp_path: Path) -> None:
    """A server that exits at its start says why."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "version-2").write_text("not a directory")
    server = ZooKeeperServer(find_zookeeper(), tmp_path, free_port())
    server.start()
    with pytest.raises(ServerNotStarted, match="version-2"):
        server.wait_ready(timeout_s=60)


def test_stale_pid_file_of_another_process_is_not_adopted(tmp_path: Path) -> None:
    """A process id used again by somebody else is not mistaken for our server."""
    (tmp_path / "server.pid").write_text("1\n")
    assert not ZooKeeperServer(find_zookeeper(), tmp_path, free_port()).adopt()


def test_missing_java_says_what_to_install(tmp_path: Path) -> None:
    """Without Java the error names the package."""
    with pytest.raises(ServerNotFound, match="default-jre-headless"):
        find_zookeeper({"PATH": str(tmp_path)})


def test_empty_zookeeper_home_says_what_to_do(tmp_path: Path) -> None:
    """A ZOOKEEPER_HOME without jars is named in the error."""
    with pytest.raises(ServerNotFound, match="ZOOKEEPER_HOME"):
        find_zookeeper({"PATH": "/usr/bin", "ZOOKEEPER_HOME": str(tmp_path)})

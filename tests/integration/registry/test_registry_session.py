"""A session against a real ZooKeeper."""

import logging
import select
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import OPEN_ACL_UNSAFE
from support.registry import open_session
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

from registry import paths
from registry.errors import (
    AuthenticationFailed,
    InvalidRecord,
    RegistryUnavailable,
)
from registry.kazoo_edge import make_client
from registry.session import Session, SessionState, close_dead_session

pytestmark = pytest.mark.integration


@pytest.fixture
def session(zookeeper: ZooKeeperForTests) -> Iterator[Session]:
    """A session with the right password."""
    with open_session(zookeeper) as session:
        yield session


@pytest.fixture
def root(session: Session, request: pytest.FixtureRequest) -> str:
    """A place of the test's own in the protected part of the tree."""
    path = f"{paths.ROOT}/tests/{request.node.name}"
    session.put(path, b"")
    return path


def test_too_much_data_is_refused_before_it_costs_the_connection(session: Session, root: str) -> None:
    """A value above ZooKeeper's limit is refused with its size, and the session lives on."""
    before = session.session_id
    for write in (session.set, session.create, session.put):
        with pytest.raises(InvalidRecord, match="2000000"):
            write(root, bytes(2_000_000))
    assert session.get(root).data == b""
    assert session.session_id == before


def test_wrong_password(zookeeper: ZooKeeperForTests, session: Session, root: str) -> None:
    """A wrong or missing password is told at the start, not at the first use."""
    for password in ("wrong", None, ""):
        stranger = Session(zookeeper.url, password)
        with pytest.raises(AuthenticationFailed, match=zookeeper.url):
            stranger.start()
        with pytest.raises(RegistryUnavailable):
            stranger.get(root)


def test_a_stranger_sees_nothing(zookeeper: ZooKeeperForTests, session: Session, root: str) -> None:
    """Without the password nothing of the fabric can be read, listed, written, added or deleted (P7)."""
    session.put(f"{root}/a/b", b"secret")
    session.create(f"{root}/member/0", b"secret", ephemeral=True, sequential=True)
    every_path = [paths.ROOT]
    for path in every_path:
        every_path += [f"{path}/{name}" for name in session.children(path)]
    assert len(every_path) > 6
    stranger = KazooClient(zookeeper.url)
    stranger.start()
    try:
        for path in every_path:
            for attempt in (
                stranger.get,
                stranger.get_children,
                lambda path: stranger.set(path, b"mine"),
                lambda path: stranger.create(f"{path}/mine"),
                lambda path: stranger.set_acls(path, OPEN_ACL_UNSAFE),
            ):
                with pytest.raises(NoAuthError):
                    attempt(path)
            if path != paths.ROOT:
                with pytest.raises(NoAuthError):
                    stranger.delete(path)
    finally:
        stranger.stop()
        stranger.close()


def test_nobody_listens() -> None:
    """An unreachable ZooKeeper is reported with its address after the time given."""
    url = f"127.0.0.1:{free_port()}"
    with pytest.raises(RegistryUnavailable, match=url):
        Session(url, "x").start(timeout_s=0.3)


@pytest.mark.parametrize("url", ["127.0.0.1:port", "127.0.0.1:2181:1:", "no.such.host.invalid:1"])
def test_bad_url(url: str) -> None:
    """What is no address, or a host that does not resolve, is reported with the text given."""
    with pytest.raises(RegistryUnavailable, match=url):
        Session(url, "x").start(timeout_s=0.3)


def test_close_dead_session_needs_no_timeout(
    zookeeper: ZooKeeperForTests, session: Session, root: str
) -> None:
    """Closing a dead process's session removes its ephemerals at once, and tells when it was gone already."""
    with open_session(zookeeper, session_timeout_s=30) as dead:
        dead.create(f"{root}/ephemeral", ephemeral=True)
        credentials = (dead.session_id, dead.session_password)
        assert close_dead_session(zookeeper.url, None, *credentials, 5.0)
        assert not session.exists(f"{root}/ephemeral")
        assert not close_dead_session(zookeeper.url, None, *credentials, 5.0)


def test_close_dead_session_with_a_wrong_password(
    zookeeper: ZooKeeperForTests, session: Session, root: str
) -> None:
    """Who does not have the session's password cannot close it."""
    assert not close_dead_session(zookeeper.url, None, session.session_id, bytes(16), 5.0)
    assert session.get(root).data == b""


def test_close_dead_session_without_zookeeper() -> None:
    """Without a server the error comes in time and names the session."""
    with pytest.raises(RegistryUnavailable, match="0x2a"):
        close_dead_session(f"127.0.0.1:{free_port()}", None, 42, bytes(16), 1.0)


def test_requests_wait_out_a_restart(
    zookeeper_factory: Callable[[], ZooKeeperForTests], caplog: pytest.LogCaptureFixture
) -> None:
    """Requests made while ZooKeeper restarts are answered when it is back; session and ephemerals survive."""
    caplog.set_level(logging.INFO)
    server = zookeeper_factory()
    with open_session(server, session_timeout_s=4) as session:
        states: list[SessionState] = []
        session.add_state_listener(states.append)
        session.put("/fabric/x", b"1")
        session.create("/fabric/e", ephemeral=True)
        identity = session.session_id
        server.kill()
        wait_until(lambda: session.state is SessionState.SUSPENDED)
        answers: list[bytes] = []
        asker = threading.Thread(target=lambda: answers.append(session.get("/fabric/x").data))
        asker.start()
        server.start()
        asker.join(20)
        assert answers == [b"1"]
        assert session.session_id == identity
        assert session.get("/fabric/e").ephemeral_owner == identity
        wait_until(lambda: states == [SessionState.SUSPENDED, SessionState.CONNECTED])
    server.kill()
    assert "suspended" in caplog.text


def test_a_server_that_never_answers_costs_half_a_second(zookeeper: ZooKeeperForTests) -> None:
    """A connection that a starting server accepts and forgets is given up long before the session timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections: list[socket.socket] = []

        def accept() -> None:
            connections.append(listener.accept()[0])  # forgotten
            connections.append(listener.accept()[0])
            forward(connections[1], zookeeper.port)

        server = threading.Thread(target=accept)
        server.start()
        session = Session(f"127.0.0.1:{listener.getsockname()[1]}", zookeeper.password, session_timeout_s=30)
        session.start(timeout_s=8)
        session.close()
        server.join()
        for connection in connections:
            connection.close()


def forward(client: socket.socket, port: int) -> None:
    """Forward one connection until its client ends it."""
    with socket.create_connection(("127.0.0.1", port)) as server:
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(4096)
                if not data and source is client:
                    return
                (server if source is client else client).sendall(data)


def test_requests_time_out_during_an_outage(zookeeper_factory: Callable[[], ZooKeeperForTests]) -> None:
    """During an outage a request fails after the operation timeout, with the address."""
    server = zookeeper_factory()
    session = Session(server.url, server.password, operation_timeout_s=0.2)
    session.start()
    try:
        server.kill()
        with pytest.raises(RegistryUnavailable, match=server.url):
            session.get("/fabric")
    finally:
        session.close()


def test_session_survives_errors_inside_kazoo(
    zookeeper: ZooKeeperForTests, caplog: pytest.LogCaptureFixture
) -> None:
    """If kazoo's connection thread dies, the session is replaced like a lost one; also if it dies again."""
    with open_session(zookeeper) as session:
        connection = session._client._connection
        places = {"_read_socket": 1, "_expand_client_hosts": 2}

        def fail_at_times(place: str) -> None:
            healthy = getattr(connection, place)

            def fail(*arguments: object) -> object:
                if places[place]:
                    places[place] -= 1
                    raise RuntimeError(f"planted in {place}")
                return healthy(*arguments)

            setattr(connection, place, fail)

        for place in places:
            fail_at_times(place)
        old = session.session_id
        session.exists("/")
        wait_until(lambda: session.session_id != old and session.state is SessionState.CONNECTED)
        assert session.exists("/")
        assert not any(places.values())
    ends = [record.getMessage() for record in caplog.records if "it is started again" in record.getMessage()]
    assert len(ends) == 3
    assert "planted in _read_socket" in ends[0]


def test_a_session_that_cannot_start_says_why(zookeeper: ZooKeeperForTests) -> None:
    """If kazoo's connection thread dies at once, and again and again, its error is in ours."""

    def broken_client(url: str, password: str | None, session_timeout_s: float) -> object:
        client = make_client(url, password, session_timeout_s)

        def fail() -> None:
            raise RuntimeError("planted")

        client._connection._expand_client_hosts = fail
        return client

    session = Session(zookeeper.url, zookeeper.password, client_factory=broken_client)
    with pytest.raises(RegistryUnavailable, match=r"The last attempt ended with: RuntimeError\('planted'\)"):
        session.start(timeout_s=0.5)

"""A fabric whose own ZooKeeper servers speak TLS: how they begin, grow, and get other certificates."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.fabric import FabricForTests
from support.waiting import wait_until

from fabric.ensemble_health import look_at
from registry import paths
from registry.channel import PLAIN, ChannelSettings
from registry.encryption import shown_by
from registry.ensemble import servers_of
from registry.errors import ChannelNotSecured
from registry.session import Session, SessionState

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """One server, and two containers that may run others."""
    made = FabricForTests(tmp_path_factory.mktemp("tls"))
    try:
        made.create("--zookeeper-tls", "--profile=fabric")
        made.run("container-create-child", "root", "node", "2")
        yield made
    finally:
        made.end()


def port_of(address: str) -> tuple[str, int]:
    """Host and port of an address."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def certificate_at(fabric: FabricForTests, address: tuple[str, int]) -> str:
    """Whose certificate a port shows to who trusts the fabric's authority."""
    context = ssl.create_default_context(cafile=str(fabric.home.authority_certificate))
    with (
        socket.create_connection(address, 30) as connection,
        context.wrap_socket(connection, server_hostname=address[0]) as encrypted,
    ):
        shown = encrypted.getpeercert()
    assert shown is not None
    return str(dict(pair for names in shown["subject"] for pair in names)["commonName"])


class Writer:
    """A client that writes all the time, and notes how long it had to wait."""

    def __init__(self, fabric: FabricForTests) -> None:
        self._stop = threading.Event()
        self.longest_wait_s = 0.0
        self.problems: list[str] = []
        with fabric.registry() as session:
            session.put("/fabric/written", b"0")
        self._fabric = fabric
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _write(self) -> None:
        try:
            with self._fabric.registry() as session:
                session.add_state_listener(self._state_changed)
                session_id, number = session.session_id, 0
                while not self._stop.is_set():
                    number, begun_s = number + 1, time.monotonic()
                    session.put("/fabric/written", str(number).encode())
                    self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - begun_s)
                assert session.session_id == session_id
                assert session.get("/fabric/written").data == str(number).encode()
        except Exception as error:  # noqa: BLE001 - the test tells it
            self.problems.append(repr(error))

    def _state_changed(self, state: SessionState) -> None:
        if state is SessionState.LOST:
            self.problems.append("the session is lost")


class Watchman:
    """Looks all the time how many servers do not answer."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.away_max = 0
        self.were_away: set[int] = set()

    def __enter__(self) -> "Watchman":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            away = {port for port in self._ports if not self._is_up(port)}
            self.away_max = max(self.away_max, len(away))
            self.were_away |= away

    def _is_up(self, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(b"ruok")
                return connection.recv(4) == b"imok"
        except OSError:
            return False


def leaf_of(fabric: FabricForTests, container: str) -> bytes:
    """The certificate that lies there for a container (DER)."""
    text = fabric.home.container_certificate(container).read_text()
    return ssl.PEM_cert_to_DER_cert(text[: text.index("-----END CERTIFICATE-----") + 25])


def all_show(fabric: FabricForTests, containers: dict[str, str]) -> Callable[[], bool]:
    """Whether each container's server shows what lies there now, by address for clients."""

    def do() -> bool:
        return all(
            shown_by(port_of(address), 5) == leaf_of(fabric, name) for name, address in containers.items()
        )

    return do


def said(fabric: FabricForTests, names: list[str]) -> list[tuple[str, list[str]]]:
    """Who has signed what each container's server shows, and whom it trusts."""
    with fabric.registry() as session:
        nodes = [session.get_or_none(paths.ensemble_server_certificates(name)) for name in names]
    records = [json.loads(node.data) for node in nodes if node is not None]
    return [(record["signer"], record["trusted"]) for record in records]


def log_of(fabric: FabricForTests, *names: str) -> list[tuple[str, str]]:
    """What the containers' logs say of restarts: time and what, in order."""
    lines = []
    for name in names:
        for line in fabric.home.container(name).log.read_text().splitlines():
            for what in ("is restarted for its new certificate;", "serves again, with its new certificate"):
                if what in line:
                    lines.append((line[:23], what))
    return sorted(lines)


def test_the_registry_speaks_tls(fabric: FabricForTests) -> None:
    """Who trusts the fabric's authority gets in with the password; nobody without TLS or with others."""
    address = fabric.home.read_registry_address()
    assert address.channel == ChannelSettings(tls=True, ca=str(fabric.home.authority_certificate))
    assert certificate_at(fabric, port_of(address.zookeeper_url)) == "root"
    assert "TLS: yes, SASL: no" in fabric.run("ensemble-summary")
    plain = Session(address.zookeeper_url, address.zookeeper_password)
    with pytest.raises(ChannelNotSecured, match="only by TLS"):
        plain.start()
    foreign = Session(address.zookeeper_url, address.zookeeper_password, channel=ChannelSettings(tls=True))
    with pytest.raises(ChannelNotSecured, match="This system does not know"):
        foreign.start()
    verdicts = fabric.json("doctor", "--only", "zookeeper", "--only", "port.zookeeper")
    assert {one["state"] for one in verdicts} == {"ok"}, verdicts


def test_it_comes_back(fabric: FabricForTests) -> None:
    """The container and its server are ended and started again; so do all that use them."""
    fabric.run("profile-create", "written-before")
    fabric.run("container-stop", "--force", "root")
    fabric.run("container-start", "root")
    assert "written-before" in fabric.run("profile-list")
    fabric.wait_provisioned("root")
    fabric.wait_provisioned("node")


def test_one_server_takes_over_a_certificate(fabric: FabricForTests) -> None:
    """Nobody types anything but the renewal; who writes meanwhile waits a moment and keeps his session."""
    address = fabric.home.read_registry_address().zookeeper_url
    before = shown_by(port_of(address), 5)
    with Writer(fabric) as writer:
        fabric.run("certificate-renew")
        wait_until(all_show(fabric, {"root": address}), 60, fabric.logs)
        wait_until(lambda: len(log_of(fabric, "root")) == 2, 60, fabric.logs)
    assert not writer.problems
    assert 0.1 < writer.longest_wait_s < 30
    assert shown_by(port_of(address), 5) != before
    assert {one["state"] for one in fabric.json("doctor", "--only", "certificate")} == {"ok"}
    restarts = [one for one in fabric.json("audit-list") if one["origin"] == "container"]
    assert [(one["user"], one["result"]) for one in restarts] == [("container root", "done")]


def test_it_grows(fabric: FabricForTests) -> None:
    """Servers that join have certificates of their own, and speak TLS among each other, too."""
    fabric.run("ensemble-add", "--force", "node", "node2")
    address = fabric.home.read_registry_address()
    places = address.zookeeper_url.split(",")
    assert {certificate_at(fabric, port_of(place)) for place in places} == {"root", "node", "node2"}
    assert sorted(record["address"] for record in fabric.json("ensemble-list")) == sorted(places)

    def modes() -> list[str]:
        return sorted(one.mode for one in look_at(address.zookeeper_url, address.channel))

    wait_until(lambda: modes() == ["follower", "follower", "leader"], 60, lambda: f"{modes()}")
    with fabric.registry() as session:
        servers = servers_of(session).values()
    assert len(servers) == 3
    for server in servers:
        assert certificate_at(fabric, (server.host, server.election_port)) in ("root", "node", "node2")
        assert server.client_address == "127.0.0.1"
        (health,) = look_at(f"127.0.0.1:{server.client_port}", PLAIN)
        assert not health.problem


def test_three_servers_go_over_to_another_authority(fabric: FabricForTests) -> None:
    """Each step of a rollover is typed once; the servers follow one after the other, and nobody is lost."""
    names = ["root", "node", "node2"]
    states = {}
    with fabric.registry() as session:
        for name in names:
            states[name] = json.loads(session.get(paths.ensemble_server_state(name)).data)
        ports = [server.client_port for server in servers_of(session).values()]
    addresses = {name: state["url"] for name, state in states.items()}
    restarts_before = len(log_of(fabric, *names))
    with Writer(fabric) as writer, Watchman(ports) as watchman:
        wait_until(lambda: len(said(fabric, names)) == 3, 60, fabric.logs)
        fabric.run("certificate-rollover", "begin")
        wait_until(lambda: all(len(trusted) == 2 for _, trusted in said(fabric, names)), 60, fabric.logs)
        fabric.run("certificate-rollover", "switch")
        wait_until(all_show(fabric, addresses), 120, fabric.logs)
        fabric.run("certificate-rollover", "finish")
        wait_until(lambda: all(len(trusted) == 1 for _, trusted in said(fabric, names)), 60, fabric.logs)
        wait_until(lambda: len(log_of(fabric, *names)) == restarts_before + 6, 60, fabric.logs)
    assert not writer.problems
    assert watchman.away_max == 1
    assert watchman.were_away == set(ports)
    happened = [what.partition(" ")[0] for _, what in log_of(fabric, *names)][restarts_before:]
    assert happened == ["is", "serves"] * 3
    assert {signer for signer, _ in said(fabric, names)} == {said(fabric, ["root"])[0][1][0]}
    with fabric.registry() as session:
        for server in servers_of(session).values():
            assert shown_by((server.host, server.election_port), 5) in {leaf_of(fabric, one) for one in names}


def test_a_broken_file_changes_nothing(fabric: FabricForTests) -> None:
    """The server goes on with what it has; its container and the doctor say why."""
    path = fabric.home.container_certificate("node")
    good = path.read_bytes()
    with fabric.registry() as session:
        address = json.loads(session.get(paths.ensemble_server_state("node")).data)["url"]
    before = shown_by(port_of(address), 5)
    path.write_bytes(good.replace(b"-----END PRIVATE KEY-----", b""))
    log = fabric.home.container("node").log
    wait_until(lambda: "goes on with what it has" in log.read_text(), 60, fabric.logs)
    verdicts = fabric.json("doctor", "--only", "certificate.zookeeper", code=1)
    (bad,) = (one for one in verdicts if one["state"] == "problem")
    assert f"{path} cannot be used: there is no key in it" in bad["what"]
    path.write_bytes(good)
    assert shown_by(port_of(address), 5) == before == leaf_of(fabric, "node")
    assert {one["state"] for one in fabric.json("doctor", "--only", "certificate.zookeeper")} == {"ok"}

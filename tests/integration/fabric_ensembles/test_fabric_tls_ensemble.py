"""A fabric whose own ZooKeeper servers speak TLS: how they begin, grow, and get other certificates."""

import socket
import ssl
from collections.abc import Iterator

import pytest
from support.ensembles import Watchman, Writer, all_show, leaf_of, log_of, port_of, said, server_states
from support.fabric import FabricForTests
from support.waiting import wait_until

from fabric.ensemble_health import look_at
from registry.channel import PLAIN, ChannelSettings
from registry.encryption import shown_by
from registry.ensemble import servers_of
from registry.errors import ChannelNotSecured
from registry.session import Session

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
    addresses = {name: state.url for name, state in server_states(fabric, names).items()}
    with fabric.registry() as session:
        ports = [server.client_port for server in servers_of(session).values()]
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
    address = server_states(fabric, ["node"])["node"].url
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

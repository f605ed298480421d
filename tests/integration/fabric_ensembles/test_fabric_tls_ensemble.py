"""A fabric whose own ZooKeeper servers speak TLS."""

import socket
import ssl
from collections.abc import Iterator

import pytest
from support.fabric import FabricForTests
from support.waiting import wait_until

from fabric.ensemble_health import look_at
from registry.channel import PLAIN, ChannelSettings
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

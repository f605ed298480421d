"""Two fabrics below two paths of one ensemble that is somebody else's."""

import base64
import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.fabric import FabricForTests
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests

from registry.session import Session

pytestmark = pytest.mark.integration

PASSWORDS = {"shop": "shop-secret", "bank": "bank-secret"}
DESTINATION = "queue://orders"


@dataclass
class Tenants:
    """A server and the two fabrics in it."""

    server: ZooKeeperForTests
    shop: FabricForTests
    bank: FabricForTests


def url_of(server: ZooKeeperForTests, name: str) -> str:
    """Return where the fabric of that name is."""
    return f"{server.url}/fabrics/{name}"


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """Two fabrics, provisioned; their addresses are given with a slash too many."""
    folder = tmp_path_factory.mktemp("tenants")
    server = ZooKeeperForTests(folder / "zookeeper")
    server.start_ready()
    fabrics = {name: FabricForTests(folder / name) for name in PASSWORDS}
    try:
        for name, fabric in fabrics.items():
            fabric.create(
                f"--zookeeper-url={url_of(server, name)}/",
                f"--zookeeper-password={PASSWORDS[name]}",
                "--profile=fabric",
            )
        yield Tenants(server, fabrics["shop"], fabrics["bank"])
    finally:
        for fabric in fabrics.values():
            fabric.end()
        server.stop()


def test_nothing_lies_outside_the_paths(tenants: Tenants) -> None:
    """Each fabric has all its znodes below its path, which is its own; what lies above is everybody's."""
    session = Session(tenants.server.url, None)
    session.start()
    try:
        assert session.children("/") == ["fabrics", "zookeeper"]
        assert session.children("/fabrics") == ["bank", "shop"]
    finally:
        session.close()
    for name, other in (("shop", "bank"), ("bank", "shop")):
        session = Session(tenants.server.url, PASSWORDS[name])
        session.start()
        try:
            assert session.children(f"/fabrics/{name}") == ["fabric"]
            session.get(f"/fabrics/{name}/fabric/configs/ensemble/url")
            with pytest.raises(Exception, match="No permission"):
                session.children(f"/fabrics/{other}")
        finally:
            session.close()
    assert tenants.shop.home.read_registry_address().zookeeper_url == url_of(tenants.server, "shop")


def test_two_fabrics_do_not_see_each_other(tenants: Tenants) -> None:
    """Containers and users of the same names are two; a profile of one is not the other's."""
    tenants.shop.run("profile-create", "only-here")
    assert "only-here" in tenants.shop.run("profile-list")
    assert "only-here" not in tenants.bank.run("profile-list")
    for fabric in (tenants.shop, tenants.bank):
        assert [record["id"] for record in fabric.json("container-list")] == ["root"]


def test_what_looks_at_the_servers_asks_them(tenants: Tenants) -> None:
    """Doctor, the list of servers and the console's health ask the server, whatever path follows its name."""
    verdicts = tenants.shop.json("doctor", "--only", "zookeeper")
    assert {one["state"] for one in verdicts} == {"ok"}, verdicts
    assert any(f"ZooKeeper server {tenants.server.url} is standalone" in one["what"] for one in verdicts)
    said = tenants.shop.run("ensemble-summary")
    assert f"Ensemble URL: {url_of(tenants.server, 'shop')}" in said
    assert f"Server {tenants.server.url}: standalone" in said
    request = urllib.request.Request(f"{tenants.shop.console_url}/api/v1/registry/ensemble")
    request.add_header("Authorization", f"Basic {base64.b64encode(b'admin:admin').decode()}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        (server,) = json.load(answer)
    assert (server["address"], server["mode"]) == (tenants.server.url, "standalone")
    refused = tenants.shop.run("ensemble-add", "root", code=1)
    assert "The fabric does not run its ensemble itself." in refused


def test_a_host_joins_and_clients_find_its_broker(tenants: Tenants, tmp_path: Path) -> None:
    """A broker on a joined host serves those who find it by the path; killed, it is the master again."""
    shop = tenants.shop
    east = shop.host(tmp_path / "east")
    try:
        east.join(shop, "east", "--profile=default", "--wait-for-provisioning")
        shop.run("mq-create", "till", f"--data={tmp_path}/till", "--connectors=openwire")
        shop.run("container-create-child", "--profile=mq-broker-default.till", "east", "till1")
        assert shop.wait_master("till", slaves=0) == "till1"
        client(tenants, "producer", "3")
        old = east.pid("till1")
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: (east.home.container("till1").read_process() or old) != old, 60, shop.logs)
        assert shop.wait_master("till", slaves=0) == "till1"
        client(tenants, "consumer", "3")
        east.run("leave", "--force")
    finally:
        east.end()
    assert [record["id"] for record in shop.json("container-list")] == ["root"]


def client(tenants: Tenants, kind: str, count: str) -> None:
    """Send or receive so many messages, from a host of the other fabric."""
    tenants.bank.run(
        kind,
        f"-Dzookeeper.url={url_of(tenants.server, 'shop')}/",
        f"-Dzookeeper.password={PASSWORDS['shop']}",
        *("--brokerUrl", "discovery:fabric:default", "--destination", DESTINATION),
        *("--user", "admin", "--password", "admin", "--count", count),
        program="mq-client",
    )


def test_what_is_refused(tenants: Tenants, tmp_path: Path) -> None:
    """A path that is not there, one that is taken, one that is none: nothing is made."""
    stranger = tenants.shop.host(tmp_path / "stranger")
    password = "--zookeeper-password=shop-secret"
    said = stranger.run("join", url_of(tenants.server, "shp"), "x", password, code=1)
    assert "There is no path /fabrics/shp in the ensemble" in said
    typo = f"--zookeeper-url={url_of(tenants.server, 'shp')}"
    assert "No such znode" in stranger.run(typo, password, "zk-create", "/fabric/x", code=1)
    assert "is wrong" in stranger.run("join", url_of(tenants.server, "bank"), "x", password, code=1)
    said = stranger.run("join", f"{tenants.server.url}/a,{tenants.server.url}/a", "x", password, code=1)
    assert "the path stands once, behind the last server" in said
    user = ("--new-user=admin", "--new-user-password=admin")
    taken = f"--zookeeper-url={url_of(tenants.server, 'shop')}"
    assert "There is a fabric in the ensemble" in stranger.run("create", *user, taken, password, code=1)
    below = f"--zookeeper-url={url_of(tenants.server, 'bank')}/deeper"
    said = stranger.run("create", *user, below, password, code=1)
    assert "the ensemble does not let us make it" in said
    broken = "--zookeeper-url=zk://zk1/a"
    assert "leave out the scheme" in stranger.run("create", *user, broken, code=1)
    assert not stranger.home.has_fabric()
    session = Session(tenants.server.url, None)
    session.start()
    try:
        assert session.children("/fabrics") == ["bank", "shop"]
    finally:
        session.close()

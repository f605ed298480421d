"""Hosts in containers of Docker's whose ensemble speaks nothing but TLS beyond its own host."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.models.containers import Container
from support.certificates import Keys
from support.waiting import wait_until

import docker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

PASSWORD = "a-password"
START_TIMEOUT_S = 180
SERVER = {
    "FABRIC_ROLE": "zookeeper",
    "ZOO_MY_ID": "1",
    "ZOO_SERVERS": "server.1=zk:2888:3888;127.0.0.1:2181",
    "ZOO_CFG_EXTRA": "standaloneEnabled=false secureClientPort=2281 ssl.clientAuth=none "
    "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory "
    "ssl.keyStore.type=PEM ssl.keyStore.location=/certificates/zk.pem "
    "ssl.trustStore.type=PEM ssl.trustStore.location=/certificates/ca.pem",
}
REGISTRY = {
    "ZOOKEEPER_URL": "zk:2281",
    "ZOOKEEPER_PASSWORD": PASSWORD,
    "ZOOKEEPER_TLS": "1",
    "ZOOKEEPER_CA": "/certificates/ca.pem",
}


class Hosts:
    """Containers of Docker's in a network of their own."""

    def __init__(self, engine: docker.DockerClient, certificates: Path) -> None:
        self._engine = engine
        self._certificates = certificates
        self._network = engine.networks.create(f"fabric-tls-{uuid.uuid4().hex[:8]}")
        self._hosts: list[Container] = []

    def start(self, name: str, image: str, environment: dict[str, str]) -> Container:
        """Start one; its name is how the others reach it."""
        volumes = {str(self._certificates): {"bind": "/certificates", "mode": "ro"}}
        host = self._engine.containers.create(
            image,
            hostname=name,
            environment=environment,
            volumes=volumes,
            networking_config={
                str(self._network.name): self._engine.api.create_endpoint_config(aliases=[name])
            },
            network=str(self._network.name),
        )
        self._hosts.append(host)
        host.start()
        return host

    def logs(self) -> str:
        """What all of them said last."""
        return "\n".join(f"--- {host.id}\n{host.logs(tail=40).decode()}" for host in self._hosts)

    def wait_said(self, host: Container, text: str) -> None:
        """Wait until one has said something."""
        wait_until(lambda: text in host.logs().decode(), START_TIMEOUT_S, self.logs)

    def run(self, host: Container, *words: str) -> str:
        """Run a command in one."""
        code, printed = host.exec_run(list(words))
        assert code == 0, f"{printed.decode()}\n{self.logs()}"
        return str(printed.decode())

    def close(self) -> None:
        """Remove all."""
        for host in self._hosts:
            host.remove(v=True, force=True)
        self._network.remove()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Hosts that find certificates in a folder, one of them a ZooKeeper server."""
    folder = tmp_path_factory.mktemp("certificates")
    keys = Keys(folder / "authority")
    for name, content in (("ca", keys.trust), ("zk", keys.sign("zk", "zk"))):
        (folder / f"{name}.pem").write_bytes(content.read_bytes())
        (folder / f"{name}.pem").chmod(0o644)
    folder.chmod(0o755)
    with contextlib.closing(docker.from_env()) as engine:
        made = Hosts(engine, folder)
        try:
            made.start("zk", "fabric:latest", SERVER)
            yield made
        finally:
            made.close()


def test_hosts_create_join_and_use_a_fabric(hosts: Hosts) -> None:
    """Each role is told the way by the same variables as the command line."""
    root = hosts.start(
        "root",
        "fabric-host:latest",
        {**REGISTRY, "FABRIC_ROLE": "create", "FABRIC_PASSWORD": PASSWORD, "FABRIC_PROFILES": "fabric"},
    )
    east = hosts.start("east", "fabric-host:latest", {**REGISTRY, "FABRIC_ROLE": "join"})
    client = hosts.start("client", "fabric-host:latest", {**REGISTRY, "FABRIC_ROLE": "client"})
    wait_until(
        lambda: "east" in hosts.run(client, "fabric", "container-list") if is_there(root) else False,
        START_TIMEOUT_S,
        hosts.logs,
    )
    assert "TLS: yes, SASL: no" in hosts.run(client, "fabric", "ensemble-summary")
    assert "root" in hosts.run(east, "fabric", "container-list")


def is_there(host: Container) -> bool:
    """Whether the host has become what its role says."""
    return host.exec_run(["fabric-health"])[0] == 0


def test_why_a_host_does_not_start(hosts: Hosts) -> None:
    """It says what it waits for, and what is wrong with what it was told."""
    base = {"FABRIC_ROLE": "client", "FABRIC_PASSWORD": PASSWORD, "FABRIC_WAIT_S": "600"}
    untrusting = hosts.start(
        "south", "fabric-host:latest", {**REGISTRY, **base, "FABRIC_ROLE": "join", "ZOOKEEPER_CA": ""}
    )
    hosts.wait_said(untrusting, "zk:2281 is not trusted")
    half = hosts.start(
        "north", "fabric-host:latest", {**REGISTRY, **base, "ZOOKEEPER_KEY": "/certificates/zk.pem"}
    )
    assert half.wait(timeout=60)["StatusCode"] == 1
    assert "name that with ZOOKEEPER_CERTIFICATE" in half.logs().decode()

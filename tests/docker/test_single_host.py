"""One container of Docker's holds a whole fabric, and keeps it when it is replaced by another."""

import uuid
from collections.abc import Iterator

import pytest
from support.docker_lab import FAULT_TIMEOUT_S, DockerLab
from support.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

HOST = "fabric"
QUEUE = "queue://kept"


@pytest.fixture(scope="module")
def single() -> Iterator[DockerLab]:
    """Return a fabric of one host."""
    lab = DockerLab(f"fabric-single-{uuid.uuid4().hex[:8]}", "compose.single.yaml", types_at=HOST)
    try:
        lab.up()
        yield lab
    finally:
        lab.close()


def send(lab: DockerLab, count: int) -> None:
    """Send messages to the root container's broker."""
    lab.execute_at(HOST, *lab.client_words("producer", QUEUE, count))


def receive(lab: DockerLab, count: int) -> str:
    """Receive them."""
    return lab.execute_at(HOST, *lab.client_words("consumer", QUEUE, count)).stdout


def test_a_client_outside_finds_broker_and_console(single: DockerLab) -> None:
    """Both are published on the loopback address, and on no other."""
    assert single.status_of(HOST, 8181, "/login") == 200
    assert single.published_port(HOST, 61616) > 0


def test_what_was_stored_survives_the_container(single: DockerLab) -> None:
    """`down` and `up` replace the container; volumes keep fabric, users and messages."""
    send(single, 5)
    before = single.host(HOST).id
    single.down(volumes=False)
    single.up()
    assert single.host(HOST).id != before
    single.wait_provisioned("root")
    assert "Consumed: 5 messages" in receive(single, 5)


def test_it_ends_in_order(single: DockerLab) -> None:
    """`docker stop` lets brokers close their journals and ends ZooKeeper last; a start goes on."""
    send(single, 3)
    host = single.host(HOST)
    host.stop(timeout=60)
    assert host.wait(timeout=60)["StatusCode"] == 0
    assert "Everything on this host has ended in order." in host.logs(tail=5).decode()
    single.start(HOST)
    single.wait_provisioned("root")
    assert "Consumed: 3 messages" in receive(single, 3)


def test_it_gets_over_a_crash(single: DockerLab) -> None:
    """After the power was cut, a start brings all back that was acknowledged."""
    send(single, 4)
    single.kill(HOST)
    single.start(HOST)
    single.wait_provisioned("root")
    assert "Consumed: 4 messages" in receive(single, 4)


def test_a_container_that_dies_is_started_again(single: DockerLab) -> None:
    """The host goes on when the process of its root container is killed."""
    single.wait_provisioned("root")
    pid = single.container("root")["pid"]
    single.execute_at(HOST, "sh", "-c", f"kill -9 {pid}")
    wait_until(lambda: single.container("root")["pid"] not in (None, pid), FAULT_TIMEOUT_S, single.logs)
    single.wait_provisioned("root")
    wait_until(lambda: single.health(HOST) == "healthy", FAULT_TIMEOUT_S, single.logs)

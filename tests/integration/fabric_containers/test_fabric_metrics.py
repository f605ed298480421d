"""Metrics of a real fabric, and the record of a real takeover."""

import base64
import http.client
import json
import os
import signal
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.fabric import FabricForTests
from support.waiting import wait_until

from fabric.metrics.registry import read_fabric_figures
from fabric.metrics.targets import read_targets
from registry.session import Session

pytestmark = pytest.mark.integration

BROKER = "measured"
PROFILE = f"mq-broker-default.{BROKER}"
PAIR = ("pair1", "pair2")
ADMIN = "Basic " + base64.b64encode(b"admin:admin").decode()
CLIENT = ("--brokerUrl", "discovery:fabric:default", "--user", "admin", "--password", "admin")


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric with a pair of brokers whose containers serve metrics."""
    fabric = FabricForTests(tmp_path_factory.mktemp("metrics"))
    try:
        fabric.create("--profile=fabric")
        fabric.run("mq-create", "--group", "default", BROKER)
        for name in PAIR:
            fabric.run("container-create-child", "--profile", PROFILE, "--profile", "metrics", "root", name)
        fabric.wait_master(BROKER, slaves=1)
        for name in PAIR:
            fabric.wait_provisioned(name)
        yield fabric
    finally:
        fabric.end()


def url_of(fabric: FabricForTests, container: str) -> str:
    """Where its metrics are, as the registry says."""
    return fabric.execute("zk-get", f"/fabric/registry/containers/config/{container}/metrics").stdout.strip()


def ask(
    url: str,
    authorization: str | None = ADMIN,
    *,
    method: str = "GET",
    body: bytes | None = None,
    path: str = "",
    ca: str | None = None,
) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    if parts.scheme == "https":
        trust = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=30, context=trust)
    try:
        headers = {} if authorization is None else {"Authorization": authorization}
        connection.request(method, path or parts.path, body, headers)
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return response.status, fields, response.read().decode()
    finally:
        connection.close()


def samples(fabric: FabricForTests, container: str, /, **labels: str) -> dict[str, float]:
    """The numbers with these labels, by name."""
    status, _, text = ask(url_of(fabric, container))
    assert status == 200, text
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if labels.items() <= sample.labels.items()
    }


def send(fabric: FabricForTests, count: int) -> None:
    """Send durable messages to the queue `orders`."""
    fabric.run(
        "producer", *CLIENT, "--destination", "queue://orders", "--count", str(count), program="mq-client"
    )


def recorded(fabric: FabricForTests) -> list[str]:
    """The containers that became the master, the newest first."""
    return [row["container"] for row in fabric.json("takeover-list", "--group", "default")]


def session_of(fabric: FabricForTests) -> Session:
    """A session with its registry."""
    address = fabric.home.read_registry_address()
    session = Session(address.zookeeper_url, address.zookeeper_password)
    session.start(30)
    return session


def test_the_master_shows_what_was_sent(fabric: FabricForTests) -> None:
    """Messages, bytes, syncs and the election are counted, and the slave has its role."""
    master = fabric.wait_master(BROKER, slaves=1)
    send(fabric, 10)
    found = samples(fabric, master, container=master, group="default", broker=BROKER)
    assert found["fabric_broker_messages_enqueued_total"] >= 10
    assert found["fabric_journal_sync_seconds_count"] >= 1
    assert found["fabric_journal_batch_records_sum"] >= 10
    assert found["fabric_broker_usage_limit_bytes"] > 0
    assert found["fabric_broker_takeovers_total"] == 1
    of_queue = samples(fabric, master, destination="orders", kind="queue")
    assert of_queue["fabric_destination_messages"] == 10
    assert of_queue["fabric_destination_enqueued_bytes_total"] > 100
    slave = next(name for name in PAIR if name != master)
    assert samples(fabric, slave, role="slave")["fabric_broker_role"] == 1
    assert samples(fabric, slave)["process_resident_memory_bytes"] > 1 << 20


def test_nobody_sees_it_without_a_password(fabric: FabricForTests) -> None:
    """What is missing or wrong is said; nothing is shown."""
    url = url_of(fabric, PAIR[0])
    wrong = "Basic " + base64.b64encode(b"admin:wrong").decode()
    for authorization, status in (
        (None, 401),
        (wrong, 401),
        ("Bearer x", 401),
        ("Basic !", 400),
        ("Digest x", 401),
    ):
        got, headers, text = ask(url, authorization)
        assert got == status, (authorization, text)
        assert "fabric_" not in text
        assert "www-authenticate" in headers or status == 400


def test_other_requests_are_refused(fabric: FabricForTests) -> None:
    """There is one page, which is only read; a body is not even received."""
    url = url_of(fabric, PAIR[0])
    assert ask(url, path="/other")[0] == 404
    assert ask(url, path="/metrics/more")[0] == 404
    assert ask(url, method="POST")[0] == 405
    assert ask(url, body=b"x" * 1000)[0] == 413
    assert ask(url, method="HEAD")[::2] == (200, "")


def test_prometheus_finds_the_containers(fabric: FabricForTests) -> None:
    """The registry names each container that serves metrics, and what it knows of the fabric is there."""
    session = session_of(fabric)
    try:
        targets = {each["labels"]["container"]: each for each in read_targets(session)}
        figures = read_fabric_figures(session)
    finally:
        session.close()
    assert set(targets) == set(PAIR)
    assert targets[PAIR[0]]["targets"] == [urlsplit(url_of(fabric, PAIR[0])).netloc]
    known = {
        (metric.name, labels): value for metric, found in figures.samples.items() for labels, value in found
    }
    assert known["container_connected", (PAIR[0],)] == 1
    assert known["container_provision_result", (PAIR[0], "success")] == 1
    assert known["cluster_masters", ("default", BROKER)] == 1
    assert known["cluster_slaves", ("default", BROKER)] == 1
    assert known["profile_instances_running", (PROFILE,)] == 2


def test_a_takeover_is_recorded_with_its_phases(fabric: FabricForTests) -> None:
    """The master is killed: who took over, why, and how long each step took can be read afterwards."""
    master = fabric.wait_master(BROKER, slaves=1)
    slave = next(name for name in PAIR if name != master)
    send(fabric, 1)
    wait_until(lambda: recorded(fabric) == [master], 60, fabric.logs)
    os.kill(fabric.pid(master), signal.SIGKILL)
    wait_until(lambda: fabric.broker(BROKER)["masters"] == [slave], 60, fabric.logs)
    send(fabric, 1)
    wait_until(lambda: recorded(fabric) == [slave, master], 60, fabric.logs)
    newest, first = fabric.json("takeover-list", "--group", "default", "--broker", BROKER)
    assert (newest["previous_container"], newest["reason"]) == (master, "previous master died")
    assert newest["epoch"] > first["epoch"]
    phases = newest["phases_ms"]
    assert list(phases) == ["detected", "claimed", "recovered", "listening", "published", "first_send"]
    assert sorted(phases.values()) == list(phases.values())
    assert (first["container"], first["reason"], first["previous_container"]) == (master, "start", "")
    assert f"{BROKER}" in fabric.run("takeover-list")
    found = samples(fabric, slave, phase="published")
    assert found["fabric_broker_last_takeover_phase_seconds"] == pytest.approx(
        phases["published"] / 1000, abs=1e-3
    )
    fabric.wait_master(BROKER, slaves=1)


def test_a_name_that_cannot_be(fabric: FabricForTests) -> None:
    """It is refused before the registry is asked; a group without takeovers has none."""
    assert "is not the name" in fabric.run("takeover-list", "--group", "a/b", code=2)
    assert json.loads(fabric.execute("takeover-list", "--group", "none", "--output", "json").stdout) == []


def test_the_number_of_destinations_can_be_changed_while_it_serves(fabric: FabricForTests) -> None:
    """The rest is one sum; the broker is not made anew for it."""
    master = fabric.wait_master(BROKER, slaves=1)
    send(fabric, 10)
    takeovers = samples(fabric, master, broker=BROKER)["fabric_broker_takeovers_total"]
    pid = f"io.fabric8.mq.fabric.server-{BROKER}"
    fabric.run("profile-edit", "--pid", f"{pid}/metrics.destinations=0", PROFILE)
    wait_until(lambda: not samples(fabric, master, destination="orders"), 60, fabric.logs)
    rest = samples(fabric, master, destination="", kind="")
    assert rest["fabric_destination_messages"] >= 10
    assert samples(fabric, master, broker=BROKER)["fabric_broker_takeovers_total"] == takeovers


def test_metrics_over_tls_and_their_limits(fabric: FabricForTests) -> None:
    """With the container's certificate, also with the next one; who asks too much waits, and is counted."""
    fabric.run("certificate-create")
    limits = ("limits.trusted=none", "requestsPerSecond=2")
    settings = ("protocol=https", *limits)
    pids = [word for each in settings for word in ("--pid", f"io.fabric8.metrics/{each}")]
    fabric.run("profile-edit", *pids, "metrics")
    name = PAIR[1]
    wait_until(lambda: url_of(fabric, name).startswith("https://"), 60, fabric.logs)
    url, authority = url_of(fabric, name), str(fabric.home.authority_certificate)
    assert ask(url, ca=authority)[0] == 200
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(url.replace("https://", "http://"))
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(url)
    session = session_of(fabric)
    try:
        (target,) = [each for each in read_targets(session) if each["labels"]["container"] == name]
    finally:
        session.close()
    assert target["labels"]["__scheme__"] == "https"
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 0)
    first = ssl.get_server_certificate(address, timeout=30)
    fabric.run("certificate-renew")
    wait_until(lambda: ssl.get_server_certificate(address, timeout=30) != first, 60, fabric.logs)
    answers = [ask(url, None, ca=authority) for _ in range(60)]
    (headers, text) = next(answer[1:] for answer in answers if answer[0] == 429)
    assert headers["retry-after"] == "1" and "requestsPerSecond" in text

    def refused() -> bool:
        status, _, text = ask(url, ca=authority)
        return status == 200 and 'fabric_http_requests_refused_total{container="' in text

    wait_until(refused, 60, fabric.logs)


def test_metrics_end_with_their_profile(fabric: FabricForTests) -> None:
    """Their address leaves the registry."""
    fabric.run("container-remove-profile", PAIR[0], "metrics")
    path = f"/fabric/registry/containers/config/{PAIR[0]}"
    wait_until(lambda: "metrics" not in fabric.run("zk-list", path).split(), 60, fabric.logs)

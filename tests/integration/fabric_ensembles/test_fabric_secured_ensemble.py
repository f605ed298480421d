"""A fabric in somebody else's ensemble that asks for TLS, certificates and logins."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.certificates import Keys
from support.fabric import FabricForTests
from support.waiting import wait_until
from support.zookeeper import SASL_PASSWORD, SASL_USER, SecuredZooKeeper

from fabric.ensemble_health import look_at
from registry.channel import PLAIN, ChannelSettings
from registry.errors import ChannelNotSecured, LoginFailed
from registry.session import Session, SessionState, close_dead_session

pytestmark = pytest.mark.integration

PASSWORD = "ensemble-secret"
USER = ("--new-user=admin", "--new-user-password=admin")


@dataclass
class Scene:
    """A server, whose certificates are whose, and a fabric in it with a pair of brokers on two hosts."""

    server: SecuredZooKeeper
    keys: Keys
    fabric: FabricForTests
    east: FabricForTests

    @property
    def options(self) -> list[str]:
        """How commands are told of the ensemble."""
        channel = self.server.channel
        return [
            "--zookeeper-tls",
            f"--zookeeper-ca={channel.ca}",
            f"--zookeeper-certificate={channel.certificate}",
            f"--zookeeper-sasl-user={SASL_USER}",
            f"--zookeeper-sasl-password={SASL_PASSWORD}",
        ]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The fabric below a path, provisioned."""
    folder = tmp_path_factory.mktemp("secured")
    keys = Keys(folder / "keys")
    server = SecuredZooKeeper(folder / "zookeeper", keys)
    server.start_ready()
    fabric = FabricForTests(folder / "root")
    made = Scene(server, keys, fabric, fabric.host(folder / "east"))
    try:
        url = f"--zookeeper-url={server.secure_url}/fabrics/shop"
        fabric.create(url, f"--zookeeper-password={PASSWORD}", *made.options, "--profile=fabric")
        yield made
    finally:
        made.east.end()
        fabric.end()
        server.stop()


def test_everybody_takes_part(scene: Scene) -> None:
    """A host joins, a pair elects its master, clients find it, and a killed master's session ends at once."""
    fabric, east = scene.fabric, scene.east
    east.join(fabric, "east", *scene.options, "--profile=default", "--wait-for-provisioning")
    fabric.run("mq-create", "till", f"--data={fabric.folder}/till", "--connectors=openwire")
    for parent, child in (("root", "till1"), ("east", "till2")):
        fabric.run("container-create-child", "--profile=mq-broker-default.till", parent, child)
    master = fabric.wait_master("till", slaves=1)
    client(scene, "producer")
    host = fabric if master == "till1" else east
    os.kill(host.pid(master), signal.SIGKILL)
    wait_until(lambda: fabric.broker("till")["masters"] not in ([], [master]), 60, fabric.logs)
    client(scene, "consumer")
    assert "could not be closed" not in fabric.logs()


def client(scene: Scene, kind: str) -> None:
    """Send or receive three messages, from a host of no fabric."""
    channel = scene.server.channel
    stranger = scene.fabric.host(scene.fabric.folder / "nowhere")
    stranger.run(
        kind,
        f"-Dzookeeper.url={scene.server.secure_url}/fabrics/shop",
        f"-Dzookeeper.password={PASSWORD}",
        f"-Dzookeeper.ssl.trustStore.location={channel.ca}",
        f"-Dzookeeper.ssl.keyStore.location={channel.certificate}",
        f"-Dzookeeper.sasl.user={SASL_USER}",
        f"-Dzookeeper.sasl.password={SASL_PASSWORD}",
        *("--brokerUrl", "discovery:fabric:default", "--destination", "queue://orders"),
        *("--user", "admin", "--password", "admin", "--count", "3"),
        program="mq-client",
    )


def test_what_tells_of_it(scene: Scene) -> None:
    """Summary and doctor say how ZooKeeper is talked to, and ask its servers so; the file is its owner's."""
    said = scene.fabric.run("ensemble-summary")
    assert f"TLS: yes, SASL: {SASL_USER}" in said
    assert f"Server {scene.server.secure_url}: standalone" in said
    record = scene.fabric.json("ensemble-summary")
    assert (record["tls"], record["sasl_user"]) == (True, SASL_USER)
    verdicts = scene.fabric.json("doctor", "--only", "zookeeper")
    assert {one["state"] for one in verdicts} == {"ok"}, verdicts
    assert any(f"by TLS, with a login as {SASL_USER} (SASL)" in one["what"] for one in verdicts)
    assert (scene.fabric.folder / "fabric.json").stat().st_mode & 0o777 == 0o600
    assert SASL_PASSWORD not in repr(scene.fabric.home.read_registry_address())


def test_what_is_refused_at_the_command_line(scene: Scene, tmp_path: Path) -> None:
    """What is wrong is said with what to do, and nothing is left behind."""
    stranger = scene.fabric.host(tmp_path / "stranger")
    secure, plain = f"{scene.server.secure_url}/x", f"{scene.server.plain_url}/x"
    password = f"--zookeeper-password={PASSWORD}"
    for url, options, why in (
        (plain, scene.options, "Is it its secure port (secureClientPort, often 2281)?"),
        (
            secure,
            [*scene.options, f"--zookeeper-ca={tmp_path}/no.pem"],
            "no.pem, cannot be used: No such file",
        ),
        (
            secure,
            [*scene.options, f"--zookeeper-ca={Keys(tmp_path).trust}"],
            "does not hold who has signed it",
        ),
        (secure, [*scene.options, "--zookeeper-sasl-password=wrong"], "does not take the login of 'shop'"),
        (secure, scene.options[:3], "asks for a login (SASL)"),
    ):
        said = stranger.run("create", *USER, f"--zookeeper-url={url}", password, *options, code=1)
        assert why in said, said
        assert not stranger.home.has_fabric()


def opened(url: str, channel: ChannelSettings) -> None:
    """Open a session and close it."""
    session = Session(url, PASSWORD, channel=channel)
    session.start(8.0)
    session.close()


def test_what_is_refused(scene: Scene) -> None:
    """Each lack has an error of its own, early; nobody gets in without all that is asked for."""
    server, good = scene.server, scene.server.channel
    opened(server.secure_url, good)
    nobody = replace(good, sasl_user="nobody", sasl_password="nothing")
    for url, channel, kind, why in (
        (server.secure_url, replace(good, certificate=""), ChannelNotSecured, "it was shown no certificate"),
        (server.secure_url, replace(good, ca=""), ChannelNotSecured, "This system does not know"),
        (
            f"127.0.0.1:{server.secure_port}",
            good,
            ChannelNotSecured,
            "(?s)not valid for '127.0.0.1'.*Name the server",
        ),
        (server.secure_url, replace(good, sasl_user=""), LoginFailed, "asks for a login"),
        (server.secure_url, nobody, LoginFailed, "the login of 'nobody'"),
        (
            server.plain_url,
            replace(good, tls=False, sasl_password="x"),
            LoginFailed,
            "does not take the login",
        ),
        (server.plain_url, PLAIN, LoginFailed, "asks for a login"),
    ):
        with pytest.raises(kind, match=why):
            opened(url, channel)
    opened(server.plain_url, replace(good, tls=False))
    opened(f"127.0.0.1:{server.secure_port}", replace(good, any_host_name=True))


def test_who_forgets_tls_is_told(scene: Scene) -> None:
    """Without TLS a secure port only hangs up; we look why, long before the time is over."""
    session = Session(scene.server.secure_url, PASSWORD)
    with pytest.raises(ChannelNotSecured, match="only by TLS"):
        session.start(600.0)


def test_a_server_is_asked_how_it_is_by_tls(scene: Scene) -> None:
    """The four letter words need no login, but the right authority."""
    (server,) = look_at(scene.server.secure_url, scene.server.channel)
    assert (server.mode, server.problem) == ("standalone", "")
    (server,) = look_at(scene.server.secure_url, replace(scene.server.channel, ca=""))
    assert "is not trusted" in server.problem


def test_the_session_of_the_dead_is_closed(scene: Scene) -> None:
    """Who has its id and password ends it, by TLS and with the login."""
    url, channel = scene.server.secure_url, scene.server.channel
    session = Session(url, PASSWORD, channel=channel)
    session.start()
    lost: list[SessionState] = []
    session.add_state_listener(lost.append)
    assert close_dead_session(url, None, session.session_id, session.session_password, channel=channel)
    wait_until(lambda: SessionState.LOST in lost, 30)
    wait_until(lambda: session.state is SessionState.CONNECTED, 30)
    session.close()
    assert not close_dead_session(url, None, session.session_id, session.session_password, channel=channel)


def test_a_session_survives_its_server(scene: Scene) -> None:
    """The server is ended and started again: the same session logs in again, and what waits is answered."""
    session = Session(
        scene.server.secure_url,
        PASSWORD,
        channel=scene.server.channel,
        session_timeout_s=20,
        operation_timeout_s=60,
    )
    session.start()
    number = session.session_id
    scene.server.stop()
    scene.server.start_ready()
    assert session.exists("/")
    assert session.session_id == number
    session.close()

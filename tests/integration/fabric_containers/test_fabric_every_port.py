"""Every port of a fabric with everything: each is known, and each asks who is there and what he may do.

Which routes are whose, and which znodes are whose, has tests of its own; here the real ports are tried.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from support.fabric import FabricForTests
from support.listening import listening_ports
from support.port_logins import LET_IN, SUBPROTOCOLS, TIMEOUT_S, Credentials, Line, Way
from support.stomp_client import read_frames, written
from support.waiting import wait_until
from support.zookeeper import free_ports

from fabric.processes import is_running
from fabric.web.roles import Role
from fabric.web.routes import Route
from fabric.web.table import ROUTES
from registry.quorum import parse_servers

pytestmark = pytest.mark.integration

BROKER = "every"
CONNECTORS = "openwire stomp mqtt amqp ws auto"
ROLES = ("viewer", "operator", "admin")
USERS = (*ROLES, "clerk")
"""Each has its name as its role and its password; `clerk` has a role that only brokers could know."""

NOBODY = Credentials()
WRONG = (Credentials("admin", "wrong"), Credentials("nobody", "wrong"))

PLAIN = tuple(Way(protocol) for protocol in ("openwire", "stomp", "mqtt", "amqp"))
TLS = tuple(Way(way.protocol, tls=True) for way in PLAIN)
WEBSOCKET = tuple(Way(protocol, websocket=True) for protocol in SUBPROTOCOLS)
WAYS: dict[str, tuple[Way, ...]] = {
    "tcp": (Way("openwire"),),
    "ssl": (Way("openwire", tls=True),),
    **{protocol: (Way(protocol),) for protocol in SUBPROTOCOLS},
    **{f"{protocol}+ssl": (Way(protocol, tls=True),) for protocol in SUBPROTOCOLS},
    "ws": WEBSOCKET,
    "wss": tuple(Way(way.protocol, tls=True, websocket=True) for way in WEBSOCKET),
    "auto": (*PLAIN, *TLS, *WEBSOCKET),
    "auto+ssl": TLS,
    "gateway": PLAIN,
}
"""What is spoken at ports where clients log in, by the scheme of their URLs."""
OTHERS = ("console", "metrics of brokers", "metrics of edge", "zookeeper", "quorum", "votes")

REFUSALS = {
    "openwire": r"java\.lang\.SecurityException: .*(required|invalid)\.",
    "stomp": r".*(required|invalid)\.",
    "mqtt": "bad user name or password|not authorized",
    "amqp": "auth",
}

OTHER_WORDS = (
    "conf cons crst dirs dump envi gtmk hash icfg isro lead lsnp mntr orst stmk srst stat voti wchc wchp wchs"
)
"""All but `ruok` and `srvr`. Source: ZooKeeper's administrator's guide, the four letter words."""

STRANGER = 200
"""A server's number, higher than any: ZooKeeper calls back those with lower ones."""
LEARNER = struct.pack(">iq i qiq i", 11, 0, 20, STRANGER, 0x10000, 0, -1)
"""FOLLOWERINFO: asks the leader for all data. Source: ZooKeeper's `LearnerInfo`, `QuorumPacket`."""
VOTE = struct.pack(">qq i 14s", -65536, STRANGER, 14, b"127.0.0.1:3888") + struct.pack(
    ">i iqqqq", 36, 0, STRANGER, 1 << 40, 9, 9
)
"""Who votes, and for himself. Source: ZooKeeper's internals, the election's `InitialMessage`."""

GETS = [
    route for route in ROUTES if route.method == "GET" and route.role is not None and "<" not in route.path
]


@dataclass
class Scene:
    """The fabric, with the ports that are known."""

    fabric: FabricForTests
    ports: dict[str, int]
    console: str
    trust: ssl.SSLContext


def read_field(fabric: FabricForTests, container: str, name: str) -> str:
    """What a container says of itself in the registry; empty if it does not yet."""
    path = f"/fabric/registry/containers/config/{container}"
    if name not in fabric.run("zk-list", path).split():
        return ""
    return fabric.execute("zk-get", f"{path}/{name}").stdout.strip()


def port_of(url: str) -> int:
    """The port of a URL."""
    port = urlsplit(url).port
    assert port is not None, url
    return port


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A console, a broker with every connector, metrics twice, a gateway, and a user of each role."""
    fabric = FabricForTests(tmp_path_factory.mktemp("ports"))
    (gateway,) = free_ports(1)
    try:
        fabric.create("--profile=fabric")
        for name in USERS:
            fabric.add_user(name, name)
        fabric.run("certificate-create")
        everybody = (f"authorization.queue.>.{right}=*" for right in ("read", "write", "admin"))
        lines = (*everybody, "authorization.topic.ActiveMQ.Advisory.>.read=operator")
        options = [word for line in lines for word in ("-D", line)]
        fabric.run("mq-create", "--kind=StandAlone", "--connectors", CONNECTORS, "--ssl", *options, BROKER)
        fabric.run("profile-edit", "--pid", f"io.fabric8.gateway.detecting/port={gateway}", "gateway")
        profiles = {"brokers": (f"mq-broker-default.{BROKER}", "metrics"), "edge": ("gateway", "metrics")}
        for container, names in profiles.items():
            given = [f"--profile={name}" for name in names]
            fabric.run("container-create-child", *given, "root", container)
        fabric.run("certificate-create")
        fabric.wait_master(BROKER, slaves=0)
        for container in profiles:
            fabric.wait_provisioned(container)
        wait_until(lambda: fabric.json("gateway-list")[0]["masters"], 60, fabric.logs)
        ports = {urlsplit(url).scheme: port_of(url) for url in fabric.broker(BROKER)["services"]}
        console = read_field(fabric, "root", "http")
        ports |= {f"metrics of {name}": port_of(read_field(fabric, name, "metrics")) for name in profiles}
        address = fabric.home.read_registry_address().zookeeper_url
        ports |= {"gateway": gateway, "console": port_of(console), "zookeeper": port_of(f"//{address}")}
        (server,) = parse_servers((fabric.home.zookeeper / "servers.cfg").read_text("utf-8")).values()
        ports |= {"quorum": server.quorum_port, "votes": server.election_port}
        trust = ssl.create_default_context(cafile=str(fabric.home.authority_certificate))
        yield Scene(fabric, ports, console, trust)
    finally:
        fabric.end()


def processes(fabric: FabricForTests) -> set[int]:
    """All processes of the fabric: containers, ZooKeeper, and what any of them has started."""
    found = {fabric.zookeeper_pid()}
    for name in fabric.home.container_names():
        process = fabric.home.container(name).read_process()
        if process is not None and is_running(process):
            found.add(process.pid)
    assert len(found) == 4
    parents = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            match = re.search(r"^PPid:\s+(\d+)$", status.read_text("utf-8", "replace"), re.MULTILINE)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if match:
            parents[int(status.parent.name)] = int(match[1])
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def test_every_port_is_known(scene: Scene) -> None:
    """What listens stands in the tables above: whoever adds a port says what it answers."""
    assert scene.ports.keys() == {*WAYS, *OTHERS}
    listening = {port for pid in processes(scene.fabric) for port in listening_ports(pid)}
    assert listening == set(scene.ports.values())


@pytest.mark.parametrize("scheme", WAYS)
def test_clients_are_asked_who_they_are(scene: Scene, scheme: str) -> None:
    """Nobody, and who has a wrong password, gets the protocol's refusal; users of each role are let in."""
    port = scene.ports[scheme]
    for way in WAYS[scheme]:
        for who in (NOBODY, *WRONG):
            answer = way.log_in(port, who, scene.trust)
            assert re.fullmatch(REFUSALS[way.protocol], answer), (way, who, answer)
        for name in USERS:
            answer = way.log_in(port, Credentials(name, name), scene.trust)
            assert answer == LET_IN, (way, name)


@pytest.mark.parametrize("scheme", ["ssl", "stomp+ssl", "mqtt+ssl", "amqp+ssl", "wss", "auto+ssl"])
def test_ports_with_tls_say_nothing_without(scene: Scene, scheme: str) -> None:
    """Right credentials in the clear are not even read."""
    line = Line(scene.ports[scheme])
    try:
        line.send(written("CONNECT", {"login": "admin", "passcode": "admin"}, version="1.0"))
        with pytest.raises(EOFError):
            while heard := line.receive():
                assert heard[:1] == b"\x15", "no TLS alert"
    finally:
        line.close()


@pytest.mark.parametrize("scheme", ["stomp", "gateway"])
@pytest.mark.parametrize("name", USERS)
def test_what_is_told_of_a_broker_by_role(scene: Scene, scheme: str, name: str) -> None:
    """Advisories are for whoever the profile names, and for administrators."""
    line = Line(scene.ports[scheme])
    try:
        line.send(written("CONNECT", {"login": name, "passcode": name, "accept-version": "1.2", "host": "x"}))
        line.send(
            written("SUBSCRIBE", {"id": "1", "destination": "/topic/ActiveMQ.Advisory.Queue", "receipt": "r"})
        )
        data = b""
        while data.count(b"\0") < 2:
            data += line.receive()
        answer = read_frames(data)[1]
    finally:
        line.close()
    allowed = name in ("operator", "admin")
    assert answer.command == ("RECEIPT" if allowed else "ERROR")
    assert allowed or f"User {name} is not authorized to read from" in answer.headers["message"]


@pytest.mark.parametrize("name", USERS)
def test_a_broker_is_managed_by_administrators_only(scene: Scene, name: str) -> None:
    """Everybody else is refused with words."""
    asked = ("queue-list", "--broker", BROKER, "--user", name, "--password", name)
    said = scene.fabric.run(*asked, code=0 if name == "admin" else 1)
    assert ("role admin" in said) == (name != "admin"), said


def ask(url: str, who: Credentials = NOBODY) -> requests.Response:
    """GET a page; streams are left at once."""
    auth = None if who.user is None else (who.user, who.password)
    with requests.get(url, auth=auth, allow_redirects=False, stream=True, timeout=TIMEOUT_S) as answer:
        return answer


def name_of(route: Route) -> str:
    """For test ids."""
    return route.path


@pytest.mark.parametrize("route", GETS, ids=name_of)
def test_every_page_of_the_console_asks_who_is_there(scene: Scene, route: Route) -> None:
    """Programs get 401, browsers the page for logging in; then what a role may not see is 403."""
    url = scene.console.rstrip("/") + route.path
    answer = ask(url)
    if answer.status_code == 303:
        assert not route.is_api and answer.headers["location"].startswith("/login?next=%2F")
    else:
        assert answer.status_code == 401
    assert ask(url, Credentials("clerk", "clerk")).status_code == 403
    for name in ROLES:
        status = ask(url, Credentials(name, name)).status_code
        assert route.role is not None
        assert (status == 403) == (Role[name.upper()] < route.role), (name, status)
        assert status not in (401, 500), (name, status)


def test_a_wrong_password_at_the_console(scene: Scene) -> None:
    """It is refused, whoever's it is."""
    for who in WRONG:
        assert ask(f"{scene.console.rstrip('/')}/api/v1/me", who).status_code == 401


@pytest.mark.parametrize("container", ["brokers", "edge"])
def test_metrics_are_for_users_of_the_console(scene: Scene, container: str) -> None:
    """Nobody and wrong passwords are refused, and a role that does not count there."""
    url = f"http://127.0.0.1:{scene.ports[f'metrics of {container}']}/metrics"
    assert [ask(url, who).status_code for who in (NOBODY, *WRONG)] == [401] * 3
    statuses = {name: ask(url, Credentials(name, name)).status_code for name in USERS}
    assert statuses == {**dict.fromkeys(ROLES, 200), "clerk": 403}


@pytest.mark.parametrize("login", [None, "fabric:wrong", "admin:admin", "viewer:viewer"])
def test_the_registry_is_for_the_ensemble_password_only(scene: Scene, login: str | None) -> None:
    """A user of the fabric is as strange to ZooKeeper as anybody."""
    auth = None if login is None else [("digest", login)]
    client = KazooClient(f"127.0.0.1:{scene.ports['zookeeper']}", auth_data=auth)
    client.start(timeout=TIMEOUT_S)
    try:
        for path in ("/", "/fabric"):
            with pytest.raises(NoAuthError):
                client.get_children(path)
    finally:
        client.stop()
        client.close()


@pytest.mark.parametrize(("port", "words"), [("quorum", LEARNER), ("votes", VOTE)], ids=["quorum", "votes"])
def test_servers_of_the_ensemble_prove_who_they_are(scene: Scene, port: str, words: bytes) -> None:
    """A server that does not know the ensemble's secret gets no data and no vote, and not one word."""
    line = Line(scene.ports[port])
    try:
        line.send(words)
        with pytest.raises(EOFError):
            pytest.fail(f"heard {line.receive()!r}")
    finally:
        line.close()


def test_zookeeper_tells_strangers_its_health_only(scene: Scene) -> None:
    """Of the words that need no login, those are answered that health checks use."""

    def said(word: str) -> str:
        with socket.create_connection(("127.0.0.1", scene.ports["zookeeper"]), TIMEOUT_S) as line:
            line.sendall(word.encode())
            heard = b""
            with contextlib.suppress(ConnectionResetError):
                while data := line.recv(1 << 16):
                    heard += data
        return heard.decode()

    assert said("ruok") == "imok"
    assert "Mode: " in said("srvr")
    for word in OTHER_WORDS.split():
        refused = f"{word} is not executed because it is not in the whitelist."
        assert said(word).strip() in (refused, ""), "known to this ZooKeeper, and answered"

"""The registry's pages and routes: what is shown, what is hidden, what may be changed."""

from __future__ import annotations

import socket
import threading

import pytest
from support.console import ConsoleWorld

from fabric.ensemble_health import addresses_of, look_at, parse_srvr
from fabric.web.secret_znodes import MASK, is_secret, without_secrets

ZNODE = "/api/v1/registry/znode"
SRVR = """Zookeeper version: 3.8.0-${mvngit.commit.id}, built on 2022-02-25 08:49 UTC
Latency min/avg/max: 0/0.3333/12
Received: 100
Sent: 101
Connections: 3
Outstanding: 0
Zxid: 0x1f
Mode: leader
Node count: 117
"""


@pytest.fixture
def world() -> ConsoleWorld:
    """A console, and something to look at."""
    world = ConsoleWorld()
    world.container("root")
    for path, data in (
        ("/notes", b"hello <script>alert(1)</script>"),
        ("/notes/json", b'{"a": {"password": "pw-1"}, "url": "tcp://ann:pw-2@host:1"}'),
        ("/notes/bytes", b"\x00\xff\x10"),
        ("/notes/<img src=x onerror=alert(1)>", b""),
        ("/fabric/configs/ensemble/password", b"pw-3"),
        ("/fabric/authentication/containers/root/key", b"pw-4"),
        ("/fabric/registry/containers/config/root/sshPassword", b"pw-5"),
    ):
        world.registry.put(path, data)
    return world


def test_a_znode_is_shown_as_what_it_is(world: ConsoleWorld) -> None:
    """Text, bytes in hexadecimal, its children and facts."""
    viewer = world.client("viewer")
    text = viewer.get(f"{ZNODE}?path=/notes").json
    assert (text["encoding"], text["data"][:5], text["children_count"]) == ("text", "hello", 3)
    binary = viewer.get(f"{ZNODE}?path=/notes/bytes").json
    assert (binary["encoding"], binary["data"], binary["bytes"]) == ("hex", "00 ff 10", 3)
    alive = viewer.get(f"{ZNODE}?path=/fabric/registry/containers/alive/root").json
    assert alive["ephemeral_owner"] == "0x1"
    assert viewer.get(f"{ZNODE}?path=/nothing").status == 404
    for path in ("/../x", "/a//b", "/a/./b", "/a%0ab", "x" * 1001):
        assert viewer.get(f"{ZNODE}?path={path}").status == 400


def test_no_secret_leaves_the_registry(world: ConsoleWorld) -> None:
    """Not to administrators either, neither by a page nor by the API, wherever it stands."""
    admin = world.client("admin")
    for name in ("admin", "viewer"):
        path = f"/fabric/authentication/users/{name}"
        answer = admin.get(f"{ZNODE}?path={path}").json
        assert (answer["encoding"], answer["data"]) == ("hidden", "")
        assert "scrypt" not in admin.get(f"/registry?path={path}").text
    paths = []
    found = ["/"]
    while found:
        path = found.pop()
        paths.append(path)
        found += [f"{path.rstrip('/')}/{name}" for name in world.registry.children(path)]
    assert len(paths) > 30
    for path in paths:
        shown = admin.get(f"{ZNODE}?path={path.replace('%', '%25').replace(' ', '%20')}").text
        assert "pw-" not in shown and "scrypt$" not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password: x y\nname: z", f"password: {MASK}\nname: z"),
        ("ssl.keyStoreKeyPassword=x", f"ssl.keyStoreKeyPassword={MASK}"),
        ('{"network.password":"a\\"b","c":1}', f'{{"network.password":"{MASK}","c":1}}'),
        ("key: ENC(abc)", f"key: {MASK}"),
        ("url: ssl://u:pw@h:1", f"url: ssl://u:{MASK}@h:1"),
        ("the password is needed", "the password is needed"),
        ("tcp://host:61616", "tcp://host:61616"),
        ("", ""),
    ],
)
def test_secret_values_are_masked_where_they_stand(text: str, shown: str) -> None:
    """The rest of the text stays as it is."""
    assert without_secrets(text) == shown


def test_secret_places_are_what_they_are_and_no_more() -> None:
    """What lies beside them is seen."""
    secret = ("users/a", "tokens/a", "containers/c/x")
    assert all(is_secret(f"/fabric/authentication/{path}") for path in secret)
    assert is_secret("/fabric/configs/ensemble/password") and not is_secret("/fabric/configs/ensemble/url")
    assert not is_secret("/fabric/authentication")


def test_an_administrator_changes_znodes_as_they_were_seen(world: ConsoleWorld) -> None:
    """Made below one that exists, written and deleted only if nobody was faster."""
    admin = world.client("admin")
    new = {"path": "/notes/new", "data": "1"}
    assert admin.post(f"{ZNODE}/create", new, form=True).status == 200
    assert admin.post(f"{ZNODE}/create", new).status == 409
    assert admin.post(f"{ZNODE}/create", {"path": "/no/such/parent"}).status == 404
    change = {"path": "/notes/new", "data": "a\r\nb", "version": 0}
    assert admin.post(f"{ZNODE}/set", change).status == 200
    assert world.registry.get("/notes/new").data == b"a\nb"
    assert admin.post(f"{ZNODE}/set", change).status == 409
    assert admin.post(f"{ZNODE}/delete", {"path": "/notes/new", "version": 0}).status == 409
    assert admin.post(f"{ZNODE}/delete", {"path": "/notes", "version": 0}).status == 409
    assert admin.post(f"{ZNODE}/delete", {"path": "/notes/new", "version": 1}).status == 200
    assert not world.registry.exists("/notes/new")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/zookeeper",
        "/zookeeper/quota",
        "/fabric/authentication/users/admin",
        "/fabric/configs/ensemble/password",
        "/notes/json",
    ],
)
def test_what_is_secret_or_not_ours_is_not_changed(world: ConsoleWorld, path: str) -> None:
    """A mask would be written over the secret, or somebody would make himself administrator."""
    before = world.registry.get_or_none(path)
    answer = world.client("admin").post(f"{ZNODE}/set", {"path": path, "data": "x", "version": 0})
    assert answer.status == 403 and world.registry.get_or_none(path) == before


def test_pages_show_the_tree_and_the_znode(world: ConsoleWorld) -> None:
    """With the way to it open; names and data are text; buttons are for administrators."""
    page = world.client("admin").get("/registry?path=/notes")
    assert page.status == 200 and 'aria-current="page">notes</a>' in page.text
    assert "&lt;script&gt;alert(1)" in page.text and "<script>alert" not in page.text
    assert "&lt;img src=x" in page.text and "<img src=x" not in page.text
    assert 'data-dialog="set-znode"' in page.text
    assert 'data-dialog="set-znode"' not in world.client("viewer").get("/registry?path=/notes").text
    fragment = world.client("viewer").get("/registry?path=/notes", HX_Request="true")
    assert "<html" not in fragment.text and "hello" in fragment.text
    branch = world.client("viewer").get("/registry/branch?path=/fabric").text
    assert "/registry?path=/fabric/configs" in branch.replace("%2F", "/")
    assert world.client("viewer").get("/registry?path=/nothing").status == 404


def test_sessions_name_the_containers(world: ConsoleWorld) -> None:
    """What they have written there may be anything."""
    world.registry.put("/fabric/registry/containers/alive/odd", b'["what"]')
    world.registry.put("/fabric/registry/containers/alive/odder", b"\xff")
    found = world.client("viewer").get("/api/v1/registry/sessions").json
    assert [(each["container"], each["pid"]) for each in found] == [
        ("odd", None),
        ("odder", None),
        ("root", 4711),
    ]


# ---- servers


def test_a_server_says_how_it_is() -> None:
    """Mode, latency, numbers; what it does not say is left open."""
    health = parse_srvr("h:1", SRVR)
    assert (health.mode, health.latency_ms, health.connections) == ("leader", "0 / 0.3333 / 12", 3)
    assert (health.znodes, health.version, health.problem) == (117, "3.8.0", "")
    refused = parse_srvr("h:1", "srvr is not executed because it is not in the whitelist.\n")
    assert "not in the whitelist" in refused.problem
    assert "nothing at all" in parse_srvr("h:1", "").problem
    assert parse_srvr("h:1", "Mode: follower\nConnections: many\n").connections == -1


def test_the_servers_of_a_url() -> None:
    """With and without port, and a path behind them."""
    assert addresses_of("a:1,b,[::1]:2/path") == [("a", 1), ("b", 2181), ("::1", 2)]
    assert addresses_of("") == [] and look_at("") == []


def test_a_server_that_is_down_is_told_beside_the_others() -> None:
    """The page waits for none of them."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(10)
                connection.sendall(SRVR.encode())

        thread = threading.Thread(target=serve)
        thread.start()
        up, down = server.getsockname()[1], closed.getsockname()[1]
        found = look_at(f"127.0.0.1:{up},127.0.0.1:{down}")
        thread.join()
    assert [(each.mode, bool(each.problem)) for each in found] == [("leader", False), ("", True)]

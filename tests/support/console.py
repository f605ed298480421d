"""A console in memory for unit tests, spoken to in HTTP over a transport that is no socket.

    world = ConsoleWorld()
    world.container("root")
    client = world.client("admin")            # HTTP Basic; world.browser("admin") logs in with a cookie
    answer = client.get("/api/v1/containers")
    assert answer.status == 200 and answer.json[0]["id"] == "root"

What blocks runs at once. Brokers are not there: `world.console.links` may be replaced.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlencode

from support.fake_reactor import FakeReactor
from support.memory_session import MemorySession
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.testing import StringTransport

from fabric.authenticator import FabricAuthenticator
from fabric.bootstrap import write_first_content
from fabric.home import Home
from fabric.realms import Realm
from fabric.realms.chain import RealmChain
from fabric.services.authentication import PID
from fabric.store import ContainerStore, ProfileStore
from fabric.web.console import Console, Surroundings
from fabric.web.settings import WebSettings
from fabric.web.site import build_site
from registry import paths
from registry.session import Session
from registry.users import UserRecord, UserStore, hash_password

USERS = {"admin": "admin", "operator": "operator", "viewer": "viewer", "nobody": "nobody"}
"""Users by the role that each has; the password is the name. `nobody` has none."""

URL = "http://console.test"
"""Where it is."""

_HASHES = {name: hash_password(name) for name in USERS}


@dataclass(frozen=True)
class Response:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """Sends requests with the same headers each time."""

    def __init__(self, world: ConsoleWorld, headers: Mapping[str, str]) -> None:
        self.world = world
        self.headers = dict(headers)

    def get(self, path: str, **headers: str) -> Response:
        """GET a page or a route."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: object = None, *, form: bool = False, **headers: str) -> Response:
        """POST JSON, or a form."""
        return self.request("POST", path, body, form=form, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        form: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one request; names of further headers have `_` for `-`."""
        content, kind = b"", ""
        if body is not None:
            kind = "application/x-www-form-urlencoded" if form else "application/json"
            content = urlencode(cast("Any", body), doseq=True).encode() if form else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        sent = {"Host": "console.test", **self.headers, **({"Content-Type": kind} if kind else {}), **given}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        head = "\r\n".join([*lines, f"Content-Length: {len(content)}", "Connection: close", "", ""])
        return self.world.exchange(head.encode() + content)


class ConsoleWorld:
    """A registry in memory with the first content of a fabric, and a console on it."""

    def __init__(
        self,
        folder: Path = Path("/nonexistent"),
        *,
        is_secure: bool = False,
        settings: WebSettings | None = None,
        realms: Sequence[Realm] = (),
    ) -> None:
        self.reactor = FakeReactor()
        self.registry = MemorySession()
        session = cast("Session", self.registry)
        write_first_content(session)
        self.containers = ContainerStore(session)
        self.profiles = ProfileStore(session)
        store = UserStore(session)
        for name, role in USERS.items():
            store.put(UserRecord(name, _HASHES[name], (role,)))
        services = {}
        if realms:
            chain = RealmChain(realms, lambda call, done: done(call()))
            services[PID] = SimpleNamespace(chain=chain)
        context = SimpleNamespace(services=services, session=session, reactor=None)
        users = FabricAuthenticator(cast("Any", context))
        users._run_in_thread = lambda call, done: done(call())
        users.start()
        self.users = users
        self.console = Console(
            Surroundings(
                reactor=cast("Any", self.reactor),
                session=session,
                home=Home(folder),
                container="root",
                users=users,
                run_blocking=lambda call: cast("Deferred[object]", maybeDeferred(call)),
                is_secure=is_secure,
                providers=users,
                url=lambda: URL,
            )
        )
        self.console.health.ask_servers = lambda url, channel: ()
        self.site = build_site(self.console, settings or WebSettings())

    # ---- what there is

    def container(
        self,
        name: str,
        *profiles: str,
        parent: str | None = None,
        alive: bool = True,
        result: str = "success",
    ) -> None:
        """Register a container, connected and provisioned unless something else is said."""
        self.containers.create(name, profiles=profiles or ("default",), version="1.0", parent=parent)
        if alive:
            content = {"pid": 4711, "host": "host", "started_at": 0.0}
            self.registry.create(paths.container_alive(name), json.dumps(content).encode(), ephemeral=True)
        self.containers.set_provision_result(name, result)

    def broker(self, group: str, broker: str, container: str, *services: str, ready: bool = True) -> None:
        """Register a member of a group; with services it is the master."""
        record = {"id": broker, "container": container, "services": list(services), "ready": ready}
        path = paths.new_member(paths.amq_group(group))
        self.registry.create(path, json.dumps(record).encode(), ephemeral=True, sequential=True)

    # ---- who asks

    def client(self, user: str = "") -> Client:
        """A program that sends user and password with each request; without a user, none."""
        if not user:
            return Client(self, {})
        secret = base64.b64encode(f"{user}:{user}".encode()).decode()
        return Client(self, {"Authorization": f"Basic {secret}"})

    def browser(self, user: str) -> Client:
        """A browser that is logged in, whose pages send what they must."""
        answer = self.client().post("/login", {"user": user, "password": user}, form=True)
        assert answer.status == 303, answer
        cookie = answer.cookies[0].partition(";")[0]
        identity = self.console.gate.identity_of(cookie.partition("=")[2])
        assert identity is not None
        return Client(self, {"Cookie": cookie, "X-CSRF-Token": identity.csrf, "Origin": URL})

    # ---- HTTP

    def exchange(self, data: bytes) -> Response:
        """Send bytes over a connection of their own and read the answer to its end."""
        transport = self.send(data)
        return parse_response(transport.value())

    def send(self, data: bytes) -> StringTransport:
        """Send bytes over a connection of their own; what comes back stands in the transport."""
        protocol = cast("Any", self.site).buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(data)
        self.reactor.turn()
        return transport


def parse_response(data: bytes) -> Response:
    """Read one response, chunked or not."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(": ") for line in lines]
    headers = {name.lower(): value for name, _, value in pairs}
    cookies = tuple(value for name, _, value in pairs if name.lower() == "set-cookie")
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return Response(int(first.split(" ")[1]), headers, body, cookies)


def _joined(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            break
        parts.append(body[:length])
        body = body[length + 2 :]
    return b"".join(parts)

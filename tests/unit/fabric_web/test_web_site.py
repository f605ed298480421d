"""HTTP: limits, bodies, methods, errors, event streams, the audit log."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from support.console import ConsoleWorld, parse_response
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from fabric.web import site
from fabric.web.errors import Refused
from fabric.web.events import ALIVE_S, SLOW_S_MAX, STREAMS_MAX
from fabric.web.limited import BODY_BYTES_MAX
from fabric.web.roles import Role
from fabric.web.routes import Call, Request, Route
from fabric.web.site import SECURITY_HEADERS

BASIC = b"Authorization: Basic YWRtaW46YWRtaW4=\r\n"


class Body(Request):
    """What the routes of these tests read."""

    name: str = ""
    count: int = 0
    items: list[str] = msgspec.field(default_factory=list)


def echo(call: Call) -> Body:
    """Answer what was read."""
    assert isinstance(call.body, Body)
    return call.body


def fail(call: Call) -> object:
    """A mistake of ours."""
    raise ZeroDivisionError(call.url)


def unspeakable(call: Call) -> object:
    """What cannot become JSON."""
    return {"it": object()}


async def refuse(call: Call) -> object:
    """An error with headers that try to be more than one."""
    raise Refused(418, "No <b>tea</b>.", headers={"X-Why": "a\r\nSet-Cookie: evil=1"})


ROUTES = (
    Route("POST", "/api/v1/echo", echo, "Echo.", Role.ADMIN, body=Body, answer=Body),
    Route("GET", "/api/v1/fail", fail, "Fail."),
    Route("GET", "/api/v1/unspeakable", unspeakable, "Fail."),
    Route("GET", "/api/v1/refuse", refuse, "Refuse."),
    Route("GET", "/refuse", refuse, "Refuse."),
)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[ConsoleWorld]:
    """A console with a few routes more."""
    monkeypatch.setattr(site, "ROUTES", site.ROUTES + ROUTES)
    yield ConsoleWorld()


# ---- bodies


def test_json_and_forms_say_the_same(world: ConsoleWorld) -> None:
    """Pages send forms, programs JSON."""
    wanted = {"name": "x", "count": 3, "items": ["a", "b"]}
    admin = world.client("admin")
    assert admin.post("/api/v1/echo", wanted).json == wanted
    assert admin.post("/api/v1/echo", wanted, form=True).json == wanted
    assert admin.post("/api/v1/echo").json == {"name": "", "count": 0, "items": []}


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        (b"application/json", b"{", 400),
        (b"application/json", b'{"count": "x"}', 400),
        (b"application/json", b'{"unknown": 1}', 400),
        (b"application/json", b"[1]", 400),
        (b"application/json", b"\xff", 400),
        (b"application/json", b'{"name": "\xff"}', 400),
        (b"application/json", b"[" * 100_000, 400),
        (b"application/json", b'{"name": "a", "name": "b"}', 200),
        (b"application/json; charset=utf-8", b"{}", 200),
        (b"application/x-www-form-urlencoded", b"count=x", 400),
        (b"application/x-www-form-urlencoded", b"unknown=1", 400),
        (b"application/x-www-form-urlencoded", b"name=%ff", 400),
        (b"application/x-www-form-urlencoded", b"\xff", 400),
        (b"application/x-www-form-urlencoded", b"a=1&" * 20_000, 400),
        (b"application/x-www-form-urlencoded", b"count=&name=", 200),
        (b"text/plain", b"{}", 415),
        (
            b"multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\na\r\n--x--\r\n',
            415,
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    world: ConsoleWorld, kind: bytes, content: bytes, status: int
) -> None:
    """With the API's error, whatever it is."""
    head = b"POST /api/v1/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + BASIC
    answer = world.exchange(
        head + b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(content)) + content
    )
    assert answer.status == status
    assert status == 200 or set(answer.json["error"]) == {"code", "message", "do_next"}


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_is_too_long_is_refused_and_nothing_is_done(world: ConsoleWorld, chunked: bool) -> None:
    """The limit holds for what is announced and for what comes without saying how much."""
    done: list[Call] = []
    object.__setattr__(ROUTES[0], "handler", lambda call: done.append(call) or echo(call))
    try:
        content = b'{"name": "%s"}' % (b"x" * BODY_BYTES_MAX)
        head = b"POST /api/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + BASIC
        if chunked:
            half = len(content) // 2
            parts = [content[:half], content[half:], b""]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
            transport = world.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        else:
            transport = world.send(head + b"Content-Length: %d\r\n\r\n" % len(content) + content)
        assert transport.value().startswith(b"HTTP/1.1 413 ")
        assert transport.value().count(b"HTTP/1.1") == 1
        assert transport.disconnecting and not done
    finally:
        object.__setattr__(ROUTES[0], "handler", echo)


def test_a_chunked_body_within_the_limit_is_read(world: ConsoleWorld) -> None:
    """As any other."""
    head = b"POST /api/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + BASIC
    body = b'7\r\n{"name"\r\n5\r\n:"x"}\r\n0\r\n\r\n'
    assert world.exchange(head + b"Transfer-Encoding: chunked\r\n\r\n" + body).json["name"] == "x"


@pytest.mark.parametrize("chunked", [True, False])
def test_no_body_needs_a_place_for_temporary_files(
    world: ConsoleWorld, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    """A container that systemd guards has none."""

    def no_place(**_: object) -> None:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_place)
    name = b"x" * 200_000
    content = b'{"name": "%s"}' % name
    head = b"POST /api/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + BASIC
    length = b"Content-Length: %d\r\n\r\n" % len(content)
    chunks = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
    answer = world.exchange(head + (chunks if chunked else length + content))
    assert answer.json["name"] == name.decode()


def test_both_a_length_and_chunks_are_refused(world: ConsoleWorld) -> None:
    """What two programs could read differently is answered by none."""
    head = b"POST /api/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + BASIC
    answer = world.exchange(head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /static HTTP/1.1\r\n\r\n")
    assert answer.status == 400


# ---- paths and methods


def test_unknown_paths_are_told_in_the_words_of_who_asks(world: ConsoleWorld) -> None:
    """Programs get JSON, people a page."""
    assert world.client().get("/api/v1/nothing").json["error"]["message"] == "There is no such page."
    page = world.client().get("/nothing/<script>alert(1)</script>")
    assert page.status == 404 and "<!doctype html>" in page.text and "<script>alert" not in page.text


@pytest.mark.parametrize("path", ["//containers", "//evil.example/x", "/containers//", "/api//v1/me"])
def test_no_path_sends_elsewhere(world: ConsoleWorld, path: str) -> None:
    """Routers like to correct slashes by sending browsers to where they understand them differently."""
    answer = world.client().get(path)
    assert answer.status in (303, 404) and answer.headers.get("location", "/login").startswith("/login")


def test_a_method_that_is_not_there_names_those_that_are(world: ConsoleWorld) -> None:
    """With 405 and Allow; OPTIONS just asks for them, and nobody may do anything from other sites."""
    answer = world.client("admin").request("PUT", "/api/v1/me")
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD, OPTIONS"
    answer = world.client().request("OPTIONS", "/api/v1/me", headers={"Origin": "http://evil"})
    assert answer.status == 204 and answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert world.client().request("BREW", "/").status == 405


def test_head_answers_as_get_without_a_body(world: ConsoleWorld) -> None:
    """A stream, too, which would have no end."""
    admin = world.client("admin")
    assert (answer := admin.request("HEAD", "/api/v1/containers")).status == 200 and answer.body == b""
    assert (answer := admin.request("HEAD", "/api/v1/events")).status == 200 and answer.body == b""
    assert world.console.events.count == 0


@pytest.mark.parametrize("path", ["..%2f..%2fsite.py", "%2e%2e/site.py", "..", ".", "%00", "a%0d%0ab:%20c"])
def test_nothing_but_assets_lies_below_static(world: ConsoleWorld, path: str) -> None:
    """No name leads out of the folder."""
    prefix = next(route.path for route in site.ROUTES if route.path.startswith("/static/"))
    assert world.client().get(prefix.replace("<name>", path)).status == 404
    assert world.client().get(prefix.replace("<name>", "console.css")).status == 200


# ---- answers


def test_every_answer_has_the_headers_that_protect_it(world: ConsoleWorld) -> None:
    """Pages, JSON and errors: nothing runs or is loaded but what comes from here."""
    for path in ("/containers", "/api/v1/me", "/nothing", "/api/v1/fail", "/login"):
        headers = world.client("viewer").get(path).headers
        for name, value in SECURITY_HEADERS.items():
            assert headers[name.lower()] == value
        assert "unsafe" not in headers["content-security-policy"]
        assert "server" not in headers


def test_a_mistake_of_ours_is_logged_and_not_shown(
    world: ConsoleWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer has a reference to the log, and nothing of what went wrong."""
    for path in ("/api/v1/fail", "/api/v1/unspeakable"):
        answer = world.client("admin").get(path)
        assert answer.status == 500 and "Zero" not in answer.text and "Traceback" not in answer.text
        reference = answer.json["error"]["do_next"].split()[-1].rstrip(".")
        assert reference in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_errors_are_escaped_and_headers_are_lines(world: ConsoleWorld) -> None:
    """What an error says is text, wherever it stands."""
    page = world.client("admin").get("/refuse")
    assert page.status == 418 and "No &lt;b&gt;tea&lt;/b&gt;." in page.text
    assert page.headers["x-why"] == "a Set-Cookie: evil=1" and not page.cookies
    fragment = world.client("admin").get("/refuse", HX_Request="true")
    assert "<html" not in fragment.text and "&lt;b&gt;" in fragment.text
    assert world.client("admin").get("/api/v1/refuse").json["error"]["message"] == "No <b>tea</b>."


def test_a_client_that_goes_while_it_waits_is_no_error(
    world: ConsoleWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is logged as if it were a mistake."""
    world.users.authenticate = lambda user, password, done: None  # type: ignore[method-assign]  # for this test
    protocol: Any = world.site.buildProtocol(None)  # type: ignore[no-untyped-call]  # Twisted has no types for it
    protocol.makeConnection(StringTransport())
    protocol.dataReceived(b"GET /api/v1/me HTTP/1.1\r\nHost: a\r\n" + BASIC + b"\r\n")
    protocol.connectionLost(Failure(ConnectionDone()))
    world.reactor.pass_time(20)
    assert "failed" not in caplog.text


# ---- event streams


def open_stream(world: ConsoleWorld, headers: bytes = BASIC, query: str = "") -> tuple[Any, StringTransport]:
    """Ask for events; returns the server's side of the connection and what it has sent."""
    protocol: Any = world.site.buildProtocol(None)  # type: ignore[no-untyped-call]  # Twisted has no types for it
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(f"GET /api/v1/events{query} HTTP/1.1\r\nHost: a\r\n".encode() + headers + b"\r\n")
    world.reactor.turn()
    return protocol, transport


def test_changes_are_told_once_each_to_who_wants_them(world: ConsoleWorld) -> None:
    """Those that come together are one event."""
    _, transport = open_stream(world, query="?topic=a&topic=b")
    head = transport.value()
    assert b"text/event-stream" in head and b"retry: 1000\n\n" in head
    transport.clear()
    for topic in "aacb":
        world.console.events.publish(topic)
    world.reactor.advance(1)
    answer = parse_response(head.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + transport.value())
    assert answer.text == "event: a\ndata: {}\n\nevent: b\ndata: {}\n\n"
    transport.clear()
    world.reactor.advance(ALIVE_S)
    assert b": alive" in transport.value()


@pytest.mark.parametrize(
    "query", ["?topic=", f"?topic={'x' * 201}", "?topic=a%0a", "?" + "topic=a&" * 21, "?x=1"]
)
def test_topics_that_are_none_are_refused(world: ConsoleWorld, query: str) -> None:
    """A line break in one would begin another event."""
    assert world.client("viewer").get(f"/api/v1/events{query}").status == 400


def test_a_stream_ends_with_the_login(world: ConsoleWorld) -> None:
    """At once when somebody logs out; soon when the login runs out or the user is deleted."""
    browser = world.browser("viewer")
    cookie = f"Cookie: {browser.headers['Cookie']}\r\n".encode()
    _, first = open_stream(world, cookie)
    browser.post("/logout")
    assert first.value().endswith(b"0\r\n\r\n") and world.console.events.count == 0
    browser = world.browser("viewer")
    _, second = open_stream(world, f"Cookie: {browser.headers['Cookie']}\r\n".encode())
    world.reactor.pass_time(31 * 60, step_s=10)
    assert second.value().endswith(b"0\r\n\r\n")
    text = world.client("operator").post("/api/v1/tokens", {"name": "x"}).json
    _, third = open_stream(world, f"Authorization: Bearer {text['token']}\r\n".encode())
    _, fourth = open_stream(world)
    world.client("operator").request("DELETE", f"/api/v1/tokens/{text['id']}")
    world.console.users.set_password("admin", "another password")
    world.reactor.advance(ALIVE_S)
    assert third.value().endswith(b"0\r\n\r\n") and fourth.value().endswith(b"0\r\n\r\n")


def test_who_reads_slowly_is_told_later_and_at_last_not_at_all(world: ConsoleWorld) -> None:
    """Nothing piles up: while a client takes nothing each topic is kept once."""
    protocol, transport = open_stream(world, query="?topic=a")
    transport.clear()
    protocol._channel.pauseProducing()
    for _ in range(100):
        world.console.events.publish("a")
        world.reactor.advance(0.2)
    assert transport.value() == b""
    protocol._channel.resumeProducing()
    assert transport.value().count(b"event: a") == 1
    protocol._channel.pauseProducing()
    world.reactor.pass_time(SLOW_S_MAX + ALIVE_S + 1)
    assert world.console.events.count == 0 and transport.disconnecting


def test_a_client_that_has_gone_is_forgotten(world: ConsoleWorld) -> None:
    """And nothing is written to it."""
    protocol, _ = open_stream(world, query="?topic=a")
    protocol.connectionLost(Failure(ConnectionDone()))
    assert world.console.events.count == 0
    world.console.events.publish("a")
    world.reactor.advance(1)


def test_so_many_streams_and_no_more(world: ConsoleWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is refused in words; the others go on."""
    monkeypatch.setattr("fabric.web.events.STREAMS_MAX", 2)
    assert STREAMS_MAX > 100
    streams = [open_stream(world) for _ in range(2)]
    answer = world.client("viewer").get("/api/v1/events")
    assert answer.status == 503 and answer.json["error"]["do_next"]
    assert world.console.events.count == len(streams)
    world.console.close()
    assert all(transport.value().endswith(b"0\r\n\r\n") for _, transport in streams)


# ---- the audit log


def test_every_change_is_written_down_without_secrets(
    world: ConsoleWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """Who, from where, what, and what became of it; reading is not written down."""
    caplog.set_level(logging.INFO, "fabric.audit")
    admin = world.client("admin")
    admin.post("/api/v1/users", {"name": "ann", "password": "a long secret", "roles": ["viewer"]})
    admin.post("/api/v1/users", {"name": "ann", "password": "a long secret"})
    world.client("viewer").post("/api/v1/users", {"name": "eve", "password": "a long secret"})
    admin.get("/api/v1/users")
    lines = [record.getMessage() for record in caplog.records if record.name == "fabric.audit"]
    assert [line.rpartition(": ")[2] for line in lines] == ["done", "409 user_exists", "403 not_allowed"]
    assert (
        lines[0].startswith("admin from ") and "POST /api/v1/users (name='ann', roles='viewer')" in lines[0]
    )
    assert "a long secret" not in caplog.text


def test_no_line_of_the_log_can_be_made_up(world: ConsoleWorld, caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks in names are shown as such."""
    caplog.set_level(logging.INFO, "fabric.audit")
    world.client("admin").post("/api/v1/echo", {"name": "x\n2026 INFO admin did it"})
    world.client("admin").post("/login", {"user": "a\nb", "password": "x"}, form=True)
    assert all("\n" not in record.getMessage() for record in caplog.records)

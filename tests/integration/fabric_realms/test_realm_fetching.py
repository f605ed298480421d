"""What a realm fetches from a provider over real HTTP: limits of time and size, and errors that are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from fabric.realms import RealmUnavailable
from fabric.realms.fetching import ANSWER_BYTES_MAX, Refusal, over_http, shown

pytestmark = pytest.mark.integration

TIMEOUT_S = 1.0
OVER = threading.Event()
"""Nobody asks any more."""
ERROR = b'{"error": "invalid_grant", "error_description": "no\\nsuch code"}'


class Odd(BaseHTTPRequestHandler):
    """Answers each path in another odd way."""

    def do_GET(self) -> None:
        """Without a form."""
        name = self.path.strip("/")
        if name == "slow":
            self.answer(200, b"[", length=1_000)
            for _ in range(50):
                if OVER.wait(0.2):
                    return
                self.wfile.write(b" ")
                self.wfile.flush()
            return
        if name == "silent":
            OVER.wait(30)
            return
        answers = {
            "right": (200, b'{"a": 1}'),
            "large": (200, b" " * (ANSWER_BYTES_MAX + 1)),
            "text": (200, b"<html>"),
            "deep": (200, b"[" * 100_000),
            "error": (400, ERROR),
            "away": (302, b""),
            "broken": (500, b""),
        }
        self.answer(*answers[name])

    def do_POST(self) -> None:
        """With a form."""
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        kind = self.headers["Content-Type"]
        name = self.path.strip("/")
        if name == "error" and form == {"code": ["a b&c"]} and kind == "application/x-www-form-urlencoded":
            self.answer(400, ERROR)
        else:
            self.answer(
                {"denied": 401, "broken": 500}.get(name, 200), b"no JSON" if name == "denied" else b"{}"
            )

    def answer(self, status: int, content: bytes, length: int = -1) -> None:
        """Say it."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length < 0 else length))
        self.send_header("Location", "/right")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """Does not tell of clients that have hung up."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """They are what is tried here."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server."""
    server = Server(("127.0.0.1", 0), Odd)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        OVER.set()
        server.shutdown()
        server.server_close()
        thread.join(30)


FETCH = over_http(TIMEOUT_S, None)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("slow", "has not said all within 1 s"),
        ("silent", "timed out"),
        ("large", "says more than"),
        ("text", "Expecting value"),
        ("deep", "recursion"),
        ("error", "answers 400"),
        ("away", "answers 302"),
        ("broken", "answers 500"),
    ],
)
def test_answers_that_are_none(url: str, path: str, said: str) -> None:
    """Each is told as what it is, soon, and none is followed elsewhere."""
    with pytest.raises(RealmUnavailable, match=f"(?i){said}"):
        FETCH(f"{url}/{path}")


def test_answers_as_they_should_be(url: str) -> None:
    """With a form and without; an error that answers a form says no, anything else says nothing."""
    assert FETCH(f"{url}/right") == {"a": 1}
    assert FETCH(f"{url}/right", {"a": "b"}) == {}
    with pytest.raises(Refusal, match=r"^invalid_grant: no such code$"):
        FETCH(f"{url}/error", {"code": "a b&c"})
    with pytest.raises(Refusal, match=r"^401$"):
        FETCH(f"{url}/denied", {"code": "x"})
    with pytest.raises(RealmUnavailable, match="answers 500"):
        FETCH(f"{url}/broken", {"code": "x"})


def test_what_others_say_is_cut() -> None:
    """To what a line bears."""
    assert shown("a\r\nb\x1b[31m" + "x" * 500).startswith("a  b [31mxx") and len(shown("x" * 500)) == 200

"""`fabric --url`: what the console is asked, and what its answers become. The console is a small server."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import Result
from support.certificates import Keys

Run = Callable[..., Result]


class Console:
    """What the server answers, and what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.answer = b'{}\n{"out": "hello\\n"}\n{"err": "oh\\n"}\n{"exit": 3}\n'
        self.asked: list[tuple[str, str | None, bytes]] = []

    @contextmanager
    def serve(self, keys: Keys | None = None) -> Iterator[str]:
        """Answer on a port of its own."""
        console = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Answer."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                console.asked.append((self.path, self.headers["Authorization"], body))
                self.send_response(console.status)
                self.end_headers()
                self.wfile.write(console.answer)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        class Server(HTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A client that does not trust us is no error of ours."""

        with Server(("127.0.0.1", 0), Answers) as server:
            if keys is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(keys.server)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"{'https' if keys else 'http'}://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


@pytest.fixture
def console() -> Console:
    """A console."""
    return Console()


def test_a_command_runs_there_and_prints_here(run: Run, console: Console) -> None:
    """Output, errors and the exit code are the command's; the command line is handed over as it is."""
    with console.serve() as url:
        done = run("--url", url, "--token", "fabric_x", "zk-set", "--", "/a b", "-ä", code=3)
    assert (done.stdout, done.stderr) == ("hello\n", "oh\n")
    path, authorization, body = console.asked[0]
    assert (path, authorization) == ("/api/v1/commands", "Bearer fabric_x")
    assert json.loads(body)["argv"] == ["zk-set", "--", "/a b", "-ä"]


def test_user_and_password_do_too(run: Run, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from the environment."""
    with console.serve() as url:
        run("--url", f"{url}/", "--user", "ann", "--password", "ä:b", "status", code=3)
        monkeypatch.setenv("FABRIC_URL", url)
        monkeypatch.setenv("FABRIC_TOKEN", "t")
        run("status", code=3)
    assert [asked[1] for asked in console.asked] == ["Basic YW5uOsOkOmI=", "Bearer t"]


def test_help_needs_no_console(run: Run) -> None:
    """It is shown from here."""
    assert "Usage: fabric status" in run("--url", "http://127.0.0.1:1", "status", "--help").output


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (
            403,
            b'{"error": {"code": "x", "message": "You may not.", "do_next": "Ask."}}',
            "You may not.\nAsk.",
        ),
        (404, b"<html>", "answered 404"),
        (500, b'{"error": 1}', "answered 500"),
        (200, b'{"out": "x"}\n', "has ended before the command"),
        (200, b"<html>\n", "cannot be understood"),
        (200, b'{"exit": "x"}\n', "cannot be understood"),
        (200, b"7\n", "cannot be understood"),
    ],
)
def test_what_goes_wrong_there_is_said_here(
    run: Run, console: Console, status: int, answer: bytes, said: str
) -> None:
    """In the console's words, or in words about what answers instead of a console."""
    console.status, console.answer = status, answer
    with console.serve() as url:
        assert said in run("--url", url, "--token", "t", "status", code=1).output


def test_https_to_a_console_without_tls(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a console waits for more of a request; the command says soon what it may be."""
    monkeypatch.setattr("fabric.cli.remote.CONNECT_S_MAX", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        said = run("--url", url, "--token", "t", "status", code=1).output
    assert f"The console at {url} cannot be asked: it has not answered within 0.2 s." in said
    assert "begins with http." in said


def test_a_console_that_is_not_there(run: Run) -> None:
    """And URLs that are none, and credentials that are missing."""
    assert "cannot be asked" in run("--url", "http://127.0.0.1:1", "--token", "t", "status", code=1).output
    for url in ("ftp://x", "host:8181", "https://", "https://a:b@host", "http://h:x"):
        assert "not the URL of a console" in run("--url", url, "--token", "t", "status", code=2).output
    assert "--token" in run("--url", "http://127.0.0.1:1", "status", code=2).output
    assert "--token" in run("--url", "http://127.0.0.1:1", "--user", "ann", "status", code=2).output
    assert "no token" in run("--url", "http://127.0.0.1:1", "--token", "ä", "status", code=2).output


def test_certificates_are_looked_at(run: Run, console: Console, tmp_path: Path) -> None:
    """Nothing is sent to a server that cannot prove who it is; --ca names who signs."""
    keys = Keys(tmp_path)
    with console.serve(keys) as url:
        assert "not accepted" in run("--url", url, "--token", "t", "status", code=1).output
        assert not console.asked
        run("--url", url, "--ca", str(keys.trust), "--token", "t", "status", code=3)
        other = url.replace("127.0.0.1", "127.0.0.2")
        assert console.asked and len(console.asked) == 1
        assert (
            "cannot be asked"
            in run("--url", other, "--ca", str(keys.trust), "--token", "t", "status", code=1).output
        )
    assert "cannot be read" in run("--url", url, "--ca", "/nothing", "--token", "t", "status", code=2).output


def test_a_url_without_tls_is_remarked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is on this host."""
    monkeypatch.setattr(
        "http.client.HTTPConnection.request", lambda *given: (_ for _ in ()).throw(OSError("no"))
    )
    assert "can be read on the way" in run("--url", "http://far", "--token", "t", "status", code=1).output
    assert (
        "can be read on the way"
        not in run("--url", "http://localhost", "--token", "t", "status", code=1).output
    )

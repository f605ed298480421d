"""How connections with ZooKeeper are secured: what is kept, what is wrong with files, who is told when."""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from kazoo.exceptions import ConnectionDropped
from kazoo.protocol.serialization import SASL, ReplyHeader
from support.certificates import Keys, expired

from registry.channel import PLAIN, ChannelSettings, channel_from_json
from registry.encryption import LoginRefused, NotSecured, check_files, connect, speaks_tls
from registry.errors import ChannelNotSecured, InvalidRecord, LoginFailed
from registry.kazoo_channel import TRIES_MAX, ChannelTrouble, SecuredThreads, secure

FULL = ChannelSettings(True, "/ca.pem", "/me.pem", "/me.key", True, "shop", "secret")


def test_settings_are_kept_as_they_are() -> None:
    """What is written is read again; what is not wanted is not written."""
    assert channel_from_json(FULL.to_json()) == FULL
    assert PLAIN.to_json() == {}
    assert channel_from_json({}) == PLAIN
    assert channel_from_json({"tls": True, "of a later release": 1}) == ChannelSettings(tls=True)
    assert ChannelSettings(tls=True).to_json() == {"tls": True}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "not an object"),
        ({"tls": "yes"}, "tls is not a truth value"),
        ({"tls": 1}, "tls is not a truth value"),
        ({"ca": True}, "ca is not a text"),
    ],
)
def test_settings_that_cannot_be_read(content: object, why: str) -> None:
    """A file that was edited wrongly is not half understood."""
    with pytest.raises(InvalidRecord, match=why):
        channel_from_json(content)


def test_a_password_is_not_shown() -> None:
    """Settings in a log or a traceback do not tell it."""
    assert "secret" not in repr(FULL)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """Each is named, with what is wrong with it and what it should be."""
    keys = Keys(tmp_path / "keys")
    good = ChannelSettings(tls=True, ca=str(keys.trust), certificate=str(keys.user("me")))
    check_files(good)
    check_files(replace(PLAIN, ca="not looked at"))
    empty, missing = tmp_path / "empty.pem", str(tmp_path / "missing.pem")
    empty.touch()
    for bad, why in (
        (
            replace(good, ca=missing),
            "missing.pem, cannot be used: No such file or directory. It is a PEM file",
        ),
        (replace(good, ca=str(empty)), "empty.pem, cannot be used: "),
        (replace(good, ca=str(tmp_path)), "cannot be used: "),
        (replace(good, certificate=missing), "missing.pem with the key .*No such file"),
        (replace(good, certificate=str(keys.trust)), "Both are PEM files, and the key is not encrypted"),
        (replace(good, key=str(keys.server)), "key values mismatch"),
    ):
        with pytest.raises(ChannelNotSecured, match=why):
            check_files(bad)


class Peer:
    """Accepts one connection on the loopback address, and treats it as a test wants."""

    def __init__(self, certificate: Path | None) -> None:
        self._certificate = certificate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as connection:
            if self._certificate is None:
                connection.recv(100)
                return
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            try:
                with context.wrap_socket(connection, server_side=True) as encrypted:
                    encrypted.sendall(b"well")
            except OSError:
                return

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join(30)


@pytest.mark.parametrize(
    ("name", "is_expired", "why"),
    [
        ("localhost", False, ""),
        (
            "elsewhere",
            False,
            "not valid for 'elsewhere'. Name the server in the address as its certificate does",
        ),
        ("localhost", True, "certificate has expired. Have it renewed, or set this host's clock"),
    ],
)
def test_a_server_is_trusted_or_not(tmp_path: Path, name: str, is_expired: bool, why: str) -> None:
    """Its certificate has to be for its name, and of today."""
    keys = expired(tmp_path) if is_expired else Keys(tmp_path)
    peer = Peer(keys.server)
    try:
        with connect(
            peer.address, ChannelSettings(tls=True, ca=str(keys.trust)), 30.0, name=name
        ) as connection:
            assert not why
            assert connection.recv(10) == b"well"
    except NotSecured as error:
        assert why, error
        assert why in str(error)
    finally:
        peer.join()


def test_what_tls_holds_is_ready(tmp_path: Path) -> None:
    """Bytes that are decrypted already are found, though nothing arrives at the socket any more."""
    keys = Keys(tmp_path)
    settings = ChannelSettings(tls=True, ca=str(keys.trust))
    threads = SecuredThreads(settings)
    peer = Peer(keys.server)
    with threads.create_connection(peer.address, hostname="localhost", timeout=30.0) as connection:
        connection.settimeout(30.0)
        assert connection.recv(2) == b"we"
        assert threads.select([connection], [], [], 0.0) == ([connection], [], [])
        assert connection.recv(2) == b"ll"
    peer.join()
    with pytest.raises(OSError, match="refused"):
        threads.create_connection(peer.address, hostname="localhost", timeout=30.0)
    assert threads.trouble.error is None  # who is away is not to be distrusted


class Wire:
    """What `secure` uses of kazoo's connection; `says` are the server's headers and tokens, or errors."""

    def __init__(self, *says: Exception | tuple[int, bytes]) -> None:
        self._says = list(says)
        self.sent: list[bytes] = []
        self._authenticate_with_sasl: Callable[[str, float], None] = lambda host, timeout_s: None

    def _invoke(self, timeout_s: float, request: object, xid: int | None = None) -> object:
        raise AssertionError

    def _submit(self, request: SASL, timeout_s: float, xid: int) -> None:
        self.sent.append(request.challenge)

    def _read_header(self, timeout_s: float) -> tuple[ReplyHeader, bytes, int]:
        said = self._says.pop(0)
        if isinstance(said, Exception):
            raise said
        error, token = said
        return ReplyHeader(1, 0, error), bytes(SASL(token).serialize()), 0

    def log_in(self) -> None:
        """As kazoo does when it has a session."""
        self._authenticate_with_sasl("localhost", 1.0)


@pytest.mark.parametrize(
    ("says", "is_told"),
    [
        ((ConnectionDropped("away"),), False),
        (((-124, b""),), True),
        (((0, b"no challenge"),), True),
        (((0, b'nonce="x",algorithm=md5-sess'), (-115, b"")), True),
        (((0, b'nonce="x",algorithm=md5-sess'), (0, b"rspauth=0")), True),
        (((0, b'nonce="x",algorithm=md5-sess'), ConnectionDropped("away")), False),
    ],
)
def test_a_login_that_fails_is_tried_again(
    says: tuple[Exception | tuple[int, bytes], ...], is_told: bool
) -> None:
    """Kazoo would give the session up for ever; a refusal is told to who waits, a server that ends is not."""
    settings = ChannelSettings(sasl_user="shop", sasl_password="secret")
    threads = SecuredThreads(settings)
    for _ in range(TRIES_MAX):
        wire = Wire(*says)
        secure(wire, threads, settings)
        with pytest.raises(ConnectionDropped):
            wire.log_in()
    assert isinstance(threads.trouble.error, LoginFailed) == is_told


def test_a_server_that_speaks_no_tls(tmp_path: Path) -> None:
    """It is told from one that is not there."""
    keys = Keys(tmp_path)
    wanted = ChannelSettings(tls=True, ca=str(keys.trust))
    peer = Peer(None)
    with pytest.raises(NotSecured, match="Is it its secure port"):
        connect(peer.address, wanted, 30.0)
    peer.join()
    with pytest.raises(ConnectionRefusedError):
        connect(peer.address, wanted, 30.0)
    assert not speaks_tls(peer.address, 30.0)
    peer = Peer(keys.server)
    assert speaks_tls(peer.address, 30.0)
    peer.join()


def test_who_waits_is_told_what_does_not_go_away() -> None:
    """One try that ends so may be a server that ends; several in a row are told, until one succeeds."""
    trouble = ChannelTrouble()
    for _ in range(TRIES_MAX):
        assert trouble.error is None
        trouble.note(NotSecured("it is not trusted"))
    assert isinstance(trouble.error, ChannelNotSecured)
    assert str(trouble.error) == "it is not trusted"
    trouble.note(LoginRefused("wrong password"))
    assert isinstance(trouble.error, LoginFailed)
    trouble.clear()
    assert trouble.error is None

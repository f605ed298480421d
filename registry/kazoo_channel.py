"""kazoo's connections, made by us: encrypted and logged in as asked, and with what is wrong told.

kazoo tries for ever to connect and keeps the reasons to itself; a wrong authority would look like a server
that is away. It also waits for bytes that TLS has decrypted already.
"""

from __future__ import annotations

import logging
import socket
import ssl
from typing import Any

from kazoo.exceptions import ConnectionDropped
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.serialization import SASL

from registry.channel import ChannelSettings
from registry.encryption import LoginRefused, NotSecured, connect, speaks_tls, told_reason
from registry.errors import ChannelNotSecured, LoginFailed, RegistryError
from registry.login import log_in, refused

TRIES_MAX = 5
"""How many tries in a row may end with a channel that is not safe until somebody who waits is told. One alone
may be a server that is just ending, or a proxy in front of one that is not up."""

HANDSHAKE_TIMEOUT_S = 0.5
"""How long the first try waits for TCP and TLS; each next one twice as long. As for the first reply."""

TLS_PROBE_S = 1.0
"""How long it is asked whether a server that does not answer wants TLS."""

log = logging.getLogger(__name__)


class ChannelTrouble:
    """What was wrong with the channels of a client lately. Written in kazoo's thread, read in any."""

    def __init__(self) -> None:
        self._last: NotSecured | None = None
        self._count = 0

    def note(self, error: NotSecured) -> None:
        """A try has ended so."""
        if str(error) != str(self._last):
            log.warning("%s", error)
        self._last = error
        self._count += 1

    def clear(self) -> None:
        """A try has succeeded."""
        self._last = None
        self._count = 0

    @property
    def error(self) -> RegistryError | None:
        """What is to be told, if it does not go away by itself."""
        if self._last is None or self._count < TRIES_MAX:
            return None
        kind = LoginFailed if isinstance(self._last, LoginRefused) else ChannelNotSecured
        return kind(str(self._last))


class SecuredThreads(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo is not typed
    """kazoo's threads, with connections as `ChannelSettings` say."""

    def __init__(self, settings: ChannelSettings) -> None:
        super().__init__()
        self._settings = settings
        self._limit_s = HANDSHAKE_TIMEOUT_S
        self.trouble = ChannelTrouble()
        self.server = ""

    def create_connection(
        self,
        address: tuple[str, int],
        hostname: str = "",
        timeout: float = HANDSHAKE_TIMEOUT_S,
        **_options: object,
    ) -> socket.socket:
        """Connect; kazoo's own options are not used."""
        self.server = f"{hostname or address[0]}:{address[1]}"
        try:
            connection = connect(address, self._settings, min(timeout, self._limit_s), name=hostname)
        except NotSecured as error:
            self.trouble.note(error)
            raise
        except TimeoutError:
            self._limit_s *= 2
            raise
        self._limit_s = HANDSHAKE_TIMEOUT_S
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    # kazoo is not typed.
    def select(self, readers: Any, writers: Any, rest: Any, timeout: Any = None) -> Any:  # noqa: ANN401
        """Wait for sockets; one of which TLS holds decrypted bytes is ready, though nothing arrives there."""
        held = [one for one in readers if isinstance(one, ssl.SSLSocket) and one.pending()]
        return (held, [], []) if held else super().select(readers, writers, rest, timeout)


def secure(connection: Any, threads: SecuredThreads, settings: ChannelSettings) -> None:  # noqa: ANN401 - kazoo's
    """Have a connection of kazoo's log in as asked, and note why servers end it."""
    invoke = connection._invoke

    # kazoo is not typed.
    def invoke_noting(timeout_s: float, request: Any, xid: int | None = None) -> Any:  # noqa: ANN401
        try:
            answer = invoke(timeout_s, request, xid)
        except ConnectionDropped as error:
            if reason := told_reason(threads.server, settings, error.__context__):
                threads.trouble.note(NotSecured(reason))
            raise
        if not settings.sasl_user:
            threads.trouble.clear()
        return answer

    def log_in_by_sasl(_host: str, timeout_s: float) -> None:
        server = threads.server
        try:
            log_in(server, settings, lambda token: _ask(connection, server, settings, token, timeout_s))
        except LoginRefused as error:
            threads.trouble.note(error)
            # Not kazoo's error for this, which gives up for ever, and the session with it.
            raise ConnectionDropped(str(error)) from error
        threads.trouble.clear()

    connection._invoke = invoke_noting
    connection._authenticate_with_sasl = log_in_by_sasl


# kazoo is not typed.
def _ask(connection: Any, server: str, settings: ChannelSettings, token: bytes, timeout_s: float) -> bytes:  # noqa: ANN401
    connection._submit(SASL(token), timeout_s, 1)
    header, buffer, offset = connection._read_header(timeout_s)
    if header.err:
        raise refused(server, settings)
    challenge, _ = SASL.deserialize(buffer, offset)
    return challenge or b""


def wants_tls(client: Any, url: str) -> RegistryError | None:  # noqa: ANN401 - kazoo is not typed
    """Return the error of a client that is not answered since it talks without TLS. Blocks shortly."""
    hosts = getattr(client, "hosts", ())
    if not any(speaks_tls(one, TLS_PROBE_S) for one in hosts[:1]):
        return None
    return ChannelNotSecured(
        f"ZooKeeper at {url} answers at that port only by TLS. "
        "Ask for TLS, and name the authority of its servers."
    )


def channel_error(client: Any) -> RegistryError | None:  # noqa: ANN401 - kazoo is not typed
    """Return what keeps a client from its servers although they are there; only secured channels know."""
    threads = getattr(client, "handler", None)
    return threads.trouble.error if isinstance(threads, SecuredThreads) else None

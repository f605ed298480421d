"""TLS around any protocol's server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.errors import TlsFailed
from broker.tls import TlsChannel
from broker.wrapping import MakeServer, Wrapper

if TYPE_CHECKING:
    from broker.certificates import CertificateStore
    from broker.serving import ServerContext


class TlsServer(Wrapper):
    """One client's encryption; what is inside is made when hands are shaken, and is told whom it serves.

    Args:
        context: see `ServerContext`.
        remote: the client's address.
        now_s: monotonic seconds.
        wake: asks for a turn.
        store: the connector's certificates.
        make: makes what is inside.
    """

    def __init__(
        self,
        context: ServerContext,
        remote: str,
        now_s: float,
        wake: Callable[[], None],
        *,
        store: CertificateStore,
        make: MakeServer,
    ) -> None:
        super().__init__(context, remote, wake)
        self._channel = TlsChannel(store.context(now_s), server_side=True)
        self._store = store
        self._make = make
        self._said_end = False

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Decrypt, and hand on."""
        if self.closing:
            return
        channel = self._channel
        try:
            plain = channel.receive_data(data)
        except TlsFailed as error:
            self.fail(f"TLS: {error}")
            return
        inner = self.inner
        if inner is None:
            if not channel.is_open:
                return
            user = self._store.user_of(channel.peer_certificate)
            if user:
                self._context = replace(self._context, transport_user=user)
            inner = self.begin(self._make, now_s)
        if plain:
            inner.receive_data(plain, now_s)
        if channel.is_closed and not inner.closing:
            self.connection_lost("")

    def last_words(self, reason: str) -> bytes:
        """See `ProtocolServer`."""
        if self._said_end:
            return b""
        words = super().last_words(reason)
        if words:
            self._channel.send(words)
        self._said_end = True
        self._channel.close()
        return self._channel.data_to_send()

    def data_to_send(self) -> bytes:
        """Encrypt what is inside to be sent."""
        inner, channel = self.inner, self._channel
        if inner is not None and not self._said_end:
            data = inner.data_to_send()
            if data:
                channel.send(data)
            if self.closing:
                self._said_end = True
                channel.close()
        return channel.data_to_send()

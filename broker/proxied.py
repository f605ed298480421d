"""A connector behind a proxy: a client's address comes from the PROXY header of who is trusted with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from broker.errors import ProxyHeaderInvalid
from broker.proxy_protocol import is_within, leading_header
from broker.remote import host_of, remote_of
from broker.wrapping import MakeServer, Wrapper

if TYPE_CHECKING:
    from broker.connector import ProtocolServer
    from broker.serving import ServerContext


def proxied_server(
    make: MakeServer, context: ServerContext, remote: str, now_s: float, wake: Callable[[], None]
) -> ProtocolServer:
    """The server for who has connected: of a trusted proxy what its header says, of others their own."""
    if is_within(host_of(remote), context.config.proxies):
        return ProxiedServer(context, remote, wake, make=make)
    return make(context, remote, now_s, wake)


class ProxiedServer(Wrapper):
    """One connection of a trusted proxy; what is inside is made when the header is there, or is missing.

    Args:
        context: see `ServerContext`.
        remote: the proxy's address.
        wake: asks for a turn.
        make: makes what is inside.
    """

    def __init__(
        self, context: ServerContext, remote: str, wake: Callable[[], None], *, make: MakeServer
    ) -> None:
        super().__init__(context, remote, wake)
        self._make = make
        self._first = b""

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Read the header, then hand on."""
        if self.inner is not None:
            self.inner.receive_data(data, now_s)
            return
        if self.closing:
            return
        first = self._first = self._first + data
        try:
            header = leading_header(first, required=self._context.config.requires_proxy)
        except ProxyHeaderInvalid as error:
            self.fail(str(error))
            return
        if header is None:
            return
        if header.client is not None:
            self._remote = remote_of(header.client.host, header.client.port)
        rest = first[header.size :]
        self._first = b""
        inner = self.begin(self._make, now_s)
        if rest:
            inner.receive_data(rest, now_s)

    def data_to_send(self) -> bytes:
        """What is inside has to say; before, nothing."""
        return b"" if self.inner is None else self.inner.data_to_send()

"""How the client speaks TLS: whom it trusts, and what it shows of itself."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.tls import TlsChannel
from mqclient.errors import TlsUnusable
from registry.encryption import tls_reason

if TYPE_CHECKING:
    from mqclient.url import BrokerAddress


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; all are optional.

    Attributes:
        trust_store: the authorities whose brokers are trusted; the system's if empty.
        key_store: the client's certificate and its chain; none is shown if empty.
        key_store_key: its key; in `key_store` itself if empty.
        key_store_password: of the key, if it is encrypted.
    """

    trust_store: str = ""
    key_store: str = ""
    key_store_key: str = ""
    key_store_password: str = ""

    @property
    def is_given(self) -> bool:
        """Whether anything is said: then a connection without TLS is not what is meant."""
        return bool(self.trust_store or self.key_store)


class ClientTls:
    """Makes the encryption of a factory's connections; thread-safe.

    Args:
        files: what to trust and to show.

    Raises:
        TlsUnusable: a file cannot be read, or holds something else.
    """

    def __init__(self, files: TlsFiles = TlsFiles()) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._contexts: dict[bool, ssl.SSLContext] = {}
        if files.is_given:
            self._context(True)

    @property
    def is_given(self) -> bool:
        """See `TlsFiles.is_given`."""
        return self._files.is_given

    def channel(self, address: BrokerAddress) -> TlsChannel:
        """The encryption of one socket to a broker, which has said its first word.

        Raises:
            TlsUnusable: as above.
            TlsFailed: the broker's name is none.
        """
        context = self._context(address.wire.verify_host_name)
        channel = TlsChannel(context, server_side=False, server_name=address.host)
        channel.begin()
        return channel

    def _context(self, verify_host_name: bool) -> ssl.SSLContext:
        with self._lock:
            context = self._contexts.get(verify_host_name)
            if context is None:
                context = self._contexts[verify_host_name] = self._make(verify_host_name)
            return context

    def _make(self, verify_host_name: bool) -> ssl.SSLContext:
        files = self._files
        try:
            context = ssl.create_default_context(cafile=files.trust_store or None)
        except (OSError, ValueError) as error:
            raise TlsUnusable(f"the trust store {files.trust_store}: {tls_reason(error)}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = verify_host_name
        if files.key_store:
            key = files.key_store_key or files.key_store
            try:
                context.load_cert_chain(files.key_store, key, files.key_store_password)
            except (OSError, ValueError) as error:
                raise TlsUnusable(
                    f"the key store {files.key_store} with {key}: {tls_reason(error)}"
                ) from error
        return context

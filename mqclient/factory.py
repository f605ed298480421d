"""Where connections come from."""

from __future__ import annotations

from mqclient.connection import Connection
from mqclient.discovery import Discovery, RegistryAddress
from mqclient.tls import ClientTls, TlsFiles
from mqclient.url import parse_url
from registry.channel import ChannelSettings

DEFAULT_REGISTRY = RegistryAddress()
WITHOUT_FILES = TlsFiles()


class ConnectionFactory:
    """Makes connections to the brokers that a URL stands for.

    Args:
        url: ``tcp://…``, ``ssl://…``, ``failover:(…)`` or ``discovery:(fabric:<group>)``, with options.
        user: None: the broker decides what an anonymous client may do.
        password: the user's.
        zookeeper_url: of the registry; used with discovery only.
        zookeeper_password: of the registry; empty: no authentication.
        zookeeper_channel: how connections with the registry are secured.
        tls: whom to trust and what to show, where the URL is of TLS; with discovery it asks for TLS.

    Raises:
        InvalidUrl: the URL, or an option in it.
        TlsUnusable: a file of `tls`.
    """

    def __init__(
        self,
        url: str = "failover://tcp://localhost:61616",
        user: str | None = None,
        password: str | None = None,
        *,
        zookeeper_url: str = DEFAULT_REGISTRY.url,
        zookeeper_password: str = DEFAULT_REGISTRY.password,
        zookeeper_channel: ChannelSettings = DEFAULT_REGISTRY.channel,
        tls: TlsFiles = WITHOUT_FILES,
    ) -> None:
        self._url = parse_url(url)
        self._user = user
        self._password = password
        self._tls = ClientTls(tls)
        self._discovery: Discovery | None = None
        if self._url.discovery is not None:
            registry = RegistryAddress(zookeeper_url, zookeeper_password, zookeeper_channel)
            self._discovery = Discovery(
                self._url.discovery, registry, self._url.discovered, tls_only=tls.is_given
            )

    def create_connection(
        self, client_id: str | None = None, *, user: str | None = None, password: str | None = None
    ) -> Connection:
        """Connect and log in. With failover and discovery, waits until a broker is there.

        Args:
            client_id: unique for the broker; needed for durable subscribers.
            user: instead of the factory's.
            password: instead of the factory's.

        Raises:
            AuthenticationFailed: wrong user or password.
            InvalidClientId: the client id is in use.
            RegistryUnreachable: discovery cannot read the registry.
            ConnectionFailed: no broker could be reached, and the attempts are used up.
        """
        connection = Connection(
            self._url,
            user=self._user if user is None else user,
            password=self._password if password is None else password,
            client_id=client_id,
            discovery=self._discovery,
            tls=self._tls,
        )
        connection.connect()
        return connection

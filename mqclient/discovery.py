"""Finding brokers in the registry, for ``discovery:(fabric:<group>)``.

One registry session serves all connections of a factory. It is opened with the first connection and closed
after the last one. The registry package, and with it the ZooKeeper client, is imported only then.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mqclient.errors import InvalidUrl, RegistryUnreachable
from mqclient.options import WireOptions
from mqclient.outlook import Sight, unknown
from mqclient.url import TCP_SCHEMES, TLS_SCHEMES, BrokerAddress, DiscoveryAgent, parse_address
from registry.channel import PLAIN, ChannelSettings

if TYPE_CHECKING:
    from registry.discovery import DiscoveryView
    from registry.session import Session as RegistrySession

LOG = logging.getLogger("mqclient.discovery")

CONNECT_TIMEOUT_S = 10.0
"""For the first answer of ZooKeeper, as in the original."""


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """Where the registry is.

    Attributes:
        url: ``host:port[,host:port…]``.
        password: of the ensemble; empty: no authentication.
        channel: how connections with it are secured.
    """

    url: str = "localhost:2181"
    password: str = "admin"  # noqa: S105 - the original's default
    channel: ChannelSettings = PLAIN


Listener = Callable[[tuple[BrokerAddress, ...]], None]


class Discovery:
    """The brokers of one group, told to every listener when they change; thread-safe.

    Of a group with connectors of both kinds those without TLS are taken: they need no files.

    Args:
        agent: which brokers.
        registry: where they are found.
        wire: options of their URLs.
        tls_only: pass over what is not encrypted.
    """

    def __init__(
        self, agent: DiscoveryAgent, registry: RegistryAddress, wire: WireOptions, *, tls_only: bool = False
    ) -> None:
        self._schemes = TLS_SCHEMES if tls_only else (*TCP_SCHEMES, *TLS_SCHEMES)
        self._agent = agent
        self._registry = registry
        self._wire = wire
        self._lock = threading.Lock()
        self._life = threading.Lock()  # held while the session is opened or closed
        self._listeners: list[Listener] = []
        self._known: tuple[BrokerAddress, ...] = ()
        self._session: RegistrySession | None = None
        self._view: DiscoveryView | None = None

    def subscribe(self, listener: Listener) -> None:
        """Tell the listener the brokers, now and whenever they change, in the registry's thread.

        Raises:
            RegistryUnreachable: the registry did not answer, or refused the password.
        """
        with self._life:
            with self._lock:
                self._listeners.append(listener)
                known = self._known
            if self._session is None:
                try:
                    self._open()
                except BaseException:
                    self._forget(listener)
                    raise
            elif known:
                listener(known)

    def unsubscribe(self, listener: Listener) -> None:
        """Tell it nothing more; the last one closes the registry's session."""
        with self._life:
            if self._forget(listener) or self._session is None:
                return
            if self._view is not None:
                self._view.close()
            self._session.close()
            self._session = self._view = None
            self._known = ()

    def why_nobody(self) -> str:
        """A sentence that says why no broker is known. Blocks while the registry is asked."""
        session, view = self._session, self._view
        sight = Sight(self._registry.url, answers=False)
        if session is not None and view is not None:
            # Imported already, by whoever has opened the session.
            from registry.discovery import groups_with_members  # noqa: PLC0415 - see above
            from registry.errors import RegistryError  # noqa: PLC0415 - see above

            with contextlib.suppress(RegistryError):
                groups = groups_with_members(session)
                sight = Sight(self._registry.url, True, view.masters, tuple(groups))
        return unknown(self._agent, sight, tls_only=self._schemes == TLS_SCHEMES)

    def _forget(self, listener: Listener) -> bool:
        """Returns whether others are left."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
            return bool(self._listeners)

    def _open(self) -> None:
        # Imported here, because the ZooKeeper client takes a while to load and plain URLs do not need it.
        from registry import discovery, errors  # noqa: PLC0415 - see above
        from registry import session as sessions  # noqa: PLC0415 - see above

        LOG.info("Connecting to the registry at %s", self._registry.url)
        session = sessions.Session(
            self._registry.url, self._registry.password, channel=self._registry.channel
        )
        try:
            session.start(CONNECT_TIMEOUT_S)
        except errors.RegistryUnavailable as error:
            raise RegistryUnreachable(
                f"{error} Is the fabric running? Another registry is named by -Dzookeeper.url=HOST:PORT."
            ) from error
        except errors.RegistryError as error:
            raise RegistryUnreachable(str(error)) from error
        view = discovery.DiscoveryView(
            session, self._agent.group, self._changed, broker_id=self._agent.broker_id, schemes=self._schemes
        )
        self._session, self._view = session, view
        session.follow_ensemble()
        session.follow_password()
        view.start()

    def _changed(self, urls: tuple[str, ...]) -> None:
        addresses = []
        for url in urls:
            try:
                addresses.append(parse_address(url, self._wire))
            except InvalidUrl as error:
                LOG.warning("Ignoring a broker of group %s: %s", self._agent.group, error)
        plain = [address for address in addresses if not address.is_tls]
        with self._lock:
            self._known = tuple(plain or addresses)
            listeners = list(self._listeners)
        for listener in listeners:
            listener(self._known)

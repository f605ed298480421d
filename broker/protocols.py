"""Which protocol's server a connector's clients are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.config import BrokerConfig
    from broker.connector import ProtocolServer
    from broker.region.region import Region
    from broker.security import Authenticator


class ServerBuilder:
    """Makes protocol servers for one broker."""

    def __init__(self, config: BrokerConfig, users: Authenticator) -> None:
        self._config = config
        self._users = users

    def build(
        self, connector: str, region: Region, remote: str, now_s: float, wake: Callable[[], None]
    ) -> ProtocolServer:
        """Make the server for one client of a connector."""
        raise NotImplementedError

"""Which protocol's server a connector's clients are given."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from broker.openwire.server import OpenWireServer
from broker.openwire.wireformat import WireFormatOptions

if TYPE_CHECKING:
    from broker.config import ConnectorConfig
    from broker.connector import ProtocolServer
    from broker.region.region import Region
    from broker.security import Authenticator

_number = itertools.count(1)


def broker_id() -> str:
    """A name for one mastership of one process, as clients expect it to look."""
    return f"ID:{socket.gethostname()}-{os.getpid()}-{int(time.time() * 1000)}-0:{next(_number)}"


class ServerBuilder:
    """Makes the servers for one connector's clients, for one mastership."""

    def __init__(
        self,
        config: ConnectorConfig,
        region: Region,
        users: Authenticator,
        *,
        broker_id: str,
        broker_name: str,
        broker_url: str,
    ) -> None:
        """Make it.

        Args:
            config: of the connector.
            region: what is served.
            users: who may connect.
            broker_id: see `broker_id`.
            broker_name: as configured.
            broker_url: where clients reach this connector.
        """
        self._region = region
        self._users = users
        self._broker_id = broker_id
        self._broker_name = broker_name
        self._broker_url = broker_url
        self._options = WireFormatOptions(
            max_inactivity_duration_ms=config.inactivity_ms,
            max_frame_size_bytes=config.frame_bytes_max,
            tight_encoding_enabled=config.tight_encoding,
            cache_enabled=config.cache,
        )

    def __call__(self, remote: str, now_s: float, wake: Callable[[], None]) -> ProtocolServer:
        """Make the server for one client."""
        return OpenWireServer(
            self._region,
            self._options,
            authenticator=self._users,
            broker_id=self._broker_id,
            broker_name=self._broker_name,
            broker_url=self._broker_url,
            now_s=now_s,
            remote=remote,
            wake=wake,
        )

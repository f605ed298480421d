"""A gateway's record in the registry, for `gateway-list`: where it listens, and where it leads.

It is an ephemeral member of the group of gateways that lead to the same brokers, laid out as other members
are, so that `cluster-list gateway` shows it, too.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from registry import paths
from registry.group import Membership
from registry.members import MemberRecord

if TYPE_CHECKING:
    from fabric.gateway.config import GatewayConfig
    from registry.nonblocking import NonblockingSession


class Publication:
    """Keeps the record as it should be, whatever happens to the session.

    Args:
        session: whose ephemeral znode it is.
        config: of the gateway.
        container: where it runs.
    """

    def __init__(self, session: NonblockingSession, config: GatewayConfig, container: str) -> None:
        record = MemberRecord(config.name, container, uuid.uuid4().hex)
        self._membership = Membership(
            session,
            paths.gateway_group(config.group),
            record,
            rejoin_delay_s=lambda: 0.0,
            on_change=lambda: None,
        )
        self._joined = False
        self._ended = False
        self._brokers = list(config.brokers)

    def update(self, urls: Sequence[str], masters: Sequence[Mapping[str, Any]]) -> None:
        """Tell this from now on."""
        if self._ended:
            return
        self._membership.update(urls, {"brokers": self._brokers, "masters": list(masters)})
        if not self._joined:
            self._joined = True
            self._membership.join()

    def end(self, ended: Callable[[], None]) -> None:
        """Tell nothing more; `ended` is called when the record is gone, or ZooKeeper is out of reach."""
        self._ended = True
        if self._joined:
            self._membership.leave(ended)
        else:
            ended()

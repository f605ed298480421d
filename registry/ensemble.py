"""A session that may change which servers an ensemble has.

Source: ZooKeeper's guide to dynamic reconfiguration.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from kazoo import exceptions as kazoo_errors

from registry.errors import EnsembleBusy, RegistryError, RegistryUnavailable
from registry.kazoo_edge import converted
from registry.quorum import SUPER_USER, EnsembleServer, parse_servers
from registry.session import Session

CONFIG = "/zookeeper/config"
"""Where ZooKeeper keeps the list of its servers, readable for everybody."""

ATTEMPT_PAUSE_S = 0.1

_TRY_AGAIN = (
    kazoo_errors.NewConfigNoQuorumError,
    kazoo_errors.ReconfigInProcessError,
    kazoo_errors.BadVersionError,
)
"""Too few of the servers follow yet, or another change is under way."""

_REPLY_LOST = (
    kazoo_errors.ConnectionLoss,
    kazoo_errors.SessionExpiredError,
    kazoo_errors.OperationTimeoutError,
)
"""The change may have been made: the leader that leaves ends its connections."""


def servers_of(session: Session) -> dict[int, EnsembleServer]:
    """Return the servers of the ensemble by number; none for one without companions, or below a path."""
    node = session.get_or_none(CONFIG)
    return parse_servers(node.data.decode(errors="replace")) if node else {}


class EnsembleSession(Session):
    """A session of ZooKeeper's super user."""

    def authenticate(self, secret: str) -> None:
        """Become the super user; blocks. Raises RegistryUnavailable."""
        self._call(CONFIG, lambda client: client.add_auth_async("digest", f"{SUPER_USER}:{secret}"))

    def change_servers(
        self,
        joining: Iterable[EnsembleServer] = (),
        leaving: Iterable[int] = (),
        *,
        timeout_s: float,
    ) -> dict[int, EnsembleServer]:
        """Add and remove servers, all in one step; blocks until the new ensemble has taken it over.

        Returns:
            The servers of the ensemble.

        Raises:
            EnsembleBusy: it was not possible in time, and nothing has changed.
            RegistryUnavailable: the outcome is unknown; to ask again does no harm.
        """
        wanted = {server.id: server for server in joining}
        gone = set(leaving)
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                present = servers_of(self)
                missing = [server for number, server in wanted.items() if present.get(number) != server]
                left = sorted(gone & present.keys())
                if not missing and not left:
                    return present
                self._reconfigure(",".join(server.line() for server in missing), ",".join(map(str, left)))
            except (EnsembleBusy, RegistryUnavailable):
                if time.monotonic() >= deadline_s:
                    raise
                time.sleep(ATTEMPT_PAUSE_S)

    def _reconfigure(self, joining: str, leaving: str) -> None:
        def begin(client: Any) -> Any:  # noqa: ANN401 - kazoo is not typed
            return client.reconfig_async(joining or None, leaving or None, None, -1)

        try:
            self._call(CONFIG, begin, repeat=False)
        except RegistryError as error:
            cause = error.__cause__
            if isinstance(cause, _TRY_AGAIN):
                reason = type(cause).__name__.removesuffix("Error")
                raise EnsembleBusy(f"ZooKeeper does not change its servers now ({reason}).") from cause
            if isinstance(cause, _REPLY_LOST):
                raise converted(kazoo_errors.ConnectionLoss(), self.url, CONFIG) from cause
            raise

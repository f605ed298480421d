"""What the containers that run the ensemble's servers tell each other when certificates change. Blocks.

    …/ensemble/{container}/certificates     what its server shows and trusts
    …/ensemble-restarts/waiting/{container} ephemeral: its server is to be restarted
    …/ensemble-restarts/turn                ephemeral: whose is restarted now

The session is one with the container's own server, by the port without TLS: it works whatever has happened
to certificates. It outlives the restart of that server, and ends with the container's process: if that is
killed, the one in its place ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fabric.ensemble_health import VOTING, addresses_of
from fabric.ensembles import parse_state
from fabric.server_rotation import Companion, ShownRecord, parse_shown
from registry import paths
from registry.ensemble import servers_of
from registry.errors import NodeExists
from registry.quorum import parse_servers

if TYPE_CHECKING:
    from registry.session import Session

Mode = Callable[[tuple[str, int]], str]
"""How the server at an address of clients is, see `fabric.ensemble_health.mode_of`."""


class ServerTurns:
    """The place of one container's server among those of the ensemble."""

    def __init__(self, session: Session, container: str, own: int, mode: Mode) -> None:
        """Make it.

        Args:
            session: with the registry.
            container: whose server it is.
            own: the server's number.
            mode: asks another server.
        """
        self._session = session
        self._container = container
        self._own = own
        self._mode = mode

    def others(self) -> list[ShownRecord]:
        """What the containers of the other servers say; those that say nothing are left out."""
        found = []
        for name, _ in self._containers().values():
            path = paths.ensemble_server_certificates(name)
            node = self._session.get_or_none(path)
            if node is not None:
                found.append(parse_shown(name, path, node.data))
        return found

    def companions(self) -> list[Companion]:
        """The other servers as they are now."""
        known = self._containers()
        waiting = self._names(paths.ensemble_restarts_waiting())
        found = []
        for number in servers_of(self._session).keys() - {self._own}:
            name, url = known.get(number, (f"server {number}", ""))
            addresses = addresses_of(url)
            serves = any(self._mode(address) in VOTING for address in addresses)
            found.append(Companion(name, serves, name in waiting, addresses))
        return found

    def _containers(self) -> dict[int, tuple[str, str]]:
        """Container and address for clients of the other servers, by number."""
        members = servers_of(self._session)
        found = {}
        for name in self._names(paths.ensemble_servers()):
            node = self._session.get_or_none(paths.ensemble_server_state(name))
            state = parse_state(node.data) if node is not None else None
            for number in parse_servers(state.server) if state is not None else ():
                if state is not None and number in members and number != self._own:
                    found[number] = (name, state.url)
        return found

    def _names(self, parent: str) -> list[str]:
        return self._session.children(parent) if self._session.exists(parent) else []

    def say(self, record: ShownRecord) -> None:
        """Tell the others. Raises NoSuchNode while the container is not asked for a server."""
        path, data = paths.ensemble_server_certificates(self._container), record.to_bytes()
        node = self._session.get_or_none(path)
        if node is None:
            self._session.create(path, data, make_parents=False)
        elif node.data != data:
            self._session.set(path, data)

    def wait(self) -> None:
        """Be one of those whose servers are to be restarted."""
        path = paths.ensemble_restart_waiting(self._container)
        if not self._session.exists(path):
            self._session.create(path, ephemeral=True)

    def take(self) -> str:
        """Have the turn, if nobody has it; returns who has it else, or an empty text."""
        path = paths.ensemble_restart_turn()
        try:
            self._session.create(path, self._container.encode(), ephemeral=True)
        except NodeExists:
            node = self._session.get_or_none(path)
            if node is None or node.ephemeral_owner != self._session.session_id:
                return node.data.decode(errors="replace") if node is not None else "somebody"
        return ""

    def leave(self) -> None:
        """Wait no longer, and let the next one have the turn."""
        node = self._session.get_or_none(paths.ensemble_restart_turn())
        if node is not None and node.ephemeral_owner == self._session.session_id:
            self._session.delete(paths.ensemble_restart_turn(), missing_ok=True)
        self._session.delete(paths.ensemble_restart_waiting(self._container), missing_ok=True)

"""What the console and the API tell the audit log, and the metrics of failed logins."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from broker.failed_logins import FailedLogin, LoginAudit
from fabric.audit import DONE, AuditEntry, write_entry

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from fabric.reactor import Reactor
    from fabric.web.routes import Identity
    from registry.session import Session

log = logging.getLogger("fabric.audit")


def source_of(identity: Identity | None, remote: str) -> str:
    """From where somebody asks."""
    return f"{remote} with token {identity.token}" if identity and identity.token else remote


class ConsoleAudit:
    """Writes entries behind what they tell of.

    Args:
        session: with the registry.
        file: of this host.
        run_blocking: runs a call in a thread.
        reactor: for failed logins, of which the last in a minute are told at its end.
        origin: of logins.
        now: seconds since 1970.
    """

    def __init__(
        self,
        session: Session,
        file: Path,
        run_blocking: Callable[[Callable[[], object]], Deferred[object]],
        reactor: Reactor,
        *,
        origin: str = "console",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._file = file
        self._run_blocking = run_blocking
        self._now = now
        self._host = socket.gethostname()
        self._origin = origin
        self._logins = LoginAudit(reactor, reactor.seconds, self._refused)

    def request(
        self, identity: Identity | None, remote: str, action: str, outcome: str, *, is_page: bool
    ) -> None:
        """Somebody has asked for a change; nobody who is known is told of by his failed login."""
        if identity is None:
            return
        origin = "console" if is_page or identity.session else "api"
        source = source_of(identity, remote)
        self._write(
            AuditEntry(
                self._now_ms, identity.user, identity.role.label, origin, source, action, outcome, self._host
            )
        )

    def login(self, user: str, remote: str, outcome: str) -> None:
        """Somebody has logged in, or was refused; so many refusals are written, and the others counted.

        Args:
            user: as he calls himself.
            remote: his address.
            outcome: what became of it.
        """
        if outcome == DONE:
            self._write(
                AuditEntry(self._now_ms, user, "", self._origin, remote, "login", outcome, self._host)
            )
        else:
            self._logins.failed(user, remote, outcome)

    def close(self) -> None:
        """Write what was not written yet."""
        self._logins.close()

    def _refused(self, failed: FailedLogin) -> None:
        self._write(
            AuditEntry(
                at_ms=self._now_ms,
                user=failed.user,
                role="",
                origin=self._origin,
                source=failed.address,
                action="login",
                result=failed.reason,
                host=self._host,
                left_out=failed.left_out,
                count=failed.count,
            )
        )

    @property
    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _write(self, entry: AuditEntry) -> None:
        def write() -> None:
            for problem in write_entry(self._session, self._file, entry):
                log.error("%s", problem)

        self._run_blocking(write)

"""What profiles and `log-set` say of a container's process itself: how it logs, and its session timeout."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from fabric.logs import FORMAT_KEY, LOGGING_PID, parse_levels

if TYPE_CHECKING:
    from fabric.home import ContainerHome
    from fabric.logs import ContainerLog

log = logging.getLogger(__name__)

SESSION_TIMEOUT_MS: Final = 4000
"""How long ZooKeeper waits for a host that has frozen or died; the original waited 60 s."""

SESSION_TIMEOUT_MIN_MS: Final = 1000
SESSION_TIMEOUT_MAX_MS: Final = 40_000
"""What the managed ZooKeeper server grants; see `registry.server`."""

ZOOKEEPER_PID: Final = "io.fabric8.zookeeper"
SESSION_TIMEOUT_KEY: Final = "zookeeper.session.timeout"


class ProcessSettings:
    """Takes them over now, or keeps them for the next start. Lives in the reactor's thread."""

    def __init__(self, files: ContainerHome, own_log: ContainerLog) -> None:
        self._files = files
        self._log = own_log

    @property
    def session_timeout_ms(self) -> int:
        """As the profiles said when the process ran last."""
        return self._files.read_session_timeout_ms() or SESSION_TIMEOUT_MS

    def use_profiles(self, configuration: Mapping[str, Mapping[str, str]]) -> None:
        """Take over what the profiles say, properties by PID; what cannot be used is left as it is."""
        self._use_log(configuration.get(LOGGING_PID, {}))
        self._keep_session_timeout(configuration.get(ZOOKEEPER_PID, {}))

    def use_levels(self, data: bytes | None) -> None:
        """Log from these levels on: what `log-set` has written."""
        self._log.use_levels(parse_levels((data or b"").decode(errors="replace")))

    def _use_log(self, properties: Mapping[str, str]) -> None:
        """Log as the profiles say, now, and from the next start's first line on."""
        self._log.use_profile(properties)
        form = properties.get(FORMAT_KEY, "").strip()
        if form and not self._log.use_format(form):
            log.error(
                "%s of %s is %r, neither text nor json; it is left as it is.", FORMAT_KEY, LOGGING_PID, form
            )
        elif form != (self._files.read_log_format() or ""):
            self._files.write_log_format(form)

    def _keep_session_timeout(self, properties: Mapping[str, str]) -> None:
        """Keep the session timeout for the next start: the profiles are read when there is a session."""
        text = properties.get(SESSION_TIMEOUT_KEY, str(SESSION_TIMEOUT_MS))
        if not (
            text.isascii()
            and text.isdigit()
            and SESSION_TIMEOUT_MIN_MS <= int(text) <= SESSION_TIMEOUT_MAX_MS
        ):
            log.error(
                "%s of %s is %r, not a number from %d to %d; it is left as it is.",
                SESSION_TIMEOUT_KEY,
                ZOOKEEPER_PID,
                text,
                SESSION_TIMEOUT_MIN_MS,
                SESSION_TIMEOUT_MAX_MS,
            )
        elif int(text) != self.session_timeout_ms:
            self._files.write_session_timeout_ms(int(text))
            log.info("The session timeout is %s ms from the next start of the container on", text)

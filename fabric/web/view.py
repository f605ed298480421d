"""The fabric as the registry describes it, from memory: pages may look as often as they like."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from twisted.internet.defer import Deferred

from fabric.clusters import ClusterRow, read_clusters
from fabric.store import ContainerStore, ProfileStore
from fabric.versions import VersionStore
from fabric.web.errors import Refused
from fabric.znodes import with_references
from registry import paths
from registry.mirror import Mirror

if TYPE_CHECKING:
    from fabric.reactor import Reactor
    from fabric.records import ContainerRecord
    from registry.session import Session

T = TypeVar("T")

READY_S_MAX: Final = 10.0
"""How long a request waits for the first reading of the registry."""


class FabricView:
    """What the registry says, as typed records. Lives in the reactor's thread.

    Attributes:
        reading: the registry's znodes for functions that only read, and do not block here.
        containers: reads containers from memory; it cannot write.
        profiles: likewise profiles and requirements.
        versions: likewise versions.
    """

    def __init__(self, session: Session, reactor: Reactor, on_change: Callable[[], None]) -> None:
        """Begin to follow the registry; `on_change` is called after each change."""
        self._reactor = reactor
        self._on_change = on_change
        self._waiting: list[Deferred[None]] = []
        self._found: dict[str, Any] = {}
        self._mirror = Mirror(session, (paths.configs(), paths.registry()), self._changed)
        # The stores only read here, and for reading a mirror is as good as a session.
        self.reading = cast("Session", self._mirror)
        self.containers = ContainerStore(self.reading)
        self.profiles = ProfileStore(self.reading)
        self.versions = VersionStore(self.reading)

    @property
    def complete(self) -> bool:
        """Whether the registry has been read once."""
        return self._mirror.complete

    @property
    def revision(self) -> int:
        """Counts the changes."""
        return self._mirror.revision

    async def ready(self) -> None:
        """Wait until the registry has been read once. Raises `Refused` if that takes too long."""
        if self._mirror.complete:
            return
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        too_late = self._reactor.callLater(READY_S_MAX, self._give_up, waiting)
        try:
            await waiting
        finally:
            if too_late.active():
                too_late.cancel()

    def cancel(self) -> None:
        """Follow it no longer."""
        self._mirror.cancel()

    def all_containers(self) -> list[ContainerRecord]:
        """All containers, by name."""
        return self.once("containers", self.containers.all)

    def brokers(self) -> list[ClusterRow]:
        """All brokers that a container runs: masters and slaves."""
        return self.once("brokers", lambda: read_clusters(self.reading, paths.amq_groups()))

    def address_of(self, text: str) -> str:
        """A text with the references to other znodes replaced, as the addresses of containers have them."""
        return with_references(self.reading, text)

    def once(self, name: str, find: Callable[[], T]) -> T:
        """What `find` returns, found once for each revision of the registry."""
        if name not in self._found:
            self._found[name] = find()
        return cast("T", self._found[name])

    def _changed(self) -> None:
        self._found.clear()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
        self._on_change()

    def _give_up(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            waiting.errback(Refused(503, "The registry has not been read yet.", "Is ZooKeeper up?"))

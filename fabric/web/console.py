"""What all requests share: the view of the registry, the stores for changes, brokers, events and the gate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from fabric.lifecycle import Lifecycle
from fabric.store import ContainerStore, ProfileStore
from fabric.users import Users
from fabric.web.audit import ConsoleAudit
from fabric.web.broker_links import BrokerLinks
from fabric.web.events import EventHub
from fabric.web.gate import Gate, KnownUsers
from fabric.web.health_watch import HealthWatch
from fabric.web.known_tokens import KnownTokens
from fabric.web.provider_logins import NoProviders, ProviderLogins, ProviderUsers
from fabric.web.sampler import Sampler
from fabric.web.tokens import TokenStore
from fabric.web.view import FabricView

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from fabric.home import Home
    from fabric.metrics.model import Figures
    from fabric.reactor import Reactor
    from registry.session import Session

P = ParamSpec("P")
T = TypeVar("T")

FABRIC_TOPIC: Final = "fabric"
"""Something in the registry has changed."""

RunBlocking = Callable[[Callable[[], object]], "Deferred[object]"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a console runs.

    Attributes:
        run_blocking: runs a call in a thread; its Deferred fires in the reactor's own.
        is_secure: it is served over TLS.
        figures: what the services of its container have counted.
        providers: who logs people in with pages of his own.
        url: where browsers reach it.
    """

    reactor: Reactor
    session: Session
    home: Home
    container: str
    users: KnownUsers
    run_blocking: RunBlocking
    is_secure: bool = False
    figures: Callable[[], list[Figures]] = list
    providers: ProviderUsers = field(default_factory=NoProviders)
    url: Callable[[], str] = str


class Console:
    """One console. Lives in the reactor's thread.

    Attributes:
        view: the registry, from memory.
        containers: changes containers; blocks. So do `profiles` and `lifecycle`.
        tokens: API tokens; blocks, as `users` does.
        links: brokers.
        samples: the figures of brokers, for pages that show them.
        health: what is wrong now.
        events: who is told of changes.
        audit: who did what.
        running_commands: whose commands run, a name for each.
        gate: who may do what.
        provider_logins: logins by way of other pages.
        figures: what the services of its container have counted.
    """

    def __init__(self, around: Surroundings) -> None:
        self.reactor = around.reactor
        self.session = around.session
        self.home = around.home
        self.container = around.container
        self.is_secure = around.is_secure
        self.figures = around.figures
        self._run_blocking = around.run_blocking
        self.events = EventHub(around.reactor)
        self.links = BrokerLinks(self)
        self.health = HealthWatch(self)
        self.view = FabricView(around.session, around.reactor, self._registry_changed)
        self.containers = ContainerStore(around.session)
        self.profiles = ProfileStore(around.session)
        self.lifecycle = Lifecycle(around.session, around.home)
        self.samples = Sampler(self)
        self.tokens = TokenStore(around.session)
        self.users = Users(around.session)
        known = KnownTokens(time.time, self.tokens.read_later, around.reactor)
        self.gate = Gate(around.users, around.reactor, is_secure=around.is_secure, tokens=known)
        self.provider_logins = ProviderLogins(self, around.providers, around.url)
        self.gate.when_ended = self.events.end_unwelcome
        self.audit = ConsoleAudit(around.session, around.home.audit_log, around.run_blocking, around.reactor)
        self.gate.when_tried = self.audit.login
        self.running_commands: list[str] = []
        self._token_watch = self.tokens.watch(known.set_records)

    async def blocking(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what blocks in a thread."""
        found: list[T] = []
        await self._run_blocking(lambda: found.append(call(*args, **kwargs)))
        return found[0]

    def _registry_changed(self) -> None:
        self.events.publish(FABRIC_TOPIC)
        self.health.registry_changed()

    def close(self) -> None:
        """End all streams and connections."""
        self.health.close()
        self.events.close()
        self.audit.close()
        self._token_watch.cancel()
        self.view.cancel()
        self.samples.close()
        self.links.close()

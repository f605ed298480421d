"""Services: what a container runs for the configuration PIDs of its profiles.

A PID such as ``io.fabric8.mq.fabric.server-tolerantbroker`` belongs to the factory with its prefix,
``io.fabric8.mq.fabric.server-``. Factories are found through the entry point group ``fabric.services``, so an
installed package can add its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fabric.home import Home
    from fabric.reactor import Reactor
    from fabric.services.zookeeper import ManagedServer
    from registry.session import Session

ENTRY_POINT_GROUP = "fabric.services"


@dataclass(slots=True)
class ServiceContext:
    """What a container offers its services."""

    reactor: Reactor
    session: Session
    home: Home
    container: str
    bind_address: str
    advertised_host: str
    """Changes when the container gets another resolver or address: services ask whenever they tell it."""
    port_min: int = 0
    port_max: int = 65535
    managed_zookeeper: ManagedServer | None = None
    services: dict[str, ContainerService] = field(default_factory=dict)
    """Those that run, by PID; kept by who runs them, and to be looked at in the reactor's thread."""


class ContainerService(Protocol):
    """A service in a container. All methods are called in the reactor's thread.

    `twisted.application.service.IService` objects fit as they are.
    """

    def startService(self) -> Any:  # noqa: ANN401, N802 - Twisted's name; nothing or a Deferred
        """Start. Raising, or a Deferred that fails, means that it did not start; it is tried again later."""

    def stopService(self) -> Any:  # noqa: ANN401, N802 - Twisted's name; nothing or a Deferred
        """Stop. A Deferred fires when it has stopped."""

    def status(self) -> Mapping[str, object]:
        """Return what it does now, for `container-info`.

        A service may also have a method ``reconfigure(properties) -> bool``, which is called when the
        properties of its PID change while it runs. It takes them over and returns True, or returns False and
        is stopped and made anew.

        It may have a method ``readvertise()``, which is called when the context's ``advertised_host`` has
        changed: it tells the registry anew where it serves.

        It may have a method ``figures() -> fabric.metrics.model.Figures``, too, which is called when metrics
        are asked for. It only looks at what was counted anyway, in a millisecond or so.

        It may have a method ``store() -> (group, broker, directory)`` as well, if it keeps one.

        ``role`` says it in a word (``master``, ``slave``, …); ``error`` what is wrong with it, if anything
        is; ``notice`` what is incomplete although it works; ``settled`` is False while it is still on its
        way to what it will do (default: True).
        """


class ServiceFactory(Protocol):
    """Makes the services of one kind of PID."""

    pid_prefix: str

    def create(self, pid: str, properties: Mapping[str, str], context: ServiceContext) -> ContainerService:
        """Make the service. Any exception is taken for a configuration that cannot be used."""


def load_factories(
    report: Callable[[str, Exception], None],
) -> dict[str, ServiceFactory]:
    """Return the installed factories by PID prefix.

    Args:
        report: Called with the name of a factory that cannot be loaded; the others still count.
    """
    factories: dict[str, ServiceFactory] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            factory: ServiceFactory = entry_point.load()
            factories[factory.pid_prefix] = factory
        except Exception as error:  # noqa: BLE001 - foreign code: whatever it raises must not end the container
            report(entry_point.name, error)
    return factories

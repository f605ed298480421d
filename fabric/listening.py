"""Listening on the first free port of those that a service may take."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from twisted.internet.error import CannotListenError

from fabric.errors import FabricError, PidUnusable
from fabric.services.broker import within_ports
from registry.errors import RegistryError

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from broker.reactor import ListeningPort
    from fabric.services import ServiceContext

BACKLOG: Final = 50
"""Enough for people and scripts."""


log = logging.getLogger(__name__)


def log_not_published(failure: Failure, what: str) -> None:
    """Note that the registry was not told where something is; it is told when ZooKeeper is back."""
    failure.trap(RegistryError)
    log.warning("The registry could not be told where %s: %s", what, failure.getErrorMessage())


def wanted_ports(pid: str, properties: Mapping[str, str], default: str, context: ServiceContext) -> range:
    """The ports that the property `port` of a PID names, as far as the container may take them.

    Raises:
        PidUnusable: it is no port.
    """
    from broker.connectors import PortRange  # noqa: PLC0415 - a container without such services stays small
    from broker.errors import ConfigurationInvalid  # noqa: PLC0415 - likewise

    wanted = {"connectors": "own", "own-port": properties.get("port", default)}
    ported = within_ports(wanted, context.port_min, context.port_max)
    try:
        return PortRange.parse(ported["own-port"]).candidates
    except ConfigurationInvalid as error:
        raise PidUnusable(pid, error) from error


def listen(
    context: ServiceContext,
    ports: range,
    factory: object,
    bind_address: str,
    who: str,
    *,
    backlog: int = BACKLOG,
) -> ListeningPort:
    """Listen on the first port that is free.

    Args:
        context: Of the container.
        ports: To be tried in order.
        factory: Serves who comes.
        bind_address: Where.
        who: For the error, such as `The console`.
        backlog: Connections that the kernel holds while nobody has time for them.

    Raises:
        FabricError: none is.
    """
    problem: CannotListenError | None = None
    for port in ports:
        try:
            return context.reactor.listenTCP(port, factory, backlog=backlog, interface=bind_address)
        except CannotListenError as error:
            problem = error
    raise FabricError(
        f"{who} cannot listen on {bind_address}, ports {ports[0]} to {ports[-1]}: "
        f"{problem.socketError if problem else 'none'}.",
        "Give it another port in its property port.",
    )

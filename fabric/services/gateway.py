"""Gateways in a container: the PIDs ``io.fabric8.gateway.detecting`` and ``io.fabric8.gateway.mq``.

Each of them alone is a gateway; with ``-NAME`` behind it, it is a further one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from fabric.errors import FabricError, PidUnusable
from fabric.listening import wanted_ports

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from fabric.gateway.config import GatewayConfig
    from fabric.gateway.gateway import Gateway
    from fabric.metrics.model import Figures
    from fabric.services import ServiceContext

DETECTING_PID: Final = "io.fabric8.gateway.detecting"
MQ_PID: Final = "io.fabric8.gateway.mq"


class GatewayFactory:
    """Factory of gateways. Their modules are imported when the first one is made."""

    def __init__(self, pid_prefix: str) -> None:
        self.pid_prefix = pid_prefix

    def create(self, pid: str, properties: Mapping[str, str], context: ServiceContext) -> GatewayService:
        """Make a gateway. Raises PidUnusable for a configuration that cannot be used."""
        from broker.errors import CertificatesUnusable  # noqa: PLC0415 - a container without one stays small
        from fabric.gateway.gateway import Gateway  # noqa: PLC0415 - likewise

        config = read_config(pid, properties, context)
        try:
            return GatewayService(pid, Gateway(context, config, context.reactor.seconds()), context)
        except CertificatesUnusable as error:
            raise PidUnusable(pid, error) from error


class GatewayService:
    """One gateway, for as long as the profile asks for it."""

    def __init__(self, pid: str, gateway: Gateway, context: ServiceContext) -> None:
        self._pid = pid
        self._gateway = gateway
        self._context = context

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Listen, and follow the masters."""
        self._gateway.start()

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Let nobody in, and drop who is there."""
        return self._gateway.stop()

    def reconfigure(self, properties: Mapping[str, str]) -> bool:
        """Take over other limits and times while clients are there."""
        try:
            return self._gateway.reconfigure(read_config(self._pid, properties, self._context))
        except FabricError:
            return False

    def readvertise(self) -> None:
        """Publish the container's new address; clients stay."""
        self._gateway.readvertise()

    def status(self) -> Mapping[str, object]:
        """What it is now."""
        gateway = self._gateway
        notices = [gateway.notice(self._context.reactor.seconds())]
        if gateway.certificates is not None:
            notices.append(gateway.certificates.notice(time.time()))
        return {
            "role": "gateway",
            "gateway": gateway.config.name,
            "group": gateway.config.group,
            "services": gateway.urls,
            "connections": len(gateway.links),
            "waiting": gateway.waiting,
            "masters": [target.url for target in gateway.targets],
            "notice": " ".join(filter(None, notices)),
        }

    def figures(self) -> Figures:
        """What it has counted."""
        from fabric.metrics.gateway import gateway_figures  # noqa: PLC0415 - only where metrics are asked for

        return gateway_figures(self._gateway, self._context.container, self._context.reactor.seconds())


def read_config(pid: str, properties: Mapping[str, str], context: ServiceContext) -> GatewayConfig:
    """What a gateway's properties say.

    Raises:
        PidUnusable: they say something that is not possible.
    """
    from broker.errors import ConfigurationInvalid  # noqa: PLC0415 - a container without one stays small
    from fabric.gateway.config import GatewayConfig  # noqa: PLC0415 - likewise

    home = context.home
    own = {"ssl.keyStore": str(home.container_certificate(context.container))}
    if home.authority_certificate.exists():
        own["ssl.trustStore"] = str(home.authority_certificate)
    given = {key: value for key, value in properties.items() if value}

    def candidates(text: str) -> range:
        return wanted_ports(pid, {"port": text}, text, context)

    try:
        return GatewayConfig.from_properties(pid, {**own, **given}, candidates)
    except ConfigurationInvalid as error:
        raise PidUnusable(pid, error) from error


detecting = GatewayFactory(DETECTING_PID)
more_detecting = GatewayFactory(f"{DETECTING_PID}-")
mq = GatewayFactory(MQ_PID)
more_mq = GatewayFactory(f"{MQ_PID}-")

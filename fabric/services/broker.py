"""A message broker in a container: the PIDs ``io.fabric8.mq.fabric.server-…``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fabric.errors import PidUnusable

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from broker.config import BrokerConfig
    from broker.security import RegistryAuthenticator
    from broker.service import BrokerService
    from fabric.metrics.model import Figures
    from fabric.services import ServiceContext

PORT_MAX = 65535

_PORT_RANGE = re.compile(r"\$\{port:\s*(\d+)\s*,\s*(\d+)\s*\}")


class BrokerFactory:
    """Factory of message brokers. The broker's modules are imported when the first one is made."""

    pid_prefix = "io.fabric8.mq.fabric.server-"

    def create(self, pid: str, properties: Mapping[str, str], context: ServiceContext) -> HostedBroker:
        """Make a broker. Raises PidUnusable for a configuration that cannot be used."""
        from broker.config import BrokerConfig  # noqa: PLC0415 - a container without a broker stays small
        from broker.errors import ConfigurationInvalid  # noqa: PLC0415 - likewise
        from broker.service import BrokerService  # noqa: PLC0415 - likewise
        from broker.store_identity import StoreIdentity  # noqa: PLC0415 - likewise
        from fabric.authenticator import FabricAuthenticator  # noqa: PLC0415 - likewise

        def read(values: Mapping[str, str]) -> BrokerConfig:
            temporary = str(context.home.container(context.container).path / "tmp")
            ported = within_ports(values, context.port_min, context.port_max)
            own = {"tmpDataDirectory": temporary, **own_certificates(values, context)}
            try:
                return BrokerConfig.from_properties({**own, **ported}, container=context.container)
            except ConfigurationInvalid as error:
                raise PidUnusable(pid, error) from error

        users = FabricAuthenticator(context)
        config = read(properties)
        place = context.home.read_root_name() or context.container
        broker = BrokerService(
            context.reactor,
            config,
            context.session,
            container=context.container,
            advertised_host=context.advertised_host,
            bind_address=context.bind_address,
            users=users,
            store=StoreIdentity(context.session, config.group, config.name, config.data, place),
        )
        return HostedBroker(broker, users, read, context)


class HostedBroker:
    """A broker and what it knows of the users, for as long as the profile asks for them."""

    def __init__(
        self,
        broker: BrokerService,
        users: RegistryAuthenticator,
        read: Callable[[Mapping[str, str]], BrokerConfig],
        context: ServiceContext,
    ) -> None:
        self._context = context
        self._broker = broker
        self._users = users
        self._read = read

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Start the election; the broker serves once it is the master."""
        self._users.start()
        self._broker.startService()

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Leave the election at once and stop serving."""
        stopping: Deferred[None] = self._broker.stopService()
        self._users.close()
        return stopping

    def reconfigure(self, properties: Mapping[str, str]) -> bool:
        """Take over other properties if that can be done while the broker runs."""
        try:
            return self._broker.reconfigure(self._read(properties))
        except PidUnusable:
            return False

    def readvertise(self) -> None:
        """Publish the container's new address; connections stay."""
        self._broker.advertise(self._context.advertised_host)

    def status(self) -> Mapping[str, object]:
        """Return the broker's status; it is settled as slave or master."""
        return self._broker.status()

    def store(self) -> tuple[str, str, Path]:
        """Return the broker's group and name, and where its store is."""
        config = self._broker.config
        return config.group, config.name, config.data

    def figures(self) -> Figures:
        """Return what the broker has counted."""
        from fabric.metrics.broker import broker_figures  # noqa: PLC0415 - only where metrics are asked for

        return broker_figures(self._broker.figures(), self._context.container)


def own_certificates(properties: Mapping[str, str], context: ServiceContext) -> dict[str, str]:
    """The properties of the certificates that `certificate-create` has made, where others are not named.

    A connector with TLS is given their paths also if they are missing: then its error names what is missing.
    """
    from broker.connectors import kind_of  # noqa: PLC0415 - a container without a broker stays small

    home = context.home
    certificate = home.container_certificate(context.container)
    names = (properties.get("connectors") or "openwire").split()
    kinds = [kind_of(properties.get(f"{name}-protocol") or name) for name in names]
    needed = any(kind is not None and kind[2] for kind in kinds)
    own = {}
    if not properties.get("ssl.keyStore") and (needed or certificate.exists()):
        own["ssl.keyStore"] = str(certificate)
    if not properties.get("ssl.trustStore") and home.authority_certificate.exists():
        own["ssl.trustStore"] = str(home.authority_certificate)
        own["ssl.certificateLogin"] = "true"  # this authority signs for no users but the fabric's
    return own


def within_ports(properties: Mapping[str, str], port_min: int, port_max: int) -> dict[str, str]:
    """Keep the ports that are not fixed within the container's range.

    ``0`` and ``${port:a,b}`` are narrowed to the range; where nothing would be left, it is the range itself.
    A port given as a number is left alone. Ports are the properties ``bindPort`` and ``<connector>-port``.
    """
    kept = dict(properties)
    if port_min <= 0 and port_max >= PORT_MAX:
        return kept
    connectors = (properties.get("connectors") or "openwire").split()
    for key in ("bindPort", *(f"{connector}-port" for connector in connectors)):
        if key in kept:
            kept[key] = _narrow(kept[key].strip(), port_min, port_max)
    for connector in connectors:
        key = f"{connector}-port"
        if key not in kept and not (connector == "openwire" and "bindPort" in kept):
            kept[key] = f"${{port:{port_min},{port_max}}}"
    return kept


def _narrow(port: str, port_min: int, port_max: int) -> str:
    match = _PORT_RANGE.fullmatch(port)
    if match is None:
        return f"${{port:{port_min},{port_max}}}" if port in ("", "0") else port
    low, high = max(int(match[1]), port_min), min(int(match[2]), port_max)
    return f"${{port:{low},{high}}}" if low <= high else f"${{port:{port_min},{port_max}}}"


factory = BrokerFactory()

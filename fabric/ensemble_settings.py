"""What a container's ZooKeeper server is run with, as a member of an ensemble."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from fabric.addresses import PORTS, first_server
from fabric.errors import FabricError
from fabric.home import ContainerHome, ManagedZooKeeper
from fabric.local import port_is_free
from registry.address import EVERYWHERE, LOOPBACK
from registry.errors import RegistryError
from registry.quorum import ELECTION_PORT, QUORUM_PORT, EnsembleServer, QuorumSettings, parse_servers
from registry.server import ZooKeeperServer, find_zookeeper
from registry.server_tls import ServerTls

log = logging.getLogger(__name__)

SECRET_BYTES = 18
"""Of the ensemble's secret."""

CLIENT_PORT = 2181
"""Where the search for a free port begins. Source: ZooKeeper."""

PORT_TRIES = 200


def server_of(settings: ManagedZooKeeper) -> ZooKeeperServer:
    """Return the server that the settings describe, which may run already.

    Raises:
        ServerNotFound: ZooKeeper or Java is not installed.
    """
    own = list(parse_servers(settings.server).values())
    others = parse_servers("\n".join(settings.others)).values()
    quorum = QuorumSettings(own[0], tuple(others), settings.secret, settings.host) if own else None
    tls = (
        ServerTls(settings.plain_port, settings.certificate, settings.authority)
        if settings.plain_port
        else None
    )
    return ZooKeeperServer(
        find_zookeeper(),
        Path(settings.data_directory),
        settings.port,
        settings.host,
        tick_time_ms=settings.tick_time_ms,
        quorum=quorum,
        tls=tls,
    )


def member_settings(
    settings: ManagedZooKeeper,
    number: int,
    *,
    address: str,
    secret: str,
    port_range: tuple[int, int],
    others: tuple[str, ...] = (),
    taken: Iterable[int] = (),
) -> ManagedZooKeeper:
    """Return the settings of a server as a member of an ensemble.

    Args:
        settings: Of the server alone.
        number: Which member it is.
        address: Where the host is reached, if it listens everywhere; else only where it listens counts.
        secret: Of the ensemble.
        port_range: Lowest and highest port.
        others: Members it finds the ensemble by.
        taken: Ports that others use at times.

    Raises:
        FabricError: no ports are free.
    """
    host = settings.host
    used = {settings.port, settings.plain_port, *taken}
    ports = []
    for wanted in (QUORUM_PORT, ELECTION_PORT):
        port = free_port_in(host, wanted, port_range, used)
        used.add(port)
        ports.append(port)
    reached = address if host in EVERYWHERE else host
    # One that joins follows without a vote until it is given one.
    client = (LOOPBACK, settings.plain_port) if settings.plain_port else (host, settings.port)
    server = EnsembleServer(number, reached, ports[0], ports[1], *client, votes=not others)
    return replace(settings, server=server.line(), others=others, secret=secret)


def as_member(files: ContainerHome, settings: ManagedZooKeeper, zookeeper_url: str) -> ManagedZooKeeper:
    """Let a server that an earlier release started alone be one that may get companions.

    Its data stays. One that runs is left as it is until it is started anew.

    Args:
        files: Where the settings lie; they are brought up to date.
        settings: Of the server.
        zookeeper_url: Where clients find it.
    """
    try:
        if settings.server or server_of(settings).adopt():
            return settings
        host, _ = first_server(zookeeper_url)
        secret = secrets.token_urlsafe(SECRET_BYTES)
        member = member_settings(settings, 1, address=host, secret=secret, port_range=PORTS)
        files.write_managed_zookeeper(member)
    except (FabricError, RegistryError) as error:
        log.warning("The ZooKeeper server stays alone: %s", error)
        return settings
    return member


def free_port_in(host: str, wanted: int, port_range: tuple[int, int], taken: Collection[int]) -> int:
    """Return a free port in the range.

    From `wanted` upwards if that is in the range; else from its upper end downwards. A server listens for
    other servers only while it leads, and brokers choose their ports from the lower end.

    Raises:
        FabricError: none is free.
    """
    low, high = max(port_range[0], 1), port_range[1]
    inside = low <= wanted <= high
    ports = range(wanted, high + 1) if inside else range(high, low - 1, -1)
    for port in ports[:PORT_TRIES]:
        if port not in taken and port_is_free(host, port):
            return port
    raise FabricError("No port is free for ZooKeeper.", "Widen the container's range of ports.")

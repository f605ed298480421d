"""Ports: free for what is to listen there, or taken by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from fabric.doctor.model import Check, Verdicts, ok, problem, warning
from fabric.home import ManagedZooKeeper
from registry.address import LOOPBACK, reached_here
from registry.channel import PLAIN
from registry.quorum import parse_servers

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene
    from registry.quorum import EnsembleServer

FIRST_PORTS: Final = ((2181, "ZooKeeper"), (8181, "the console"))
"""What `fabric create` begins to look for a free port at."""
LEADER: Final = "leader"
RANGE_LOOKED_AT_MAX: Final = 200
FREE_MIN: Final = 8
"""Ports that one container with a broker of every protocol needs."""


def zookeeper_ports(scene: Scene) -> Verdicts:
    """The ports of the ZooKeeper servers that containers of this host run."""
    for name in scene.home.container_names():
        settings = scene.home.container(name).read_managed_zookeeper()
        if settings is None:
            continue
        free = scene.machine.port_is_free(settings.host, settings.port)
        mode = "" if free else _mode(scene, _asked_at(settings))
        what = f"Port {settings.port}, ZooKeeper of container {name},"
        if free and scene.is_running(name):
            yield problem(
                f"{what} is free although the container runs.",
                f"See: fabric container-logs {name} --zookeeper",
            )
        elif free:
            yield ok(f"{what} is free.")
        elif mode:
            yield ok(f"{what} is taken by a ZooKeeper.")
        else:
            yield problem(
                f"{what} is taken by something that is no ZooKeeper.",
                _who(settings.port),
            )
        for server in parse_servers(settings.server).values() if free or mode else ():
            yield from _between_servers(scene, name, settings.host, server, mode)


def _mode(scene: Scene, address: str) -> str:
    """What the server at an address is; empty if it is none or does not say."""
    said = [server for server in scene.machine.servers(address, PLAIN) if not server.problem]
    return said[0].mode if said else ""


def _between_servers(scene: Scene, name: str, host: str, server: EnsembleServer, mode: str) -> Verdicts:
    """The ports by which the ensemble's servers reach this one: it listens on one while it leads only."""
    needed = {server.quorum_port: mode == LEADER, server.election_port: bool(mode)}
    for port, its_own in needed.items():
        what = f"Port {port}, for the ensemble's other servers to reach that of container {name},"
        if its_own or scene.machine.port_is_free(host, port):
            yield ok(f"{what} is {'its own' if its_own else 'free'}.")
        else:
            consequence = "it can follow, and not lead" if mode else "it cannot start"
            yield problem(f"{what} is taken by something else: {consequence}.", _who(port))


def _who(port: int) -> str:
    return f"`ss -ltnp 'sport = :{port}'` says by what."


def _asked_at(settings: ManagedZooKeeper) -> str:
    """Where it answers this host without TLS."""
    if settings.plain_port:
        return f"{LOOPBACK}:{settings.plain_port}"
    return f"{reached_here(settings.host)}:{settings.port}"


def first_ports(scene: Scene) -> Verdicts:
    """Before there is a fabric: the ports that it would take."""
    if scene.home.has_fabric():
        return
    for port, purpose in FIRST_PORTS:
        if scene.machine.port_is_free(LOOPBACK, port):
            yield ok(f"Port {port}, for {purpose}, is free.")
        else:
            yield warning(
                f"Port {port}, for {purpose}, is taken: `fabric create` takes the next free one.",
                "Look for another fabric or ZooKeeper on this host, if that is not what you want.",
            )


def services(scene: Scene) -> Verdicts:
    """The ports that containers of this host have published."""
    for record in scene.own_containers:
        for field in ("http", "metrics"):
            url = record.fields.get(field, "")
            port = _port(url)
            if port is None or not record.connected:
                continue
            if scene.machine.port_is_free(record.fields.get("bindaddress") or LOOPBACK, port):
                yield problem(
                    f"Nobody listens on port {port}, where container {record.id} says its {field} is.",
                    f"See: fabric container-logs {record.id}",
                )
            else:
                yield ok(f"Port {port}, {field} of container {record.id}, is listened on.")


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


def ranges(scene: Scene) -> Verdicts:
    """Whether ports are left in the ranges that containers are limited to."""
    for record in scene.own_containers:
        low, high = int(record.fields.get("minimumport") or 0), int(record.fields.get("maximumport") or 65535)
        if low <= 0:
            continue
        host = record.fields.get("bindaddress") or LOOPBACK
        looked_at = range(low, min(high + 1, low + RANGE_LOOKED_AT_MAX))
        free = sum(scene.machine.port_is_free(host, port) for port in looked_at)
        what = f"{free} of the ports {low} to {high} of container {record.id} are free."
        if free == 0:
            yield problem(what, "Widen its range: `minimumport` and `maximumport` of its record.")
        elif free < FREE_MIN:
            yield warning(what, "A further broker may find none: widen the range.")
        else:
            yield ok(what)


CHECKS: Final = (
    Check("port.zookeeper", "ports of this host's ZooKeeper servers", zookeeper_ports),
    Check("port.first", "before create: the ports it takes", first_ports),
    Check("port.services", "ports that containers have published", services, needs_registry=True),
    Check("port.range", "free ports in the containers' ranges", ranges, needs_registry=True),
)

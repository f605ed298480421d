"""ZooKeeper: whether it answers, and how each of its servers is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdicts, not_checked, ok, problem, warning
from fabric.ensemble_health import VOTING
from fabric.health import OUTSTANDING_MAX, ROUND_TRIP_MS_MAX
from registry import paths

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene
    from fabric.ensemble_health import ServerHealth


def reachable(scene: Scene) -> Verdicts:
    """Whether the registry can be used, and how long a question takes."""
    if not scene.has_registry:
        if scene.home.has_fabric():
            yield problem(
                f"The registry cannot be used: {scene.no_registry}",
                "Start what runs ZooKeeper; on its host: fabric container-start root",
            )
        else:
            yield not_checked(scene.no_registry or "There is no fabric on this host yet.")
        return
    begun_s = time.perf_counter()
    scene.session.exists(paths.ROOT)
    took_ms = (time.perf_counter() - begun_s) * 1000
    what = f"A question to ZooKeeper at {scene.session.url} takes {took_ms:.1f} ms."
    if took_ms > ROUND_TRIP_MS_MAX:
        yield warning(what, "Look at ZooKeeper's disk and at the network to it.")
    else:
        yield ok(what)


def servers(scene: Scene) -> Verdicts:
    """Each server of the ensemble, as it says itself."""
    found = scene.machine.servers(scene.session.url, scene.session.channel)
    for server in found:
        if server.problem:
            yield problem(
                f"ZooKeeper server {server.address}: {server.problem}",
                "Is it running, and is `srvr` among its 4lw.commands.whitelist?",
            )
        elif server.outstanding > OUTSTANDING_MAX:
            yield warning(
                f"ZooKeeper server {server.address} has {server.outstanding} requests waiting.",
                "It is overloaded: look at its disk and processor.",
            )
        else:
            yield ok(f"ZooKeeper server {server.address} is {server.mode}, of version {server.version}.")
    yield from _together(found)


def channel(scene: Scene) -> Verdicts:
    """Whether connections with ZooKeeper are encrypted, and whether we log in there."""
    settings = scene.session.channel
    login = f", with a login as {settings.sasl_user} (SASL)" if settings.sasl_user else ""
    if not settings.tls:
        yield ok(f"ZooKeeper is talked to without TLS{login}.")
        return
    trusted = settings.ca or "the authorities of this system"
    yield ok(f"ZooKeeper is talked to by TLS{login}; its servers are trusted by {trusted}.")
    if settings.any_host_name:
        yield warning(
            "A trusted server is taken for ZooKeeper's whatever name its certificate has.",
            "Give the servers certificates for their names, and take any_host_name out of fabric.json.",
        )


def _together(found: Sequence[ServerHealth]) -> Verdicts:
    voting = [server for server in found if server.mode in VOTING]
    leaders = [server.address for server in voting if server.mode == "leader"]
    versions = {server.version for server in found if server.version}
    if len(voting) > 1 and not leaders and not any(server.problem for server in found):
        yield problem(
            "The ensemble has no leader.", "Look at the servers' logs and at the network between them."
        )
    if len(leaders) > 1:
        yield problem(
            f"There are {len(leaders)} leaders: the addresses lead to different ensembles.",
            "Correct the connection string.",
        )
    if voting and len(found) % 2 == 0:
        yield warning(
            f"The ensemble has {len(found)} servers: it survives no more failures than with one less.",
            "Use an odd number.",
        )
    if any(server.mode == "standalone" for server in found) and len(found) > 1:
        yield problem(
            "A server of the connection string is on its own: it has another content than the others.",
            "Correct its configuration, or the connection string.",
        )
    if len(versions) > 1:
        yield warning(
            f"The servers run different versions of ZooKeeper: {', '.join(sorted(versions))}.",
            "That is right during an upgrade only.",
        )


CHECKS: Final = (
    Check("zookeeper.reachable", "whether the registry can be used", reachable),
    Check("zookeeper.channel", "how ZooKeeper is talked to", channel, needs_registry=True),
    Check("zookeeper.servers", "each server of the ensemble", servers, needs_registry=True),
)

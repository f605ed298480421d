"""A gateway's figures under the names of its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fabric.gateway.link import Phase
from fabric.gateway.targets import Health
from fabric.metrics.model import Figures, Kind, Metric, Total

if TYPE_CHECKING:
    from fabric.gateway.gateway import Gateway

_OF_GATEWAY: Final = ("gateway", "group")

CONNECTIONS = Metric("gateway_connections", Kind.GAUGE, "Clients that are led to a broker.", _OF_GATEWAY)
WAITING = Metric(
    "gateway_waiting_connections",
    Kind.GAUGE,
    "Clients that wait for a master, or to be let in by it.",
    _OF_GATEWAY,
)
ACCEPTED = Metric(
    "gateway_connections_accepted",
    Kind.COUNTER,
    "Connections that have come, the refused ones too.",
    _OF_GATEWAY,
)
REFUSED = Metric(
    "gateway_connections_refused",
    Kind.COUNTER,
    "Those that were not served, by `reason`.",
    (*_OF_GATEWAY, "reason"),
)
DROPPED = Metric(
    "gateway_connections_dropped",
    Kind.COUNTER,
    "Those that were ended, as their master was gone.",
    _OF_GATEWAY,
)
BYTES = Metric(
    "gateway_bytes", Kind.COUNTER, "Bytes that came `from` `clients` or `brokers`.", (*_OF_GATEWAY, "from")
)
WAIT_SECONDS = Metric(
    "gateway_wait_seconds", Kind.SUMMARY, "From a client's first bytes to its broker.", _OF_GATEWAY
)
NO_MASTER_SECONDS = Metric(
    "gateway_no_master_seconds", Kind.COUNTER, "Time in which there was no broker to lead to.", _OF_GATEWAY
)
TARGET_UP = Metric(
    "gateway_target_up",
    Kind.GAUGE,
    "1 if the `url` of a master can be reached, 0 if not.",
    (*_OF_GATEWAY, "broker", "url"),
)
METRICS: Final = [
    CONNECTIONS,
    WAITING,
    ACCEPTED,
    REFUSED,
    DROPPED,
    BYTES,
    WAIT_SECONDS,
    NO_MASTER_SECONDS,
    TARGET_UP,
]


def gateway_figures(gateway: Gateway, container: str, now_s: float) -> Figures:
    """Everything about one gateway."""
    figures = Figures(container)
    key = (gateway.config.name, gateway.config.group)
    tally = gateway.tally
    phases = [link.phase for link in gateway.links]
    figures.add(CONNECTIONS, phases.count(Phase.OPEN), *key)
    figures.add(WAITING, phases.count(Phase.WAITING) + phases.count(Phase.CONNECTING), *key)
    figures.add(ACCEPTED, tally.accepted, *key)
    for reason, count in sorted(tally.refused.items()):
        figures.add(REFUSED, count, *key, reason)
    figures.add(DROPPED, tally.dropped, *key)
    clients = sum(link.client.moved for link in gateway.links)
    brokers = sum(link.moved for link in gateway.links) - clients
    figures.add(BYTES, tally.from_clients + clients, *key, "clients")
    figures.add(BYTES, tally.from_brokers + brokers, *key, "brokers")
    figures.add(WAIT_SECONDS, Total(tally.opened, tally.waited_s), *key)
    figures.add(NO_MASTER_SECONDS, gateway.targets.lacked_s(now_s), *key)
    for target in gateway.targets:
        figures.add(TARGET_UP, float(target.health is Health.UP), *key, target.broker, target.url)
    return figures

"""What the registry knows of a whole fabric, as metrics: told by one container, the console's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fabric.clusters import group_members, read_members
from fabric.errors import FabricError
from fabric.metrics.model import Figures, Kind, Metric
from fabric.records import ERROR, STOPPED, SUCCESS, DesiredState
from fabric.requirements import profile_status
from fabric.store import ContainerStore, ProfileStore
from registry import paths

if TYPE_CHECKING:
    from fabric.clusters import ClusterRow
    from fabric.records import ContainerRecord
    from registry.session import Session

CHANGING: Final = "changing"
"""Any result on the way to one of the others."""
RESULTS: Final = (SUCCESS, ERROR, STOPPED, CHANGING)

CONNECTED = Metric(
    "container_connected", Kind.GAUGE, "1 if the container is connected to the registry.", ("container",)
)
WANTED = Metric("container_wanted", Kind.GAUGE, "1 if the container is asked to run.", ("container",))
PROVISION = Metric(
    "container_provision_result",
    Kind.GAUGE,
    "1 for its present result (`success`, `error`, `stopped`, `changing`), 0 for the others.",
    ("container", "result"),
)
REQUIRED = Metric("profile_instances_required", Kind.GAUGE, "Containers that a profile needs.", ("profile",))
RUNNING = Metric(
    "profile_instances_running", Kind.GAUGE, "Connected containers that have the profile.", ("profile",)
)
MASTERS = Metric("cluster_masters", Kind.GAUGE, "Brokers of a name that serve.", ("group", "broker"))
SLAVES = Metric("cluster_slaves", Kind.GAUGE, "Brokers of a name that wait.", ("group", "broker"))
METRICS: Final = [CONNECTED, WANTED, PROVISION, REQUIRED, RUNNING, MASTERS, SLAVES]


def read_fabric_figures(session: Session) -> Figures:
    """Read them. Blocks; call it in a thread.

    Raises:
        RegistryError: the registry cannot be read.
    """
    containers = ContainerStore(session).all()
    figures = Figures()
    for container in containers:
        _add_container(figures, container)
    try:
        requirements = ProfileStore(session).requirements()
    except FabricError:  # unreadable ones are shown elsewhere; the rest counts all the same
        pass
    else:
        for record in profile_status(requirements, containers):
            if record["minimum"] is not None:
                figures.add(REQUIRED, record["minimum"], record["profile"])
            figures.add(RUNNING, record["instances"], record["profile"])
    for row in group_members(read_members(session, paths.amq_groups())):
        _add_cluster(figures, row)
    return figures


def _add_container(figures: Figures, container: ContainerRecord) -> None:
    figures.add(CONNECTED, float(container.connected), container.id)
    figures.add(WANTED, float(container.desired is DesiredState.STARTED), container.id)
    result = container.provision.result
    if result:
        shown = result if result in RESULTS else CHANGING
        for each in RESULTS:
            figures.add(PROVISION, float(each == shown), container.id, each)


def _add_cluster(figures: Figures, row: ClusterRow) -> None:
    group = row.cluster.removeprefix(paths.amq_groups()).strip("/")
    figures.add(MASTERS, len(row.masters), group, row.id)
    figures.add(SLAVES, len(row.slaves), group, row.id)

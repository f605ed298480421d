"""Leaving a fabric: this host's containers end, the registry forgets them, the stores stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fabric.create import forget_fabric
from fabric.errors import FabricError, NoFabric
from fabric.home import Home
from fabric.lifecycle import Lifecycle
from fabric.local import stop_process


class LeavesElsewhere(FabricError):
    """A container leaves the fabric on its own host."""

    def __init__(self, name: str, own: str) -> None:
        super().__init__(
            f"Container {name} is not the root container of this host, which is {own}.",
            f"Type it on its host. What the registry knows of a host that is lost is removed with: "
            f"fabric container-delete --force {name}",
        )


class RunsZooKeeper(FabricError):
    """A host that runs ZooKeeper takes a part of the registry with it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Container {name} runs ZooKeeper for the fabric and cannot leave it.",
            f"Take it out of the ensemble first: fabric ensemble-remove {name}. "
            f"A fabric whose only server it is ends with: fabric container-stop --force {name}",
        )


class HasChildren(FabricError):
    """The containers of a host go with it."""

    def __init__(self, name: str, children: Sequence[str]) -> None:
        super().__init__(
            f"Container {name} has child containers on this host: {', '.join(children)}.",
            "Move them to another host with `fabric container-move`, or delete them with it: "
            "fabric leave --force",
        )


def own_root(home: Home, name: str | None) -> str:
    """Return this host's root container, which is the one that is meant.

    Raises:
        NoFabric: this host belongs to no fabric.
        LeavesElsewhere: another one is named.
    """
    own = home.read_root_name() if home.has_fabric() else None
    if own is None:
        raise NoFabric(home.path)
    if name not in (None, own):
        raise LeavesElsewhere(name or own, own)
    return own


def leave_fabric(
    home: Home, lifecycle: Lifecycle, name: str, *, force: bool, say: Callable[[str], None]
) -> None:
    """End this host's containers, forget them in the registry, and clean the host.

    Args:
        home: This host's.
        lifecycle: Of the fabric's containers.
        name: Its root container.
        force: Also with children, which are deleted.
        say: Called with each step.

    Raises:
        RunsZooKeeper, HasChildren: as they say; nothing was changed.
        ContainerError: a container does not stop; what was not reached is as it was.
    """
    containers = lifecycle.containers
    if containers.exists(name):
        if lifecycle.is_ensemble_member(name):
            raise RunsZooKeeper(name)
        children = containers.children(name)
        if children and not force:
            raise HasChildren(name, children)
        for child in children:
            say(f"Deleting container {child}")
            lifecycle.delete(child, force=True)
        say(f"Stopping container {name}")
        lifecycle.stop(name)
        containers.delete(name)
    clean_host(home, say)


def clean_host(home: Home, say: Callable[[str], None]) -> None:
    """End what still runs here and remove what the fabric has left, except the stores of its brokers."""
    root = home.read_root_name()
    for name in sorted(home.container_names(), key=lambda one: one != root):
        if stop_process(home.container(name)):
            say(f"Stopped container {name}")
    forget_fabric(home)

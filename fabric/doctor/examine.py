"""Runs the checks of `fabric doctor`. A check that fails itself is a result, and costs the others nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from fabric.doctor import (
    certificates,
    clocks,
    configuration,
    disk,
    ensemble,
    files,
    limits,
    mounts,
    ports,
    secrets,
    software,
    stores,
)
from fabric.doctor.model import Check, Result, State, not_checked
from fabric.errors import FabricError
from registry.errors import RegistryError

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene

ALL_CHECKS: Final[tuple[Check, ...]] = (
    *software.CHECKS,
    *limits.CHECKS,
    *files.CHECKS,
    *disk.CHECKS,
    *mounts.CHECKS,
    *ports.CHECKS,
    *ensemble.CHECKS,
    *clocks.CHECKS,
    *stores.CHECKS,
    *certificates.CHECKS,
    *secrets.CHECKS,
    *configuration.CHECKS,
)

NO_REGISTRY: Final = not_checked("The registry cannot be asked.")
"""Said of each check that needs it; why stands with `zookeeper.reachable`."""


class UnknownCheck(FabricError):
    """There is no such check."""

    def __init__(self, name: str) -> None:
        families = dict.fromkeys(check.family for check in ALL_CHECKS)
        super().__init__(f"There is no check {name}.", f"Families of checks are: {', '.join(families)}.")


def chosen(names: Sequence[str]) -> tuple[Check, ...]:
    """The checks of these names or families; all if there are none. Raises `UnknownCheck`."""
    for name in names:
        if not any(name in (check.name, check.family) for check in ALL_CHECKS):
            raise UnknownCheck(name)
    if not names:
        return ALL_CHECKS
    return tuple(check for check in ALL_CHECKS if check.name in names or check.family in names)


def examine(scene: Scene, checks: Sequence[Check] = ALL_CHECKS) -> Iterator[Result]:
    """What the checks say, one after the other."""
    for check in checks:
        if check.needs_registry and not scene.has_registry:
            yield Result(check.name, NO_REGISTRY)
            continue
        try:
            for verdict in check.examine(scene):
                yield Result(check.name, verdict)
        except (OSError, FabricError, RegistryError) as error:
            yield Result(check.name, not_checked(f"It could not be checked: {error}"))


def is_healthy(results: Sequence[Result]) -> bool:
    """Whether there is no problem among them; warnings are none."""
    return all(result.verdict.state is not State.PROBLEM for result in results)

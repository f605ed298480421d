"""Waiting until containers are what their profiles ask for."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from fabric.errors import ProvisioningFailed, ProvisioningTimedOut
from fabric.records import ERROR, SUCCESS, ContainerRecord, DesiredState
from fabric.store import ContainerStore
from registry import paths

if TYPE_CHECKING:
    from registry.session import Session

LOOK_AGAIN_S = 1.0
"""How long a change may go unnoticed: what a container is asked to be is not watched."""


def unfinished(records: Iterable[ContainerRecord]) -> list[ContainerRecord]:
    """Return the containers that should run and are not provisioned yet.

    Raises:
        ProvisioningFailed: one of them says that it cannot be.
    """
    waiting = []
    for record in records:
        if record.desired is DesiredState.STOPPED:
            continue
        if record.provision.result == ERROR:
            raise ProvisioningFailed(record.id, record.provision.exception or "no reason is given")
        if not record.connected or record.provision.result != SUCCESS:
            waiting.append(record)
    return waiting


def wait_provisioned(
    session: "Session",
    timeout_s: float,
    *,
    names: Sequence[str] | None = None,
    report: Callable[[ContainerRecord], None] = lambda record: None,
) -> None:
    """Wait until the containers that should run are connected and provisioned. Blocks.

    Args:
        session: The registry.
        timeout_s: How long to wait.
        names: The containers; None for all.
        report: Called for each container that is waited for, whenever its status is another.

    Raises:
        ProvisioningFailed, ProvisioningTimedOut: as they say.
        ContainerNotFound: one of `names` does not exist.
    """
    store = ContainerStore(session)
    changed = threading.Event()
    deadline = time.monotonic() + timeout_s
    said: dict[str, str] = {}
    watches = [
        session.watch_tree(paths.provision(), changed.set),
        session.watch_children(paths.alive(), lambda names: changed.set()),
    ]
    try:
        while True:
            changed.clear()
            records = store.all() if names is None else [store.get(name) for name in names]
            waiting = unfinished(records)
            if not waiting:
                return
            for record in waiting:
                if said.get(record.id) != record.provision.status:
                    said[record.id] = record.provision.status
                    report(record)
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise _timed_out(waiting, timeout_s)
            changed.wait(min(left_s, LOOK_AGAIN_S))
    finally:
        for watch in watches:
            watch.cancel()


def _timed_out(waiting: Sequence[ContainerRecord], timeout_s: float) -> ProvisioningTimedOut:
    described = ", ".join(
        f"{record.id} ({record.provision.status}{'' if record.connected else ', not connected'})"
        for record in waiting
    )
    return ProvisioningTimedOut(
        f"Not provisioned after {timeout_s:g} s: {described}.",
        f"See `fabric container-info {waiting[0].id}` and `fabric container-logs {waiting[0].id}`.",
    )

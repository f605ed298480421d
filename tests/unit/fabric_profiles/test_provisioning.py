"""Waiting for containers."""

import pytest
from support.memory_session import MemorySession

from fabric.errors import ContainerNotFound, ProvisioningFailed, ProvisioningTimedOut
from fabric.provisioning import wait_provisioned
from fabric.records import ContainerRecord, DesiredState, Provision
from fabric.store import ContainerStore
from registry import paths


def provisioned(session: MemorySession, name: str) -> None:
    """Let a container be what it should be."""
    session.put(paths.container_alive(name), b"{}")
    ContainerStore(session).set_provision(name, Provision("success"))


def test_it_ends_when_all_are_provisioned(session: MemorySession) -> None:
    """A container counts when it is connected and its result is success."""
    said: list[str] = []

    def report(container: ContainerRecord) -> None:
        said.append(container.provision.status)
        ContainerStore(session).set_provision_result("root", "analyzing")
        if len(said) == 2:
            provisioned(session, "root")

    wait_provisioned(session, 30, report=report)
    assert said == ["not provisioned", "analyzing"]


def test_stopped_containers_are_not_waited_for(session: MemorySession, containers: ContainerStore) -> None:
    """Nobody has asked them to run."""
    containers.create("child", parent="root", profiles=[], version="1.0")
    containers.set_desired("child", DesiredState.STOPPED)
    provisioned(session, "root")
    wait_provisioned(session, 0)


def test_only_the_named_are_waited_for(session: MemorySession, containers: ContainerStore) -> None:
    """Names that do not exist are errors."""
    containers.create("child", parent="root", profiles=[], version="1.0")
    provisioned(session, "child")
    wait_provisioned(session, 0, names=["child"])
    with pytest.raises(ContainerNotFound):
        wait_provisioned(session, 0, names=["nobody"])


def test_an_error_ends_it_at_once(session: MemorySession, containers: ContainerStore) -> None:
    """The error names the container and its reason."""
    containers.set_provision("root", Provision("error", "port 61616 is taken"))
    with pytest.raises(ProvisioningFailed) as raised:
        wait_provisioned(session, 30)
    assert raised.value.what == "Error provisioning container root : port 61616 is taken"
    assert "container-logs root" in raised.value.do_next


def test_it_does_not_wait_for_ever(session: MemorySession, containers: ContainerStore) -> None:
    """The error says how far each container is."""
    containers.set_provision("root", Provision("success"))
    with pytest.raises(ProvisioningTimedOut, match=r"after 0 s: root \(success, not connected\)"):
        wait_provisioned(session, 0)
    assert session._watches == []

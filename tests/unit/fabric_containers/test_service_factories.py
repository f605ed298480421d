"""Which factory makes which service."""

from types import SimpleNamespace

import pytest

import fabric.services
from fabric.errors import FabricError
from fabric.services import load_factories
from fabric.services.zookeeper import ZooKeeperFactory


def test_the_factories_of_this_package_are_installed() -> None:
    """Brokers and ensemble members are found through the entry points."""
    problems: list[str] = []
    factories = load_factories(lambda name, error: problems.append(name))
    assert {"io.fabric8.mq.fabric.server-", "io.fabric8.zookeeper.server-"} <= factories.keys()
    assert problems == []


def test_a_factory_that_cannot_be_loaded_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installed package is reported by name; the other factories still count."""

    def broken() -> object:
        raise RuntimeError("no such module")

    found = [
        SimpleNamespace(name="broken", load=broken),
        SimpleNamespace(name="good", load=lambda: SimpleNamespace(pid_prefix="good.")),
    ]
    monkeypatch.setattr(fabric.services, "entry_points", lambda group: found)
    problems: list[str] = []
    assert list(load_factories(lambda name, error: problems.append(f"{name}: {error}"))) == ["good."]
    assert problems == ["broken: no such module"]


def test_a_profile_alone_makes_no_ensemble_member() -> None:
    """A container without a ZooKeeper server of its own says why the PID cannot be served."""
    context = SimpleNamespace(container="c", managed_zookeeper=None)
    with pytest.raises(FabricError, match="has no ZooKeeper server of its own"):
        ZooKeeperFactory().create("io.fabric8.zookeeper.server-0000", {}, context)

"""Fixtures for all tests."""

import gc
import signal
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from support.apache import INTEROP_SOURCES, QUICK_START, JavaPrograms
from support.zookeeper import ZooKeeperForTests

# A shell starts what runs in the background with SIGINT ignored, and children inherit that: commands under
# test would not hear Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about the machine than about the product.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


SLOW_FOLDERS = ("simulation", "integration", "browser", "interop", "docs", "scenario")
"""Those whose files take long, the slowest first: one that computes, while others wait for processes."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the workers of a parallel run begin with what takes long; the many short files fill the gaps."""
    if hasattr(config, "workerinput"):
        items.sort(key=_rank)


def pytest_collection_finish() -> None:
    """Look for garbage among what the tests make, not each time among all that was read before them."""
    gc.collect()
    gc.freeze()


def _rank(item: pytest.Item) -> int:
    folder = item.nodeid.split("/")[1]
    return SLOW_FOLDERS.index(folder) if folder in SLOW_FOLDERS else len(SLOW_FOLDERS)


@pytest.fixture(scope="session")
def zookeeper_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], ZooKeeperForTests]]:
    """Start real ZooKeeper servers for tests that kill or restart them; all are ended at the end."""
    servers: list[ZooKeeperForTests] = []

    def start() -> ZooKeeperForTests:
        server = ZooKeeperForTests(tmp_path_factory.mktemp("zookeeper"))
        servers.append(server)
        server.start_ready()
        return server

    try:
        yield start
    finally:
        for server in servers:
            server.kill()


@pytest.fixture(scope="session")
def zookeeper(zookeeper_factory: Callable[[], ZooKeeperForTests]) -> ZooKeeperForTests:
    """A real ZooKeeper shared by all tests: `.url`, `.password`. Do not stop it; use your own names in it."""
    return zookeeper_factory()


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> JavaPrograms:
    """The Java programs, Apache's broker among them, compiled once for all tests."""
    return JavaPrograms(tmp_path_factory.mktemp("classes"), INTEROP_SOURCES, options=QUICK_START)

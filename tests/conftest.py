"""Fixtures for all tests."""

import gc
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

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


TESTS = Path(__file__).parent
SLOW_FOLDERS = ("simulation", "integration", "browser", "interop", "docs", "scenario")
"""Those whose files take long, the slowest first; the first one computes while the next ones wait for processes."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let each worker of a whole run read other files first: what one has compiled the others find."""
    if (place := _place_of(session.config)) and session.config.args == ["tests"]:
        files = [str(path.relative_to(TESTS.parent)) for path in sorted(TESTS.rglob("test_*.py"))]
        number, count = place
        begin = len(files) * number // count
        session.config.args = files[begin:] + files[:begin]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the workers of a parallel run begin with what takes long; the many short files fill the gaps."""
    if _place_of(config):
        items.sort(key=_rank)


def pytest_collection_finish() -> None:
    """Look for garbage among what the tests make, not each time among all that was read before them."""
    gc.collect()
    gc.freeze()


def _place_of(config: pytest.Config) -> tuple[int, int] | None:
    """The number of a worker, from 0, and how many there are; None: there are none."""
    found: dict[str, str] | None = getattr(config, "workerinput", None)
    return (int(found["workerid"].removeprefix("gw")), int(found["workercount"])) if found else None


def _rank(item: pytest.Item) -> tuple[int, tuple[str, ...]]:
    """The same order in all workers, whatever they have read first."""
    place = item.path.relative_to(TESTS).parts
    return SLOW_FOLDERS.index(place[0]) if place[0] in SLOW_FOLDERS else len(SLOW_FOLDERS), place


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

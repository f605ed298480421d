"""What a container's profiles amount to, while they change."""

from collections.abc import Callable
from typing import cast

from fabric.errors import FabricError
from fabric.overlay import Effective
from fabric.profile_watch import ProfileWatch
from registry import paths
from registry.session import Session


class Told:
    """A session whose watches hear what a test tells them."""

    def __init__(self) -> None:
        self._watches: dict[str, Callable[[bytes | None], None]] = {}

    def watch_data(self, path: str, deliver: Callable[[bytes | None], None]) -> "ToldWatch":
        """Remember who listens."""
        self._watches[path] = deliver
        return ToldWatch(self._watches, path)

    def tell(self, path: str, data: bytes | None) -> None:
        """A znode is so now."""
        self._watches[path](data)


class ToldWatch:
    """One of them."""

    def __init__(self, watches: dict[str, Callable[[bytes | None], None]], path: str) -> None:
        self._watches = watches
        self._path = path

    def cancel(self) -> None:
        """Listen no more."""
        self._watches.pop(self._path, None)


def test_services_run_on_while_a_container_moves_to_another_version() -> None:
    """ZooKeeper tells first that the old version lacks it: that is no container without profiles."""
    told = Told()
    found: list[tuple[str, ...]] = []

    def changed(effective: Effective | FabricError) -> None:
        assert isinstance(effective, Effective)
        found.append(effective.profiles)

    ProfileWatch(cast("Session", told), "node", changed).start()
    told.tell(paths.config_container("node"), b"1.0")
    told.tell(paths.version_container("1.0", "node"), b"one")
    told.tell(paths.profile("1.0", "one"), b"")
    assert found == [("one",)]
    told.tell(paths.version_container("1.0", "node"), None)
    assert found == [("one",)]
    told.tell(paths.config_container("node"), b"1.1")
    told.tell(paths.version_container("1.1", "node"), b"one two")
    told.tell(paths.profile("1.1", "one"), b"")
    told.tell(paths.profile("1.1", "two"), b"")
    assert found == [("one",), ("one", "two")]


def test_a_container_without_profiles_runs_nothing() -> None:
    """One that never had any amounts to nothing, and says so."""
    told = Told()
    found: list[Effective | FabricError] = []
    ProfileWatch(cast("Session", told), "node", found.append).start()
    told.tell(paths.config_container("node"), b"1.0")
    told.tell(paths.version_container("1.0", "node"), None)
    (effective,) = found
    assert isinstance(effective, Effective) and effective.profiles == ()

"""Versions: copied, compared, deleted, and containers that move between them."""

from collections.abc import Callable

import pytest
from click.testing import Result
from support.memory_session import MemorySession

from fabric.errors import FabricError, ProfileNotFound, VersionExists, VersionInUse, VersionNotFound
from fabric.names import next_version, version_key
from fabric.profiles import Profile, set_value
from fabric.store import ContainerStore, ProfileStore
from fabric.versions import Direction, NotNewer, NotOlder, VersionStore

Run = Callable[..., Result]


@pytest.fixture
def versions(session: MemorySession) -> VersionStore:
    """The versions of the fabric."""
    return VersionStore(session)


def test_versions_sort_as_people_count() -> None:
    """1.10 comes after 1.9, and words after numbers."""
    known = ["1.10", "2.0", "1.9", "1.9.qa"]
    assert sorted(known, key=version_key) == ["1.9", "1.9.qa", "1.10", "2.0"]


@pytest.mark.parametrize(
    ("known", "following"),
    [(["1.0"], "1.1"), (["1.9", "1.10"], "1.11"), (["1.0", "trial"], "trial.1"), ([], "1")],
)
def test_the_next_version(known: list[str], following: str) -> None:
    """The last number of the last version is counted up."""
    assert next_version(known) == following


def test_a_version_is_a_copy(versions: VersionStore, profiles: ProfileStore) -> None:
    """All profiles are copied; what is changed in the copy is not changed elsewhere."""
    assert versions.create(description="a trial") == ("1.1", "1.0")
    assert profiles.all("1.1") == profiles.all("1.0")
    profiles.update("mq-amq", "1.1", lambda now: set_value(now, "pid", "a", "1"))
    assert "pid" not in profiles.get("mq-amq", "1.0").configuration
    last = versions.all()[-1]
    assert (last.id, last.is_default, last.containers, last.description) == ("1.1", False, (), "a trial")
    assert last.profiles == len(profiles.profile_ids("1.0"))


def test_a_version_that_cannot_be_made(versions: VersionStore) -> None:
    """It exists, or there is nothing to copy."""
    with pytest.raises(VersionExists):
        versions.create("1.0")
    with pytest.raises(VersionNotFound):
        versions.create("2.0", parent="0.9")
    with pytest.raises(FabricError):
        versions.create("../x")
    with pytest.raises(FabricError, match="500 characters"):
        versions.create("2.0", description="x" * 501)
    assert [one.id for one in versions.all()] == ["1.0"]


def test_a_version_in_use_is_not_deleted(
    versions: VersionStore, session: MemorySession, containers: ContainerStore
) -> None:
    """Neither the default one, nor one that containers use; then it goes with its history."""
    versions.create()
    with pytest.raises(VersionInUse, match="default"):
        versions.delete("1.0")
    versions.move("root", "1.1")
    with pytest.raises(VersionInUse, match="root"):
        versions.delete("1.1")
    versions.move("root", "1.0")
    profiles = ProfileStore(session, "admin")
    profiles.create(Profile("shop"), "1.1")
    versions.delete("1.1")
    assert profiles.versions() == ["1.0"]
    assert profiles.history.all("1.1", "shop") == []
    assert containers.version("root") == "1.0"


def test_two_versions_are_compared(versions: VersionStore, profiles: ProfileStore) -> None:
    """What was added, removed and changed, with the lines that differ."""
    versions.create()
    assert versions.compare("1.0", "1.1") == []
    profiles.create(Profile("shop"), "1.1")
    profiles.delete("mq-default", "1.1")
    profiles.update("mq-amq", "1.1", lambda now: set_value(now, "pid", "a", "1"))
    found = {one.profile: one for one in versions.compare("1.0", "1.1")}
    assert {name: one.kind for name, one in found.items()} == {
        "mq-amq": "changed",
        "mq-default": "removed",
        "shop": "added",
    }
    assert "+  pid:" in found["mq-amq"].lines


def test_a_container_moves_with_its_profiles(
    versions: VersionStore, containers: ContainerStore, profiles: ProfileStore
) -> None:
    """It has the same profiles there, and is no user of the old version any more."""
    versions.create()
    before = containers.profiles("root")
    assert versions.move("root", "1.1", Direction.UP) == "1.0"
    assert (containers.version("root"), containers.profiles("root")) == ("1.1", before)
    assert containers.with_profile("mq-amq", "1.0") == []
    assert containers.with_profile("mq-amq", "1.1") == ["root"]
    assert versions.move("root", "1.1") == "1.1"


def test_a_container_stays_where_its_profiles_are(
    versions: VersionStore, containers: ContainerStore, profiles: ProfileStore
) -> None:
    """A version that lacks one of its profiles is refused, and nothing has changed."""
    versions.create()
    profiles.delete("mq-amq", "1.1")
    with pytest.raises(ProfileNotFound):
        versions.move("root", "1.1")
    assert containers.version("root") == "1.0"


def test_directions_are_meant(versions: VersionStore) -> None:
    """An upgrade goes up, a rollback goes down; the error names the other command."""
    versions.create()
    with pytest.raises(NotOlder, match="container-upgrade"):
        versions.move("root", "1.1", Direction.DOWN)
    versions.move("root", "1.1", Direction.UP)
    with pytest.raises(NotNewer, match="container-rollback"):
        versions.move("root", "1.0", Direction.UP)


def test_the_commands(run: Run) -> None:
    """Create, make the default, upgrade, roll back, delete: what each of them prints."""
    assert run("version-create", "--description", "trial").output == "Created version: 1.1 as copy of: 1.0\n"
    assert run("version-set-default", "1.1").output == "Changed default version from 1.0 to 1.1\n"
    assert run("version-set-default", "1.1").output == "Version 1.1 is already default version\n"
    upgraded = run("container-upgrade", "--all", "1.1").output
    assert upgraded == "Upgraded container root from version 1.0 to 1.1\n"
    assert "already" in run("container-upgrade", "1.1", "root").output
    assert run("version-list").output.splitlines() == [
        "[version]  [default]  [# containers]  [description]",
        "1.0",
        "1.1        true       1               trial",
    ]
    rolled = run("container-rollback", "1.0", "ro*").output
    assert rolled == "Rolled back container root from version 1.1 to 1.0\n"
    assert run("container-upgrade", "1.1", code=2).exit_code == 2
    run("version-set-default", "1.0")
    run("version-create", "--default", "3.0")
    run("version-delete", "1.1")
    assert "1.1" not in run("version-list").output
    assert "does not exist" in run("version-delete", "1.1", code=1).output

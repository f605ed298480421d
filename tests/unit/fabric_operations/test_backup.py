"""Backups: what is in them, what damage does, and what restoring changes and leaves alone."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.memory_session import MemorySession

from fabric.backup import (
    MANIFEST,
    REGISTRY,
    BackupInvalid,
    BackupWriter,
    StoreMember,
    read_backup,
    read_tree,
)
from fabric.bootstrap import ensemble_profiles, write_first_content
from fabric.profiles import Profile
from fabric.requirements import Requirements
from fabric.restoration import NotEmpty, Restoration, turn
from fabric.store import ContainerStore, ProfileStore
from registry import paths
from registry.users import UserRecord, UserStore


def new_fabric(port: int = 2181, password: str = "first") -> MemorySession:
    """What `create` leaves, with a root container that runs."""
    session = MemorySession()
    write_first_content(session, profiles=ensemble_profiles(port))
    session.put(paths.ensemble(), b"0000")
    session.put(paths.ensemble_url(), f"h:{port}".encode())
    containers = ContainerStore(session)
    containers.create(
        "root",
        profiles=["fabric", "fabric-ensemble-0000-1"],
        version="1.0",
        fields={"localip": f"10.0.0.{port % 250}"},
    )
    session.create(paths.container_alive("root"), b"{}", ephemeral=True)
    UserStore(session).put(UserRecord("admin", password, ("admin",)))
    return session


def used_fabric() -> MemorySession:
    """One with a broker's profile, a second user, a child, requirements and a history."""
    session = new_fabric()
    profiles = ProfileStore(session)
    profiles.create(Profile("orders", parents=("default",), configuration={"p": {"k": "v"}}), "1.0")
    profiles.update(
        "orders", "1.0", lambda one: Profile("orders", parents=("default",), configuration={"p": {"k": "w"}})
    )
    profiles.update_requirements(lambda now: Requirements())
    ContainerStore(session).create("child", profiles=["orders"], version="1.0", parent="root")
    session.put(paths.container_provision("child", "result"), b"success")
    session.put(paths.container_facts("child"), b"{}")
    session.create(paths.member(paths.amq_group("g"), "00000000001"), b"{}", ephemeral=True)
    UserStore(session).put(UserRecord("keeper", "hash", ("viewer",)))
    return session


def write(path: Path, session: MemorySession, *, overwrite: bool = False) -> Path:
    """Write a backup of a registry."""
    with BackupWriter(path, overwrite=overwrite, now=lambda: 5.0) as writer:
        tree = read_tree(session)
        writer.add_registry(tree)
        writer.finish("h:2181", tree, [])
    return path


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with other members."""
    with tarfile.open(path) as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]  # files only
    change(members)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


# ---- what is in it


def test_what_a_backup_holds(tmp_path: Path) -> None:
    """Configuration and users, and nothing that says how the fabric is just now."""
    session = used_fabric()
    found = read_backup(write(tmp_path / "b.tar", session))
    assert paths.profile("1.0", "orders") in found.znodes
    assert found.znodes[paths.version_container("1.0", "child")] == b"orders"
    assert paths.user("keeper") in found.znodes
    assert paths.requirements() in found.znodes
    assert not [path for path in found.znodes if path.startswith(paths.provision())]
    assert not [path for path in found.znodes if path.startswith(paths.clusters())]
    assert not [path for path in found.znodes if path.startswith(paths.alive())]
    assert not [path for path in found.znodes if path.startswith(paths.containers_status())]
    assert (found.created_s, found.stores, found.changed) == (5.0, (), ())


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """It holds hashes of passwords; and nothing else is left beside it."""
    path = write(tmp_path / "b.tar", new_fabric())
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.tar"]


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    """Unless that is said."""
    path = write(tmp_path / "b.tar", new_fabric())
    with pytest.raises(BackupInvalid, match="exists"):
        write(path, new_fabric())
    write(path, new_fabric(), overwrite=True)


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    """A backup that cannot be finished replaces none."""
    path = write(tmp_path / "b.tar", new_fabric())
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), BackupWriter(path, overwrite=True):
        raise ZeroDivisionError
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.tar"]


class ChangingSession(MemorySession):
    """Somebody writes while the tree is read."""

    writes_left = 0

    def children(self, path: str) -> list[str]:
        """As ever; but a profile is changed meanwhile."""
        if path == paths.profiles("1.0") and self.writes_left:
            self.writes_left -= 1
            self.put(paths.profile("1.0", f"late-{self.writes_left}"), b"{}\n")
        return super().children(path)


@pytest.mark.parametrize(("writes", "is_quiet"), [(3, True), (100, False)])
def test_a_tree_that_changes_is_read_again(writes: int, is_quiet: bool) -> None:
    """Until it is quiet; what never is is named."""
    session = ChangingSession()
    write_first_content(session)
    session.writes_left = writes
    tree = read_tree(session)
    assert (tree.changed == ()) is is_quiet
    if is_quiet:
        assert len([one for one in tree.znodes if "/late-" in one.path]) == writes


# ---- damage


def test_a_file_that_is_cut_off_at_any_place(tmp_path: Path) -> None:
    """Whatever is missing at its end, nothing of it counts."""
    whole = write(tmp_path / "b.tar", used_fabric()).read_bytes()
    manifest_at = whole.index(MANIFEST.encode())
    for size in (0, 100, 511, 512, 1000, manifest_at - 1, manifest_at + 50, manifest_at + 600):
        cut = tmp_path / "cut.tar"
        cut.write_bytes(whole[:size])
        with pytest.raises(BackupInvalid):
            read_backup(cut)


def test_a_byte_that_has_changed(tmp_path: Path) -> None:
    """The checksum of each member is looked at before anything is believed."""
    path = write(tmp_path / "b.tar", used_fabric())
    content = bytearray(path.read_bytes())
    content[content.index(b'"path"') + 40] ^= 1
    path.write_bytes(content)
    with pytest.raises(BackupInvalid, match=r"registry.jsonl is not what was written.*Nothing was restored"):
        read_backup(path)


def test_no_backup_at_all(tmp_path: Path) -> None:
    """A missing file, another kind of file, an archive of something else."""
    with pytest.raises(BackupInvalid, match="cannot be read"):
        read_backup(tmp_path / "none.tar")
    (tmp_path / "text").write_text("x" * 2000)
    with pytest.raises(BackupInvalid, match="no archive"):
        read_backup(tmp_path / "text")
    other = rewritten(write(tmp_path / "b.tar", new_fabric()), lambda members: members.pop(MANIFEST))
    with pytest.raises(BackupInvalid, match="not written to its end"):
        read_backup(other)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda manifest: manifest.update(format=99, software="9.9"), "format 99, written by Fabric 9.9"),
        (lambda manifest: manifest.update(format="x"), "format x"),
        (lambda manifest: manifest.pop("format"), "not what it should be"),
        (lambda manifest: manifest.update(members={}), "nothing of the registry"),
        (lambda manifest: manifest.update(stores=[{}]), "not what it should be"),
        (lambda manifest: manifest["members"].update(more={"bytes": 1, "sha256": ""}), "more is missing"),
    ],
)
def test_a_manifest_that_is_wrong(
    tmp_path: Path, change: Callable[[dict[str, object]], object], text: str
) -> None:
    """A later format names its version; everything else is damage."""

    def apply(members: dict[str, bytes]) -> None:
        manifest = json.loads(members[MANIFEST])
        change(manifest)
        members[MANIFEST] = json.dumps(manifest).encode()

    path = rewritten(write(tmp_path / "b.tar", new_fabric()), apply)
    with pytest.raises(BackupInvalid, match=text):
        read_backup(path)


@pytest.mark.parametrize("line", [b"{", b'{"path": "/fabric/a"}', b'{"path": "/zookeeper/x", "data": ""}'])
def test_a_line_that_is_wrong(tmp_path: Path, line: bytes) -> None:
    """Even with the right checksum a path outside of the fabric is refused."""
    path = tmp_path / "b.tar"
    with BackupWriter(path) as writer:
        writer.add(REGISTRY, lambda file: [file.write(line + b"\n"), None][1])
        writer.finish("h:1", read_tree(new_fabric()), [])
    with pytest.raises(BackupInvalid, match=f"line 1 of {REGISTRY}"):
        read_backup(path)


# ---- restoring


def restore(session: MemorySession, path: Path, *, force: bool = False) -> Restoration:
    """Restore all of it."""
    restoration = Restoration(session, read_backup(path))  # type: ignore[arg-type]  # a fake
    restoration.run(restoration.plan(), force=force)
    return restoration


def test_into_a_new_fabric(tmp_path: Path) -> None:
    """Everything is as it was, but what belongs to the new fabric itself."""
    old, new = used_fabric(), new_fabric(2200, "second")
    restore(new, write(tmp_path / "b.tar", old))
    profiles, containers = ProfileStore(new), ContainerStore(new)
    assert profiles.get("orders", "1.0") == ProfileStore(old).get("orders", "1.0")
    assert containers.profiles("child") == ("orders",)
    assert containers.field("child", "parent") == "root"
    assert UserStore(new).get("admin") == UserStore(old).get("admin")
    assert UserStore(new).get("keeper") is not None
    assert new.get(paths.ensemble_url()).data == b"h:2200"
    assert containers.field("root", "localip") == f"10.0.0.{2200 % 250}"
    assert b"2200" in new.get(paths.profile("1.0", "fabric-ensemble-0000-1")).data
    assert containers.profiles("root") == ("fabric", "fabric-ensemble-0000-1")
    assert [one.action for one in profiles.history.all("1.0", "orders")] == [
        one.action for one in ProfileStore(old).history.all("1.0", "orders")
    ]
    ProfileStore(new).update("orders", "1.0", lambda one: Profile("orders"))  # its history goes on


def test_the_master_key_of_a_fabric_is_its_own(tmp_path: Path) -> None:
    """What encrypts now is not replaced by a key that may not be here, and who restores is told."""
    old, new = used_fabric(), new_fabric(2200)
    old.put(paths.crypt_key(), b"old")
    new.put(paths.crypt_key(), b"new")
    assert not restore(new_fabric(), write(tmp_path / "a.tar", old)).holds_encrypted
    ProfileStore(old).create(Profile("sealed", configuration={"p": {"password": "${crypt:v1.x}"}}), "1.0")
    assert restore(new, write(tmp_path / "b.tar", old)).holds_encrypted
    assert new.get(paths.crypt_key()).data == b"new"


def test_twice_changes_nothing_the_second_time(tmp_path: Path) -> None:
    """An interrupted restoration is simply repeated."""
    path, new = write(tmp_path / "b.tar", used_fabric()), new_fabric(2200)
    restoration = restore(new, path)
    again = restoration.plan()
    assert (again.created, again.changed) == ({}, {})


def test_a_fabric_without_an_ensemble_of_its_own(tmp_path: Path) -> None:
    """A root container is not given profiles of an ensemble that it has not."""
    new = MemorySession()
    write_first_content(new)
    ContainerStore(new).create("root", profiles=["fabric"], version="1.0")
    restore(new, write(tmp_path / "b.tar", used_fabric()))
    assert ContainerStore(new).profiles("root") == ("fabric",)


def test_a_fabric_in_use_is_not_restored_into_by_accident(tmp_path: Path) -> None:
    """What it has of its own is named; with force that stays, and what both know becomes as in the backup."""
    path, other = write(tmp_path / "b.tar", used_fabric()), used_fabric()
    profiles = ProfileStore(other)
    profiles.create(Profile("mine"), "1.0")
    profiles.update("orders", "1.0", lambda one: Profile("orders", configuration={"p": {"k": "changed"}}))
    with pytest.raises(NotEmpty, match=r"container child.*profile mine.*profile orders.*admin, keeper"):
        restore(other, path)
    assert profiles.get("orders", "1.0").configuration["p"]["k"] == "changed"
    restore(other, path, force=True)
    assert profiles.get("orders", "1.0").configuration["p"]["k"] == "w"
    assert profiles.exists("mine", "1.0")


def test_a_container_that_has_another_version_now(tmp_path: Path) -> None:
    """It goes back to that of the backup, and is listed in one version only."""
    path, other = write(tmp_path / "b.tar", used_fabric()), used_fabric()
    other.put(paths.version("1.1"), b"")
    other.put(paths.version_container("1.1", "child"), b"orders")
    other.put(paths.config_container("child"), b"1.1")
    other.delete(paths.version_container("1.0", "child"))
    restore(other, path, force=True)
    assert other.get(paths.config_container("child")).data == b"1.0"
    assert not other.exists(paths.version_container("1.1", "child"))


def test_the_order_of_writing() -> None:
    """Profiles before who has them, and what starts a container last of all."""
    wanted = [
        paths.profile("1.0", "a"),
        paths.user("u"),
        paths.default_version(),
        paths.version_container("1.0", "c"),
        paths.config_container("c"),
        paths.container_config("c"),
        paths.container_config_field("c", "parent"),
        paths.container_config_field("c", "desired"),
    ]
    order = sorted(wanted, key=turn)
    assert order.index(paths.profile("1.0", "a")) < order.index(paths.version_container("1.0", "c"))
    assert order[-1] == paths.container_config_field("c", "desired")


def test_names_of_members() -> None:
    """A store's place in the archive."""
    assert StoreMember("default", "orders", "/d").member == "stores/default/orders.jsonl"

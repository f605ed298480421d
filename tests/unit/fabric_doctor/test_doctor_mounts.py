"""Planted mounts: what each means for a store on it."""

from pathlib import Path

import pytest
from support.doctor import mount_line, only, scene, states

from fabric.doctor.model import State
from fabric.doctor.mounts import home_mount, mount_of, parse_mountinfo, store_mounts, store_verdicts

OK, WARNING, PROBLEM, NOT_CHECKED = State.OK, State.WARNING, State.PROBLEM, State.NOT_CHECKED
NFS = "rw,vers=4.2,rsize=1048576,namlen=255,hard,proto=tcp,timeo=600,local_lock=none,addr=10.0.0.1"


@pytest.mark.parametrize(
    ("kind", "options", "expected", "text"),
    [
        ("ext4", "rw,relatime", [OK], "suits a store"),
        ("xfs", "rw", [OK], "suits"),
        ("gfs2", "rw", [OK], "suits"),
        ("ext4", "ro", [PROBLEM], "mounted read-only"),
        ("ext4", "rw,nobarrier", [PROBLEM], "without barriers"),
        ("ext4", "rw,barrier=0", [PROBLEM], "without barriers"),
        ("tmpfs", "rw", [PROBLEM], "is gone when the host goes down"),
        ("overlay", "rw,lowerdir=/x", [WARNING], "Docker"),
        ("fuse.sshfs", "rw", [WARNING], "not known to keep"),
        ("nfs4", NFS, [OK], "suits"),
        ("nfs4", f"{NFS},nocto", [PROBLEM], "nocto"),
        ("nfs4", NFS.replace("hard", "soft"), [PROBLEM], "mounted soft"),
        ("nfs4", NFS.replace("hard", "softerr"), [PROBLEM], "mounted soft"),
        ("nfs", NFS.replace("4.2", "3"), [WARNING], "version 3"),
        ("nfs", NFS.replace("4.2", "2"), [PROBLEM], "NFS 2"),
        ("nfs", NFS.replace("tcp", "udp"), [PROBLEM], "UDP"),
        ("nfs4", f"{NFS},actimeo=600", [WARNING], "600 s"),
        ("nfs4", f"{NFS},acregmax=60", [OK], "suits"),
        ("nfs4", f"{NFS},noac", [WARNING], "noac"),
        ("nfs4", f"{NFS},nocto".replace("hard", "soft"), [PROBLEM, PROBLEM], "nocto"),
        ("cifs", "rw,cache=strict", [WARNING], "not tested"),
        ("cifs", "rw,cache=loose", [PROBLEM], "may not notice"),
    ],
)
def test_what_a_mount_means(kind: str, options: str, expected: list[State], text: str) -> None:
    """Each option that breaks what the fence relies on is named, with what to do."""
    (mount,) = parse_mountinfo(mount_line("/shared", kind, "rw", options))
    found = list(store_verdicts("/shared (the store)", mount))
    assert states(found) == expected
    assert text in found[0].what
    assert all(verdict.do_next for verdict in found if verdict.state is not OK)


def test_mountinfo_is_read_as_the_kernel_writes_it() -> None:
    """Blanks are escaped, optional fields may be missing or several, and nonsense is left out."""
    text = (
        "22 1 8:1 / / rw,noatime - ext4 /dev/sda1 rw\n"
        "30 22 0:40 / /my\\040disk rw shared:1 master:2 - nfs4 server:/a\\040b rw,vers=4.2\n"
        "nonsense\n"
        "31 22 0:41 / /short rw - nfs4\n"
    )
    root, disk = parse_mountinfo(text)
    assert (root.point, root.kind, root.options["noatime"]) == (Path("/"), "ext4", "")
    assert (disk.point, disk.source, disk.options["vers"]) == (Path("/my disk"), "server:/a b", "4.2")


def test_the_deepest_and_last_mount_counts() -> None:
    """Mounts hide each other: the last one at a place is what is seen there."""
    mounts = parse_mountinfo(
        mount_line("/", "ext4")
        + mount_line("/data", "xfs")
        + mount_line("/data", "tmpfs")
        + mount_line("/database", "nfs4")
    )
    found = mount_of(Path("/data/broker"), mounts)
    assert found is not None
    assert found.kind == "tmpfs"
    assert mount_of(Path("/data"), []) is None


def test_the_stores_of_a_host(tmp_path: Path) -> None:
    """The directory of the stores is looked up among the mounts."""
    text = mount_line("/", "ext4") + mount_line((tmp_path / "home" / "data").resolve(), "tmpfs")
    assert states(store_mounts(scene(tmp_path, mountinfo=lambda: text))) == [PROBLEM]
    assert states(store_mounts(scene(tmp_path))) == [OK]
    assert states(store_mounts(scene(tmp_path, mountinfo=lambda: ""))) == [NOT_CHECKED]


def test_the_home_on_nfs(tmp_path: Path) -> None:
    """Locks that only one host sees would let two hosts run one container."""
    place = (tmp_path / "home").resolve()

    def on(options: str) -> list[State]:
        text = mount_line("/", "ext4") + mount_line(place, "nfs4", "rw", options)
        return states(home_mount(scene(tmp_path, mountinfo=lambda: text)))

    assert on(NFS) == [WARNING]
    assert on(NFS.replace("local_lock=none", "local_lock=all")) == [PROBLEM]
    assert states(home_mount(scene(tmp_path))) == [OK]
    assert only(home_mount(scene(tmp_path, mountinfo=lambda: "")), NOT_CHECKED)

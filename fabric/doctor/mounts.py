"""File systems under the stores, and how they are mounted: the fence relies on what they promise.

A broker that has lost its mastership is found out when it opens its live token after a sync: the open must be
answered by the server. NFS promises that (close-to-open consistency) unless it is mounted otherwise.

Source: proc(5) for mountinfo, nfs(5) for the options, mount.cifs(8).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdict, Verdicts, not_checked, ok, problem, warning

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene

NFS: Final = frozenset({"nfs", "nfs4"})
LOCAL: Final = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs"})
SHARED: Final = frozenset({"gfs2", "ocfs2", "ceph", "lustre", "gpfs"})
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
ATTRIBUTES_S_MAX: Final = 60
"""The greatest age of cached attributes by default (`acdirmax`)."""

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo.

    Attributes:
        point: where it is mounted.
        kind: type of the file system.
        source: what is mounted.
        options: of the mount and of the file system; those without a value have an empty one.
    """

    point: Path
    kind: str
    source: str
    options: Mapping[str, str]


def parse_mountinfo(text: str) -> list[Mount]:
    """The mounts, in the order of the kernel; a line that cannot be understood is left out."""
    found = []
    for line in text.splitlines():
        before, separator, behind = line.partition(" - ")
        fields, rest = before.split(" "), behind.split(" ")
        if not separator or len(fields) < 6 or len(rest) < 3:
            continue
        options = dict(_option(each) for each in f"{fields[5]},{rest[2]}".split(","))
        found.append(Mount(Path(_unescaped(fields[4])), rest[0], _unescaped(rest[1]), options))
    return found


def _option(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)


def mount_of(path: Path, mounts: list[Mount]) -> Mount | None:
    """The mount that a path lies on: the last one among those with the longest point."""
    fitting = [mount for mount in mounts if path.is_relative_to(mount.point)]
    longest = max(enumerate(fitting), key=lambda each: (len(each[1].point.parts), each[0]), default=None)
    return longest[1] if longest is not None else None


def store_mounts(scene: Scene) -> Verdicts:
    """What the stores' directories are mounted from."""
    mounts = parse_mountinfo(scene.machine.mountinfo())
    for directory, purpose in scene.store_directories.items():
        mount = mount_of(directory.resolve(), mounts)
        if mount is None:
            yield not_checked(f"No mount was found for {directory} ({purpose}).")
        else:
            yield from store_verdicts(f"{directory} ({purpose})", mount)


def store_verdicts(place: str, mount: Mount) -> Iterator[Verdict]:
    """What a mount means for a store on it; one verdict at least."""
    wrong = list(_wrong(place, mount))
    yield from wrong
    if not wrong:
        yield ok(f"{place} is on {mount.kind}, mounted in a way that suits a store.")


def _wrong(place: str, mount: Mount) -> Iterator[Verdict]:
    if "ro" in mount.options:
        yield problem(
            f"{place} is mounted read-only.",
            f"Look at the kernel's log, then: mount -o remount,rw {mount.point}",
        )
    if mount.kind in NFS:
        yield from _nfs(place, mount)
    elif mount.kind in ("cifs", "smb3"):
        yield from _cifs(place, mount)
    elif mount.kind in IN_MEMORY:
        yield problem(
            f"{place} is on {mount.kind}: what is acknowledged is gone when the host goes down.",
            "Put the stores on a disk: give brokers another `data` directory.",
        )
    elif mount.kind == "overlay":
        yield warning(
            f"{place} is on overlay, as a container of Docker's has it: what is stored goes with that one.",
            "Mount a volume there.",
        )
    elif mount.kind not in LOCAL | SHARED:
        yield warning(
            f"{place} is on {mount.kind}, which is not known to keep what was synced, nor to be seen alike "
            "from several hosts.",
            "Use a local disk, NFS 4 or a cluster's file system.",
        )
    if mount.options.get("barrier") == "0" or "nobarrier" in mount.options:
        yield problem(
            f"{place} is mounted without barriers: a power failure takes what was synced.",
            "Mount it with barriers, unless the disk's cache survives a power failure.",
        )


def _nfs(place: str, mount: Mount) -> Iterator[Verdict]:
    options = mount.options
    remount = f"Mount {mount.source} anew with: vers=4.2,hard"
    version = options.get("vers", options.get("nfsvers", ""))
    if "nocto" in options:
        yield problem(
            f"{place} is NFS mounted with nocto: opening a file may be answered from this host's cache, so a "
            "master that was replaced may not notice and go on acknowledging.",
            f"{remount} and without nocto.",
        )
    if "soft" in options or "softerr" in options:
        yield problem(
            f"{place} is NFS mounted soft: when the server is slow, writes fail instead of waiting, the "
            "master gives up, and so does each slave after it.",
            f"{remount} instead of soft.",
        )
    if version.startswith("2"):
        yield problem(f"{place} is NFS 2, which cannot create a file exclusively.", f"{remount}.")
    elif version.startswith("3"):
        yield warning(
            f"{place} is NFS of version 3, where the fence holds, and the server keeps no account of who has "
            "what open.",
            f"{remount}.",
        )
    if options.get("proto", "").startswith("udp"):
        yield problem(f"{place} is NFS over UDP, which can mix up parts of packets.", f"{remount},proto=tcp.")
    ages = [options[name] for name in ("actimeo", "acregmax", "acdirmax") if name in options]
    if any(age.isdigit() and int(age) > ATTRIBUTES_S_MAX for age in ages):
        yield warning(
            f"{place} is NFS whose attributes are cached for up to {max(ages, key=len)} s: slaves see what "
            "the master writes as late, and take over more slowly.",
            f"{remount},actimeo=1.",
        )
    if "noac" in options:
        yield warning(
            f"{place} is NFS mounted with noac: it is safe, and every look at a file asks the server.",
            f"It is not needed: {remount[0].lower()}{remount[1:]},actimeo=1.",
        )


def _cifs(place: str, mount: Mount) -> Iterator[Verdict]:
    if mount.options.get("cache") == "loose":
        yield problem(
            f"{place} is SMB mounted with cache=loose: a master that was replaced may not notice.",
            "Mount it with cache=strict, or use NFS 4.",
        )
    else:
        yield warning(
            f"{place} is SMB, which is not tested with the fence.", "Use NFS 4 or a cluster's file system."
        )


def home_mount(scene: Scene) -> Verdicts:
    """The home of a host, whose locks say which process runs a container."""
    path = next(iter(scene.directories))
    mount = mount_of(path.resolve(), parse_mountinfo(scene.machine.mountinfo()))
    if mount is None:
        yield not_checked(f"No mount was found for {path}.")
    elif mount.kind in NFS and mount.options.get("local_lock", "none") in ("all", "flock"):
        yield problem(
            f"The home {path} is NFS with locks of this host only: two hosts with the same home would run "
            "the same containers.",
            "Give each host a home of its own on a local disk, and share the stores' directories only.",
        )
    elif mount.kind in NFS:
        yield warning(
            f"The home {path} is on NFS: logs and certificates need the network.",
            "Give each host a home of its own on a local disk, and share the stores' directories only.",
        )
    else:
        yield ok(f"The home {path} is on {mount.kind}.")


CHECKS: Final = (
    Check("mount.stores", "file systems of the stores, and their options", store_mounts),
    Check("mount.home", "file system of the home", home_mount),
)

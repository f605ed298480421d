"""A host that boots Debian's systemd: namespaces of this machine, and what is installed on it.

Its first process is systemd, its root this machine's with everything that is written kept aside, so that it
needs no image and boots in a second. Of this machine's units none is started, only those a test installs. It
may be switched off and on again; what was written stays. It needs root, as all hosts made of namespaces do.
"""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from faults.hosts import COMMAND_TIMEOUT_S, NETWORK, Switch, run
from support.fabric_commands import FabricCommands
from support.waiting import wait_until

SYSTEMD = Path("/lib/systemd/systemd")
USER, USER_ID = "keeper", 10_017
HOME = Path("/srv/fabric")
PACKAGE = Path(__file__).parents[2]
GROUP_TIMEOUT_S = 5.0
"""Processes that were killed may take a moment to leave their group."""
KEPT_UNITS = {
    "sysinit.target.wants": ("systemd-journald.service",),
    "sockets.target.wants": ("systemd-journald-dev-log.socket", "systemd-journald.socket"),
}
"""All that is started of what the distribution's systemd brings."""
EMPTIED = (
    "etc/systemd/system",
    "usr/lib/systemd/system-generators",
    "var/log/journal",
    *(
        f"usr/lib/systemd/system/{name}.target.wants"
        for name in ("getty", "local-fs", "multi-user", "sockets", "sysinit", "timers")
    ),
)

BOOT = """\
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir={disk}/upper,workdir={disk}/work {root}
mount --bind {shared} {root}{shared}
cd {root}
mount -t proc proc proc
# As a container's engine does: whoever is root here shares this machine's kernel.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
    touch dev/$node
    mount --bind /dev/$node dev/$node
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/before
pivot_root . run/before
umount -l run/before
clean="env -i container=namespaces PATH=/usr/sbin:/usr/bin:/sbin:/bin"
exec $clean {systemd} --log-target=journal --show-status=no
"""


class SystemdHost(FabricCommands):
    """One host, and the fabric's command line as its user types it there.

    Attributes:
        upper: the folder that holds what was written at it, whether it is on or off.
    """

    def __init__(self, name: str, number: int, switch: Switch, folder: Path, shared: Path) -> None:
        """Make it ready to boot.

        Args:
            name: Its own.
            number: The last part of its address.
            switch: Connects it to others.
            folder: For what it writes and for its logs.
            shared: A folder that it shares with others, at the same path.
        """
        self.name = name
        self.address = f"{NETWORK}.{number}"
        self.addresses = (self.address,)
        self._switch = switch
        self._shared = shared
        self._disk, self._root, self._groups = (folder / part for part in ("disk", "root", "groups"))
        self._log = folder / "boot.log"
        self._group = self._groups / f"fabric-test-{uuid.uuid4().hex[:12]}"
        self._outer: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self.upper = self._disk / "upper"

    def _make(self) -> None:
        for path in (self._disk, self._root, self._groups):
            path.mkdir(parents=True)
        run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(self._disk)])
        run(["mount", "-t", "cgroup2", "cgroup2", str(self._groups)])
        self._write_disk(self.upper)

    def _write_disk(self, upper: Path) -> None:
        """What the host has that this machine has not, and what it has not."""
        (self._disk / "work").mkdir()
        for name in EMPTIED:
            (upper / name).mkdir(parents=True)
            os.setxattr(upper / name, "trusted.overlay.opaque", b"y")
        units = upper / "usr/lib/systemd/system"
        for folder, names in KEPT_UNITS.items():
            for name in names:
                (units / folder / name).symlink_to(f"../{name}")
        (upper / "etc/systemd/system/default.target").symlink_to("/lib/systemd/system/multi-user.target")
        (upper / "etc/fstab").touch()
        (upper / "etc/hostname").write_text(f"{self.name}\n")
        (upper / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        account = f"{USER}:x:{USER_ID}:{USER_ID}::{HOME}:/bin/sh\n"
        (upper / "etc/passwd").write_text(Path("/etc/passwd").read_text() + account)
        (upper / "etc/group").write_text(Path("/etc/group").read_text() + f"{USER}:x:{USER_ID}:\n")
        home = upper / HOME.relative_to("/")
        home.mkdir(parents=True)
        os.chown(home, USER_ID, USER_ID)
        # Whoever is not root may look at the package, and at what is shared.
        for path in (PACKAGE, *map(Path, (sys.prefix, sys.base_prefix)), self._shared.parent):
            (upper / path.relative_to("/")).mkdir(parents=True, exist_ok=True)
        for folder, _, files in os.walk(upper):
            Path(folder).chmod(0o755)
            for path in (Path(folder, name) for name in files):
                if not path.is_symlink():
                    path.chmod(0o644)

    # ---- power

    def boot(self) -> None:
        """Switch it on; returns when systemd has started everything."""
        if not self._disk.exists():
            self._make()
        self._group.mkdir(exist_ok=True)
        script = BOOT.format(disk=self._disk, root=self._root, shared=self._shared, systemd=SYSTEMD)
        kinds = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork", "--kill-child")
        enter = f'echo $$ >{self._group}/cgroup.procs && exec unshare {" ".join(kinds)} sh -c "$1"'
        with self._log.open("ab") as log:
            self._outer = subprocess.Popen(
                ["sh", "-c", enter, "sh", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._pid = wait_until(self._find_first, message=self._log.read_text)
        self._switch.connect(self, self.address)
        wait_until(lambda: self.state() in ("running", "degraded"), message=lambda: self.root("systemctl"))

    def _find_first(self) -> int:
        assert self._outer is not None and self._outer.poll() is None, self._log.read_text()
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        is_there = children and Path(f"/proc/{children[0]}/comm").read_text().strip() == "systemd"
        return int(children[0]) if is_there else 0

    def switch_off(self) -> None:
        """Let it go down as when somebody types `poweroff`; returns when it is off."""
        assert self._outer is not None
        self.root("systemctl", "--no-block", "start", "poweroff.target")  # `poweroff` asks logind first
        self._outer.wait(COMMAND_TIMEOUT_S)
        self._pid = 0

    def end(self) -> None:
        """Take it away, whatever it does."""
        if self._outer is not None:
            self._outer.kill()
            self._outer.wait()
        for folder, _, _ in os.walk(self._group, topdown=False):
            with contextlib.suppress(
                AssertionError, OSError
            ):  # a group that is left holds nothing but its name
                wait_until(partial(_is_empty, Path(folder)), GROUP_TIMEOUT_S)
                Path(folder).rmdir()
        for mounted in (self._disk, self._groups):
            run(["umount", "--lazy", str(mounted)], fails=True)

    @property
    def pid(self) -> int:
        """Its first process, as this machine numbers it."""
        return self._pid

    # ---- typing at it

    def root(self, *words: str, fails: bool = False) -> str:
        """Run a command as root; return what it printed."""
        return run(self._enter(words, {}), fails=fails)

    def state(self) -> str:
        """What systemd says of itself."""
        return self.root("systemctl", "is-system-running", fails=True).strip()

    def _enter(self, words: Sequence[str], environment: Mapping[str, str], *, user: int = 0) -> list[str]:
        given = [f"{name}={value}" for name, value in environment.items()]
        path = f"PATH={Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        kinds = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")
        who = ("--setuid", str(user), "--setgid", str(user))
        return ["nsenter", "--target", str(self._pid), *kinds, *who, "env", "-i", path, *given, *words]

    def execute(
        self, *arguments: str, code: int = 0, program: str = "fabric"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the product as the host's user."""
        environment = {
            "HOME": str(HOME),
            "USER": USER,
            "FABRIC_HOME": str(HOME / "home"),
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            self._enter([program, *arguments], environment, user=USER_ID),
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        said = f"{program} {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == code, f"{said}\n{self.logs()}"
        return done

    def logs(self) -> str:
        """The last lines of its containers' logs, and systemd's journal."""
        if not self._pid:
            return self._log.read_text()
        script = f"tail -n 30 {HOME}/home/containers/*/container.log; journalctl -n 60 --no-pager"
        return self.root("sh", "-c", script, fails=True)

    def unit(self, name: str, field: str) -> str:
        """A property of a unit."""
        return self.root("systemctl", "show", "--value", "--property", field, name).strip()


def _is_empty(group: Path) -> bool:
    """Whether no process is in a control group."""
    return not (group / "cgroup.procs").read_text()

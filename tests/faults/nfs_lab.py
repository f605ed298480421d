"""The lab with its store on NFS: both brokers in virtual machines whose kernels mount it from a server.

NFS is a promise about caches and leases that only a real client keeps or breaks, and a client is part of a
kernel. This machine's may have none, and all hosts would share it. User-mode Linux is a kernel that starts in
a second as an ordinary process: it sees this machine's files, so it needs no image, and a frozen one is a
client that lets its lease expire. The server is NFS-Ganesha, at a host of its own.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from faults.hosts import NETWORK, NamespaceHost, Switch, run
from faults.lab import BROKERS, PASSWORD, PROFILE, TESTS, NamespaceLab
from faults.links import Links, wait_reachable
from faults.plan import Kind

NFS_PORT = 2049
LEASE_S = 6
"""Ganesha's default is 60 s; the shorter it is the sooner a test is past it."""
PAST_LEASE_S = 2.5 * LEASE_S
"""Ganesha's reaper looks for expired leases at its leisure."""
MEMORY_MIB = 320
SERVER = "files"
SERVER_NUMBER, FIRST_MACHINE_NUMBER = 30, 31
NFS_KINDS = (Kind.PAUSE, Kind.STORE, Kind.KILL)
"""What can be done to a virtual machine from outside, without tools within."""
MODULES = Path("/usr/lib/uml/modules")

GANESHA = """\
LOG {{ Components {{ CLIENTID = DEBUG; }} }}
NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = {port}; Enable_RQUOTA = false; Enable_NLM = false;
                  Enable_UDP = false; }}
NFSv4 {{ Lease_Lifetime = {lease}; Grace_Period = {lease}; Graceless = true; Minor_Versions = 1, 2; }}
EXPORT {{ Export_Id = 7; Path = {path}; Pseudo = /store; Access_Type = RW; Squash = No_Root_Squash;
          SecType = sys; FSAL {{ Name = VFS; }} }}
"""

INIT = """\
#!/bin/sh
# The first process of a virtual machine: network, store, container.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t tmpfs shared /dev/shm
exec </dev/null >>{log} 2>&1
hostname {name}
ip link set lo up
ip address add {address}/24 dev vec0
ip link set vec0 up
modprobe -d {modules} nfsv4
mount -t nfs4 -o vers=4.2,hard,timeo=50 {server}:/store {mount} || exec sleep infinity
export FABRIC_HOME={home}
exec {command}
"""


class VirtualHost:
    """A virtual machine on a switch that runs one script; see `faults.hosts.Host`."""

    def __init__(self, name: str, number: int, switch: Switch, log: Path) -> None:
        self.name = name
        self.addresses = (f"{NETWORK}.{number}",)
        self._switch = switch
        self._log = log
        self._port = f"machine{number}"
        self._process: subprocess.Popen[bytes] | None = None
        for words in (
            ["tuntap", "add", self._port, "mode", "tap"],
            ["link", "set", self._port, "master", "bridge"],
            ["link", "set", self._port, "up"],
        ):
            switch.run("ip", *words)

    @property
    def pid(self) -> int:
        """The kernel's process."""
        assert self._process is not None
        return self._process.pid

    def boot(self, script: Path) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("nsenter", "--target", str(self._switch.pid), "--net", "linux.uml"),
                    *(f"mem={MEMORY_MIB}M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw"),
                    *(f"vec0:transport=tap,ifname={self._port},depth=64,gro=1", f"init={script}", "con=null"),
                    *("con0=null,fd:1", "quiet", "panic=-1"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
            )

    def command(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """Nobody types anything at it."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Stop the kernel; what runs on it does nothing without it."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Take its power away: the kernel and its processes are one group here."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def end(self) -> None:
        """Take it away."""
        self.kill()


class NfsLab(NamespaceLab):
    """A `NamespaceLab` whose broker hosts are virtual machines, with the store on NFS."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._machines: dict[str, VirtualHost] = {}
        self._server: NamespaceHost | None = None

    def _make_hosts(self, switch: Switch) -> None:
        super()._make_hosts(switch)
        self._server = NamespaceHost(SERVER, SERVER_NUMBER, switch)
        for number, name in enumerate(BROKERS, start=FIRST_MACHINE_NUMBER):
            self.hosts[name].end()
            self._machines[name] = VirtualHost(name, number, switch, self._logs / f"{name}.log")
            self.hosts[name] = self._machines[name]
        self._store_links = Links(self._server)
        self._serve_store(self._server)

    def _serve_store(self, server: NamespaceHost) -> None:
        configuration = self.folder / "ganesha.conf"
        configuration.write_text(GANESHA.format(port=NFS_PORT, lease=LEASE_S, path=self.store.parent))
        log = self._logs / "files.log"
        words = ["ganesha.nfsd", "-F", "-f", str(configuration), "-L", str(log), "-N", "NIV_EVENT"]
        with (self._logs / "files-console.log").open("ab") as console:
            server.spawn([*words, "-p", str(self.folder / "ganesha.pid")], console)
        wait_reachable(server, server.addresses[0], NFS_PORT)

    def _mount_store(self, host: str) -> None:
        """A machine mounts it itself."""

    def _register(self, host: str) -> None:
        run(
            self.hosts["root"].command(
                [
                    sys.executable,
                    "-m",
                    "faults.joined",
                    host,
                    self._address(host),
                    PROFILE,
                    self.zookeeper_url,
                ],
                {
                    "FABRIC_HOME": str(self._home(host)),
                    "PYTHONPATH": str(TESTS),
                    "ZOOKEEPER_PASSWORD": PASSWORD,
                },
            )
        )

    def start_process(self, host: str) -> None:
        """Start a ZooKeeper, or a machine with a broker's container."""
        machine = self._machines.get(host)
        if machine is None:
            super().start_process(host)
            return
        assert self._server is not None
        modules = self.folder / "modules" / "lib"
        if not modules.exists():
            modules.mkdir(parents=True)
            (modules / "modules").symlink_to(MODULES)
        script = self.folder / f"{host}.sh"
        script.write_text(
            INIT.format(
                log=self._logs / f"{host}-container.log",
                name=host,
                address=self._address(host),
                modules=modules.parent,
                server=self._server.addresses[0],
                mount=self._mount,
                home=self._home(host),
                command=f"{sys.executable} -m fabric.container --home {self._home(host)} {host}",
            )
        )
        script.chmod(0o700)
        machine.boot(script)

    def hold_store(self, host: str) -> None:
        """Cut the machine off from the server."""
        self._store_links.cut([self.hosts[host]])

    def release_store(self, host: str) -> None:
        """Let it reach the server again: a hard mount repeats what was not answered."""
        self._store_links.heal()

    def expired_leases(self) -> int:
        """How many clients the server has given up so far."""
        text = (self._logs / "files.log").read_text(errors="replace")
        return text.count("expire") + text.count("EXPIRE")

    def stop(self) -> None:
        """End everything."""
        super().stop()
        if self._server is not None:
            self._server.end()

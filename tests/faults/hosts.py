"""Hosts that faults are done to: containers of an engine, or network namespaces made here.

A `Host` has a network of its own, which `faults.links` enters from this machine through the host's first
process, so that nothing has to be installed in it and it needs no privileges. It can be frozen and killed.

`NamespaceHost` is the smallest thing that is one: namespaces for network, mounts, processes and the host's
name, made by util-linux, without images and without an engine. It sees this machine's files.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from support.waiting import wait_until

COMMAND_TIMEOUT_S = 90.0
NETWORK = "10.77.0"
"""Nobody else sees it: the bridge is in a namespace of its own."""


class CommandFailed(AssertionError):
    """A command at a host, or about one, did not do what it should."""


class Host(Protocol):
    """A host of a lab.

    Attributes:
        name: in the lab.
        addresses: of its interfaces, all of them.
    """

    name: str
    addresses: Sequence[str]

    @property
    def pid(self) -> int:
        """A process of the host, as this machine numbers it."""

    def command(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """What to run on this machine so that it runs at the host."""

    def freeze(self) -> None:
        """Stop all its processes at once; connections stay open."""

    def thaw(self) -> None:
        """Let them go on."""

    def kill(self) -> None:
        """End all its processes at once."""


def run(words: Sequence[str], *, fails: bool = False, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """Run a command on this machine; return what it printed.

    Args:
        words: the command.
        fails: whether it may fail.
        timeout_s: longest wait.

    Raises:
        CommandFailed: it failed, with what it said.
    """
    try:
        done = subprocess.run(
            list(words),
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandFailed(f"{' '.join(words)}: {error}") from error
    if done.returncode != 0 and not fails:
        raise CommandFailed(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def run_at(
    host: Host,
    *words: str,
    environment: Mapping[str, str] | None = None,
    fails: bool = False,
    timeout_s: float = COMMAND_TIMEOUT_S,
) -> str:
    """Run a command at a host; as `run`."""
    return run(host.command(words, environment), fails=fails, timeout_s=timeout_s)


class _Namespaces:
    """A process that does nothing and holds namespaces; they end with it."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self._outer = subprocess.Popen(
            ["unshare", *kinds, "--fork", "--kill-child", "sleep", "infinity"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # it complains of signals when it is ended
        )
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        self.pid = int(wait_until(lambda: children.read_text().split(), message="the namespaces' process")[0])
        wait_until(self._is_there, message="the namespaces")

    def _is_there(self) -> bool:
        """Whether the child has become what it is to be: until then its namespaces may be its parent's."""
        return Path(f"/proc/{self.pid}/comm").read_text().strip() == "sleep"

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._outer.wait()


class Networked(Protocol):
    """Whatever has a network of its own."""

    @property
    def pid(self) -> int:
        """Its first process."""


class Switch:
    """A bridge to which hosts are connected."""

    def __init__(self) -> None:
        self._namespaces = _Namespaces(["--net"])
        self._count = 0
        for words in (["add", "bridge", "type", "bridge"], ["set", "bridge", "up"]):
            self.run("ip", "link", *words)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._namespaces.pid

    def run(self, *words: str) -> None:
        """Run a command there."""
        run(["nsenter", "--target", str(self.pid), "--net", *words])

    def connect(self, host: Networked, address: str) -> None:
        """Give a host an interface."""
        self._count += 1
        port, peer = f"port{self._count}", f"peer{self._count}"
        self.run("ip", "link", "add", port, "type", "veth", "peer", "name", peer)
        self.run("ip", "link", "set", peer, "netns", str(host.pid), "name", "eth0")
        self.run("ip", "link", "set", port, "master", "bridge")
        self.run("ip", "link", "set", port, "up")
        for words in (
            ["link", "set", "lo", "up"],
            ["address", "add", f"{address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
        ):
            run(["nsenter", "--target", str(host.pid), "--net", "ip", *words])

    def end(self) -> None:
        """Take it away."""
        self._namespaces.end()


class NamespaceHost:
    """A host made of namespaces; see `Host`."""

    def __init__(self, name: str, number: int, switch: Switch) -> None:
        self.name = name
        self.addresses = (f"{NETWORK}.{number}",)
        self._namespaces = _Namespaces(["--net", "--mount", "--uts", "--pid", "--mount-proc"])
        self._spawned: list[subprocess.Popen[bytes]] = []
        switch.connect(self, self.addresses[0])
        run_at(self, "hostname", name)

    @property
    def pid(self) -> int:
        """Its first process."""
        return self._namespaces.pid

    def command(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """What to run on this machine so that it runs at the host."""
        given = ["env", *(f"{name}={value}" for name, value in environment.items())] if environment else []
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--uts", "--pid", *given, *words]

    def spawn(
        self, words: Sequence[str], log: IO[bytes], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start something that goes on; it ends with the host at the latest."""
        spawned = subprocess.Popen(
            self.command(words, environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
        self._spawned.append(spawned)
        return spawned

    def freeze(self) -> None:
        """Stop all its processes but the first, which does nothing."""
        self._signal("STOP")

    def thaw(self) -> None:
        """Let them go on; nsenter, which stops with its child, as well: it has to reap it one day."""
        self._signal("CONT")
        for spawned in self._spawned:
            spawned.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End all its processes but the first: the host stays, and can be used again."""
        self._signal("KILL")

    def _signal(self, name: str) -> None:
        run_at(self, "sh", "-c", f"kill -{name} -1", fails=True)

    def end(self) -> None:
        """Take the host away with everything that runs at it."""
        self._namespaces.end()
        for spawned in self._spawned:
            spawned.kill()  # one that has stopped with its child would not notice
            spawned.wait()

"""What the checks of `fabric doctor` look at.

Every question to the operating system is a field of `Machine`, so that a test answers it itself.
"""

from __future__ import annotations

import os
import resource
import secrets
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fabric.ensemble_health import ServerHealth, look_at
from fabric.local import port_is_free
from fabric.processes import running_process
from registry.channel import ChannelSettings
from registry.encryption import shown_by

if TYPE_CHECKING:
    from fabric.facts import ContainerFacts
    from fabric.home import Home
    from fabric.records import ContainerRecord
    from fabric.stores import BrokerSettings, BrokerStore
    from registry.session import Session

SYNCS: Final = 5
SYNC_BYTES: Final = 4096
PROGRAM_S_MAX: Final = 20.0
"""A Java that takes longer to say its version is not answering."""

IDLE_DRIVER: Final = Path("/sys/devices/system/cpu/cpuidle/current_driver")
HALT_POLL: Final = "haltpoll"
"""The driver of virtual machines, whose processors cost a change to the host and back when they halt."""
HALT_POLL_NS: Final = Path("/sys/module/haltpoll/parameters/guest_halt_poll_ns")

SHOWN_S_MAX: Final = 3.0
"""A server that takes longer to show its certificate is called down."""


class Space(NamedTuple):
    """What is left of a file system.

    Attributes:
        total: bytes of it.
        free: bytes of it that this user may take.
        files_free_percent: of the files that it could hold; 100 if it does not count them.
    """

    total: int
    free: int
    files_free_percent: float = 100.0


def space_of(path: Path) -> Space:
    """What is left of the file system of a path. Raises OSError."""
    found = os.statvfs(path)
    files = 100 * found.f_favail / found.f_files if found.f_files else 100.0
    return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, files)


def sync_ms(directory: Path) -> float:
    """How long writing and syncing a little takes there, the median of a few. Raises OSError."""
    probe = directory / f".doctor-{os.getpid()}-{secrets.token_hex(4)}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    took_ms = []
    try:
        for _ in range(SYNCS):
            os.write(descriptor, b"\0" * SYNC_BYTES)
            begun_s = time.perf_counter()
            os.fdatasync(descriptor)
            took_ms.append((time.perf_counter() - begun_s) * 1000)
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)
    return statistics.median(took_ms)


def halting() -> tuple[str, int]:
    """What governs waiting processors, and for how many ns they look for work before they halt.

    Raises OSError where the system does not say.
    """
    driver = IDLE_DRIVER.read_text().strip()
    return driver, int(HALT_POLL_NS.read_text()) if driver == HALT_POLL else 0


def run_program(command: Sequence[str]) -> str:
    """What a program prints, both streams. Raises OSError, also if it does not end."""
    try:
        done = subprocess.run(  # nosec B603  # noqa: S603 - a path that was found on this host, and fixed arguments
            command, capture_output=True, text=True, timeout=PROGRAM_S_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"it did not end within {PROGRAM_S_MAX:g} s") from error
    return done.stdout + done.stderr


@dataclass(frozen=True, slots=True)
class Machine:
    """What the checks ask of the operating system.

    Attributes:
        environment: of the command.
        name: of the host.
        now_s: seconds since 1970.
        user: id of the user.
        mountinfo: text of `/proc/self/mountinfo`.
        meminfo: text of `/proc/meminfo`.
        open_files: how many files a process may have open: usual and highest number; 0 is this one.
        halting: what governs waiting processors, and for how many ns they look for work before they halt.
        space: of the file system of a path.
        sync_ms: of a directory.
        program: runs a program.
        which: finds one.
        servers: asks the servers of a ZooKeeper connection string, talked to as said.
        port_is_free: whether one could listen at an address and port.
        shown: the certificate (DER) that somebody at an address shows, None if nobody does.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = field(default_factory=socket.gethostname)
    now_s: Callable[[], float] = time.time
    user: int = field(default_factory=os.geteuid)
    mountinfo: Callable[[], str] = Path("/proc/self/mountinfo").read_text
    meminfo: Callable[[], str] = Path("/proc/meminfo").read_text
    open_files: Callable[[int], tuple[int, int]] = lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE)
    halting: Callable[[], tuple[str, int]] = halting
    space: Callable[[Path], Space] = space_of
    sync_ms: Callable[[Path], float] = sync_ms
    program: Callable[[Sequence[str]], str] = run_program
    which: Callable[[str], str | None] = shutil.which
    servers: Callable[[str, ChannelSettings], Sequence[ServerHealth]] = look_at
    port_is_free: Callable[[str, int], bool] = port_is_free
    shown: Callable[[tuple[str, int]], bytes | None] = lambda address: shown_by(address, SHOWN_S_MAX)


class Scene:
    """A host, its home, and the registry if it can be reached. What is read once is kept.

    Args:
        home: of this host; it need not exist.
        machine: the operating system.
        session: with the registry; None if there is none.
        no_registry: why there is none.
    """

    def __init__(
        self, home: Home, machine: Machine, session: Session | None = None, no_registry: str = ""
    ) -> None:
        self.home = home
        self.machine = machine
        self.no_registry = no_registry
        self._session = session

    @property
    def has_registry(self) -> bool:
        """Whether the registry can be asked."""
        return self._session is not None

    @property
    def session(self) -> Session:
        """The registry, for checks that need it."""
        assert self._session is not None
        return self._session

    @cached_property
    def containers(self) -> list[ContainerRecord]:
        """All containers of the fabric; none without a registry."""
        from fabric.store import ContainerStore  # noqa: PLC0415 - only with a registry

        return ContainerStore(self.session).all() if self.has_registry else []

    @cached_property
    def own_containers(self) -> list[ContainerRecord]:
        """Those of this host."""
        here = set(self.home.container_names())
        return [record for record in self.containers if record.id in here]

    @cached_property
    def facts(self) -> dict[str, ContainerFacts]:
        """What containers say about their hosts; only of those that are connected."""
        from fabric.facts import read_facts  # noqa: PLC0415 - only with a registry

        connected = {record.id for record in self.containers if record.connected}
        found = read_facts(self.session) if self.has_registry else {}
        return {name: facts for name, facts in found.items() if name in connected}

    @cached_property
    def stores(self) -> list[BrokerStore]:
        """The stores of this host's brokers."""
        return [settings.store for settings in self.broker_settings]

    @cached_property
    def store_directories(self) -> dict[Path, str]:
        """Directories that hold stores, or will, with what they are for; the nearest parent that exists."""
        found = {_existing(self.home.data): "the stores of this host's brokers"}
        for store in self.stores:
            found[_existing(store.directory)] = f"the store of broker {store.broker}"
        return found

    @cached_property
    def directories(self) -> dict[Path, str]:
        """All directories the fabric writes to on this host, with what they are for."""
        return {
            _existing(self.home.path): "the home",
            **self.store_directories,
            **{_existing(path): "ZooKeeper's database" for path in self._zookeeper_directories()},
        }

    def _zookeeper_directories(self) -> list[Path]:
        settings = [
            self.home.container(name).read_managed_zookeeper() for name in self.home.container_names()
        ]
        return [Path(each.data_directory) for each in settings if each is not None]

    @cached_property
    def broker_settings(self) -> list[BrokerSettings]:
        """The properties of this host's brokers, placeholders resolved."""
        from fabric.stores import broker_settings  # noqa: PLC0415 - only with a registry

        return broker_settings(self.session, self.home, self.own_containers) if self.has_registry else []

    def is_running(self, container: str) -> bool:
        """Whether a container of this host has a process."""
        return running_process(self.home.container(container)) is not None


def _existing(path: Path) -> Path:
    """The path, or its nearest parent that exists."""
    for candidate in (path, *path.parents):
        if candidate.exists():
            return candidate
    return Path("/")

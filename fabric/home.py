"""FABRIC_HOME: where a host keeps its part of a fabric.

    FABRIC_HOME/                    0700
      fabric.json                   0600  where the registry is, its password, and how it is talked to
      data/                               stores of the brokers, shared by the containers of this host
      zookeeper/                          data of the ZooKeeper server this host runs, if it runs one
      master.key                    0600  see `fabric.crypt`
      audit.log, audit.log.1, …     0600  see `fabric.audit`
      certificates/                 0700  see `fabric.certificates`
      containers/<name>/            0700
        container.log                     the container's own log
        console.log                       what the process printed before and beside its log
        container.json              0600  what the container must know before it reaches the registry
        session.json                0600  id and password of its ZooKeeper session
        renewal-session.json        0600  likewise of the one in which its ZooKeeper server is renewed
        process.json                0600  pid and start time of its process
        lock                              held (flock) by the running process
        data/                             stores of the brokers that belong to this container alone

Files are replaced as a whole (written beside and renamed), so a reader never sees half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fabric.errors import HomeUnusable, NoFabric
from fabric.replacing import replace_file
from registry.channel import CHANNEL, PLAIN, ChannelSettings, channel_from_json
from registry.errors import InvalidRecord

HOME_VARIABLE = "FABRIC_HOME"
MASTER_KEY_VARIABLE = "FABRIC_MASTER_KEY_FILE"
OF_THE_AUTHORITY = frozenset({"ca", "ca-key", "ca-next-key"})
"""Names in the folder of certificates that no container's file may have."""
DIRECTORY_MODE = 0o700
SECRET_FILE_MODE = 0o600
CONTAINER_SESSION = "session.json"
RENEWAL_SESSION = "renewal-session.json"


def default_home(environ: Mapping[str, str]) -> Path:
    """Where the fabric of this user lies: FABRIC_HOME, else ``~/.local/share/fabric``."""
    configured = environ.get(HOME_VARIABLE)
    if configured:
        return Path(configured).expanduser().absolute()
    return Path("~/.local/share/fabric").expanduser()


def master_key_file(environ: Mapping[str, str]) -> Path | None:
    """Where this user's master keys are if they are not in the home: FABRIC_MASTER_KEY_FILE."""
    configured = environ.get(MASTER_KEY_VARIABLE)
    return Path(configured).expanduser().absolute() if configured else None


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """Where the registry is: the ZooKeeper connect string and the password of the digest user `fabric`.

    `channel` is how connections with it are secured.
    """

    zookeeper_url: str
    zookeeper_password: str
    channel: ChannelSettings = PLAIN


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process as it was written down; the start time tells it from a later process with the same pid."""

    pid: int
    start_time: int


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A ZooKeeper session that may have to be closed for its dead owner."""

    session_id: int
    password: bytes


@dataclass(frozen=True, slots=True)
class ManagedZooKeeper:
    """The ZooKeeper server that a container runs as its child process.

    Attributes:
        port, host: where it listens for clients.
        data_directory: where its data lies.
        tick_time_ms: the length of its tick.
        server: itself as a member of the ensemble, see `registry.quorum`; empty for a server of an earlier
            release, which stands alone.
        others: the members it finds its ensemble by.
        secret: the ensemble's.
        plain_port: of one that speaks TLS, where it does not, on the loopback address only; else 0.
        certificate, authority: PEM files of one that speaks TLS.
    """

    port: int
    host: str
    data_directory: str
    tick_time_ms: int
    server: str = ""
    others: tuple[str, ...] = ()
    secret: str = ""
    plain_port: int = 0
    certificate: str = ""
    authority: str = ""


class ContainerHome:
    """The folder of one container."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.log = path / "container.log"
        self.console = path / "console.log"
        self.lock = path / "lock"
        self.data = path / "data"
        self._process = path / "process.json"
        self._local = path / "container.json"

    def make(self) -> None:
        """Make the folders. Raises HomeUnusable."""
        for directory in (self.path, self.data):
            _make_directory(directory)

    def read_process(self) -> ProcessRecord | None:
        """The process that last ran this container, or None; it may be gone by now."""
        content = _read_json(self._process)
        if content is None:
            return None
        return ProcessRecord(pid=int(content["pid"]), start_time=int(content["start_time"]))

    def write_process(self, process: ProcessRecord) -> None:
        """Write down which process runs this container."""
        _write_json(self._process, asdict(process))

    def forget_process(self) -> None:
        """The container's process has ended."""
        self._process.unlink(missing_ok=True)

    def read_session(self, file_name: str = CONTAINER_SESSION) -> SessionRecord | None:
        """The last ZooKeeper session of this container, or None when it was closed in order."""
        content = _read_json(self.path / file_name)
        if content is None:
            return None
        return SessionRecord(int(content["session_id"]), bytes.fromhex(content["password"]))

    def write_session(self, session: SessionRecord, file_name: str = CONTAINER_SESSION) -> None:
        """Write down the session, for whoever has to close it when this process has died."""
        content = {"session_id": session.session_id, "password": session.password.hex()}
        _write_json(self.path / file_name, content)

    def forget_session(self, file_name: str = CONTAINER_SESSION) -> None:
        """The session is closed."""
        (self.path / file_name).unlink(missing_ok=True)

    def read_managed_zookeeper(self) -> ManagedZooKeeper | None:
        """The ZooKeeper server this container has to run, or None."""
        content = (_read_json(self._local) or {}).get("zookeeper")
        if not content:
            return None
        return ManagedZooKeeper(**{**content, "others": tuple(content.get("others", ()))})

    def write_managed_zookeeper(self, server: ManagedZooKeeper) -> None:
        """Make this container run a ZooKeeper server from its next start on."""
        _write_json(self._local, (_read_json(self._local) or {}) | {"zookeeper": asdict(server)})

    def forget_managed_zookeeper(self) -> None:
        """Make this container run no ZooKeeper server any more."""
        content = _read_json(self._local) or {}
        content.pop("zookeeper", None)
        _write_json(self._local, content)

    def read_session_timeout_ms(self) -> int | None:
        """How long ZooKeeper waits for this container, as its profiles said last; None if they never did."""
        value = (_read_json(self._local) or {}).get("session_timeout_ms")
        return int(value) if value else None

    def write_session_timeout_ms(self, timeout_ms: int) -> None:
        """Write down the session timeout; the profiles are only read when there is a session."""
        _write_json(self._local, (_read_json(self._local) or {}) | {"session_timeout_ms": timeout_ms})

    def read_log_format(self) -> str | None:
        """How this container's log is written, as its profiles said last; None if they never did."""
        value = (_read_json(self._local) or {}).get("log_format")
        return str(value) if value else None

    def write_log_format(self, form: str) -> None:
        """Write down the format of the log; empty: the profiles say none."""
        _write_json(self._local, (_read_json(self._local) or {}) | {"log_format": form})

    def clear(self) -> None:
        """Remove everything but the stores of the container's brokers."""
        with contextlib.suppress(FileNotFoundError):  # somebody else removes it too
            for entry in self.path.iterdir():
                if entry.is_dir() and entry != self.data:
                    shutil.rmtree(entry, ignore_errors=True)
                elif entry != self.data:
                    entry.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there are stores
            self.data.rmdir()
            self.path.rmdir()


class Home:
    """The layout of FABRIC_HOME. Making the object touches nothing."""

    def __init__(self, path: Path, master_key: Path | None = None) -> None:
        """Make it; `master_key` is where the master keys are, if it is not in the home."""
        path = path.absolute()  # its processes have another working directory
        self.path = path
        self.data = path / "data"
        self.zookeeper = path / "zookeeper"
        self.containers = path / "containers"
        self.certificates = path / "certificates"
        self.master_key = master_key or path / "master.key"
        self.audit_log = path / "audit.log"
        self._fabric = path / "fabric.json"

    def make(self) -> None:
        """Make the folders. Raises HomeUnusable."""
        for directory in (self.path, self.containers, self.data):
            _make_directory(directory)

    def container(self, name: str) -> ContainerHome:
        """The folder of the named container (it need not exist)."""
        return ContainerHome(self.containers / name)

    def container_certificate(self, name: str) -> Path:
        """The PEM file with a container's certificate and key (it need not exist)."""
        folder = self.certificates / "containers" if name in OF_THE_AUTHORITY else self.certificates
        return folder / f"{name}.pem"

    def user_certificate(self, name: str) -> Path:
        """The PEM file with a user's certificate and key (it need not exist)."""
        return self.certificates / "users" / f"{name}.pem"

    @property
    def authority_certificate(self) -> Path:
        """The PEM file of who has signed them (it need not exist)."""
        return self.certificates / "ca.pem"

    def container_names(self) -> list[str]:
        """The containers that have a folder on this host, sorted."""
        if not self.containers.is_dir():
            return []
        return sorted(entry.name for entry in self.containers.iterdir() if entry.is_dir())

    def has_fabric(self) -> bool:
        """Whether a fabric was created here or this host joined one."""
        return self._fabric.exists()

    def read_registry_address(self) -> RegistryAddress:
        """Where the registry is. Raises NoFabric when no fabric was created here."""
        content = _read_json(self._fabric)
        if content is None:
            raise NoFabric(self.path)
        try:
            channel = channel_from_json(content.get(CHANNEL, {}))
        except InvalidRecord as error:
            raise HomeUnusable(f"{self._fabric} is damaged: in {CHANNEL}, {error}.") from error
        return RegistryAddress(content["zookeeper_url"], content["zookeeper_password"], channel)

    def write_registry_address(self, address: RegistryAddress) -> None:
        """Write down where the registry is, readable by the owner only."""
        content = _read_json(self._fabric) or {}
        content.pop(CHANNEL, None)
        content["zookeeper_url"] = address.zookeeper_url
        content["zookeeper_password"] = address.zookeeper_password
        if channel := address.channel.to_json():
            content[CHANNEL] = channel
        _write_json(self._fabric, content)

    def change_registry_address(
        self, *, zookeeper_url: str | None = None, zookeeper_password: str | None = None
    ) -> None:
        """Change parts of where the registry is, while other processes of this host may do the same.

        Raises:
            NoFabric, HomeUnusable: as they say.
        """
        with _alone_in(self.path):
            before = self.read_registry_address()
            after = replace(
                before,
                zookeeper_url=zookeeper_url or before.zookeeper_url,
                zookeeper_password=zookeeper_password or before.zookeeper_password,
            )
            if after != before:
                self.write_registry_address(after)

    def read_root_name(self) -> str | None:
        """The root container that was created on this host, or None."""
        return (_read_json(self._fabric) or {}).get("root")

    def write_root_name(self, name: str) -> None:
        """Write down the root container of this host."""
        _write_json(self._fabric, (_read_json(self._fabric) or {}) | {"root": name})

    def forget_fabric(self) -> None:
        """No fabric here any more."""
        self._fabric.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread changes the same file, and keep them out meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as error:
        raise NoFabric(folder) from error
    except OSError as error:
        raise HomeUnusable(f"Cannot read {folder}: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise HomeUnusable(
            f"Cannot make {path}: {error.strerror}.", "Choose another folder with FABRIC_HOME."
        ) from error


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file, None when there is no file. Raises HomeUnusable for one that cannot be read."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HomeUnusable(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise HomeUnusable(f"{path} is damaged: {error}.") from error
    if not isinstance(content, dict):
        raise HomeUnusable(f"{path} is damaged: it does not hold an object.")
    return content


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    try:
        replace_file(path, json.dumps(content, indent=1).encode(), SECRET_FILE_MODE, sync=False)
    except OSError as error:
        raise HomeUnusable(f"Cannot write {path}: {error.strerror}.") from error

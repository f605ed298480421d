"""A ZooKeeper server as a child process.

What is run is Apache ZooKeeper as installed on this machine: the folder named by ``ZOOKEEPER_HOME``, or the
package of the distribution. Nothing is downloaded.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.address import LOOPBACK, reached_here
from registry.errors import ServerNotFound, ServerNotStarted
from registry.quorum import QuorumSettings
from registry.server_files import FilesUnusable, ServerFiles
from registry.server_tls import ServerTls

MAIN_CLASS = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
DISTRIBUTION_JARS = Path("/usr/share/java")

HEAP_MB = 128
"""The registry holds some thousand small znodes; ZooKeeper's own default of 1 GB would dwarf the fabric."""

TRANSACTION_LOG_PREALLOCATION_KB = 4096
"""ZooKeeper's default of 64 MB costs a start some hundred milliseconds and the disk space for nothing."""

TICK_TIME_MS = 100
"""ZooKeeper rounds the end of a session up to whole ticks: with 500 ms a frozen master was noticed up to half
a second later than its session timeout says. A tick costs one wake-up of a thread."""
INIT_LIMIT_TICKS = 100
"""10 s for a member of an ensemble to begin to follow its leader."""
SYNC_LIMIT_TICKS = 20
"""2 s to follow it: half a session timeout. A member that is cut off from its leader keeps its clients for so
long, and they do not hear meanwhile who has become master."""

SESSION_TIMEOUT_MIN_MS = 1000
SESSION_TIMEOUT_MAX_MS = 40_000
"""1 s for tests and impatient users; 40 s is what fabric8 negotiated (20 ticks of 2000 ms)."""

CLIENT_CONNECTIONS_MAX = 1000
"""From one address. ZooKeeper's default of 60 is soon spent when a fabric runs on one machine."""

FOUR_LETTER_WORDS = ("ruok", "srvr")
"""Health only: they are answered without a login, so none names clients, sessions or znodes."""

NETTY_FOR_TLS = ("codec", "resolver", "transport-native-unix-common")
"""Libraries that the distribution's jar does not name, since it can do without them until TLS is spoken."""

PID_FILE = "server.pid"
"""Written when a server is started."""
TLS_FOLDER = "tls"
"""Where the certificates lie that it reads."""
CONFIG_FILE = "zoo.cfg"
LOG_FILE = "server.log"

PROBE_TIMEOUT_S = 1.0
PROBE_INTERVAL_MS = 20
STOP_TIMEOUT_S = 10.0
LOG_TAIL_BYTES = 2000

_JVM_OPTIONS = (
    f"-Xmx{HEAP_MB}m",
    "-Xms16m",
    "-Xss512k",
    # For a quick start and a small process: no second compiler, the simplest collector, shared class data.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-XX:-UsePerfData",
    # A server whose heap is full neither serves nor dies by itself; its supervisor can only help if it exits.
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dzookeeper.jmx.log4j.disable=true",
    "-Dzookeeper.admin.enableServer=false",
    f"-Dzookeeper.preAllocSize={TRANSACTION_LOG_PREALLOCATION_KB}",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
)

_ADVICE = (
    "Install it with the distribution's package (Debian, Ubuntu: `apt install zookeeper`), "
    "or set ZOOKEEPER_HOME to an unpacked Apache ZooKeeper 3.5 or later."
)


@dataclass(frozen=True, slots=True)
class Installation:
    """Where Java and ZooKeeper are on this machine."""

    java: Path
    classpath: tuple[str, ...]
    source: str
    """How it was found, for people: ``ZOOKEEPER_HOME`` or the distribution's package."""


def find_zookeeper(environment: Mapping[str, str] | None = None) -> Installation:
    """Find an installed Apache ZooKeeper and a Java to run it.

    Args:
        environment: Read for ``ZOOKEEPER_HOME``, ``JAVA_HOME``, ``PATH``; the process's own by default.

    Raises:
        ServerNotFound: with a text that says what to install.
    """
    environment = os.environ if environment is None else environment
    return Installation(_find_java(environment), *_find_jars(environment.get("ZOOKEEPER_HOME", "")))


def _find_java(environment: Mapping[str, str]) -> Path:
    java_home = environment.get("JAVA_HOME", "")
    if java_home and os.access(Path(java_home, "bin", "java"), os.X_OK):
        return Path(java_home, "bin", "java")
    found = shutil.which("java", path=environment.get("PATH", os.defpath))
    if found is None:
        raise ServerNotFound(
            "ZooKeeper needs Java, and no `java` was found. Install a Java runtime "
            "(Debian, Ubuntu: `apt install default-jre-headless`), or set JAVA_HOME."
        )
    return Path(found)


def _find_jars(zookeeper_home: str) -> tuple[tuple[str, ...], str]:
    if zookeeper_home:
        home = Path(zookeeper_home)
        if not (jars := sorted((home / "lib").glob("*.jar"))):
            raise ServerNotFound(f"ZOOKEEPER_HOME is {home}, but there is no lib/*.jar in it. {_ADVICE}")
        return tuple(map(str, (*jars, *sorted(home.glob("*.jar"))))), "ZOOKEEPER_HOME"
    jar = DISTRIBUTION_JARS / "zookeeper.jar"  # its manifest names the jars it needs
    if not jar.exists():
        raise ServerNotFound(f"No ZooKeeper was found. {_ADVICE}")
    logger = DISTRIBUTION_JARS / "slf4j-simple.jar"  # without it the server is mute
    for_tls = (DISTRIBUTION_JARS / f"netty-{name}.jar" for name in NETTY_FOR_TLS)
    return tuple(str(path) for path in (jar, logger, *for_tls) if path.exists()), "the distribution's package"


class ZooKeeperServer:
    """One ZooKeeper server, alone or of an ensemble, started here or adopted from an earlier process of ours.

    Everything it owns lies in `data_dir`: ``zoo.cfg``, ``server.pid``, ``server.log``, its database ``data``,
    and with TLS the certificates it reads in ``tls``.
    Not thread-safe; its methods block and belong in a thread of a reactor's process.
    """

    def __init__(
        self,
        installation: Installation,
        data_dir: Path,
        port: int,
        host: str = LOOPBACK,
        *,
        tick_time_ms: int = TICK_TIME_MS,
        quorum: QuorumSettings | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        self._quorum = quorum
        self._tls = tls
        self._files = ServerFiles(data_dir / TLS_FOLDER)
        self._installation = installation
        self._data_dir = data_dir
        self.host = host
        self.port = port
        self._tick_time_ms = tick_time_ms
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._pid: int | None = None

    @property
    def url(self) -> str:
        """``host:port`` as clients are given it; a server that listens everywhere is reached locally."""
        return f"{reached_here(self.host)}:{self.port}"

    @property
    def _plain_address(self) -> tuple[str, int]:
        """Where this host reaches it without TLS."""
        if self._tls is not None:
            return LOOPBACK, self._tls.plain_port
        return self.url.rpartition(":")[0], self.port

    @property
    def pid(self) -> int | None:
        """Process id, or None when it does not run."""
        return self._pid if self.running else None

    @property
    def running(self) -> bool:
        """Whether the process exists. It may not serve yet."""
        if self._pid is None or _exited(self._pidfd, timeout_ms=0):
            self._forget()
            return False
        return True

    @property
    def log_path(self) -> Path:
        """What the server itself has to say."""
        return self._data_dir / LOG_FILE

    @property
    def _config_path(self) -> Path:
        return self._data_dir / CONFIG_FILE

    @property
    def _pid_path(self) -> Path:
        return self._data_dir / PID_FILE

    def start(self) -> None:
        """Start the server, or adopt the one that already runs on this data directory.

        Raises:
            ServerNotStarted: the data directory cannot be written, Java cannot be run, a port is taken, or
                the certificate for TLS cannot be used.
        """
        if self.running or self.adopt():
            return
        self._refuse_taken_ports()
        try:
            self._write_config()
            self._spawn()
        except FilesUnusable as error:
            raise ServerNotStarted(f"ZooKeeper cannot be started with TLS: {error}") from error
        except OSError as error:
            raise ServerNotStarted(f"ZooKeeper cannot be started in {self._data_dir}: {error}") from error

    def adopt(self) -> bool:
        """Take over the server that an earlier process started on this data directory, if it runs."""
        try:
            pid = int(self._pid_path.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            pidfd = os.pidfd_open(pid)
        except (OSError, ValueError):
            return False
        # A process id is used again after a while; the configuration's path tells ours from a stranger's.
        if os.fsencode(self._config_path.absolute()) not in command or _exited(pidfd, timeout_ms=0):
            os.close(pidfd)
            return False
        self._pid, self._pidfd = pid, pidfd
        return True

    def wait_ready(self, timeout_s: float = 20.0) -> None:
        """Wait until the server answers requests.

        Raises:
            ServerNotStarted: it exited, with the end of its log; or it did not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self.serves():
            if self.running:
                _exited(self._pidfd, timeout_ms=PROBE_INTERVAL_MS)
            else:
                raise ServerNotStarted(f"ZooKeeper exited at its start. {self._log_tail()}")
            if time.monotonic() > deadline:
                raise ServerNotStarted(
                    f"ZooKeeper at {self.url} does not answer after {timeout_s:g} s. {self._log_tail()}"
                )

    def serves(self) -> bool:
        """Whether the server answers at its address now."""
        try:
            with socket.create_connection(self._plain_address, PROBE_TIMEOUT_S) as probe:
                probe.sendall(b"srvr")
                return probe.recv(len(b"Zookeeper version")) == b"Zookeeper version"
        except OSError:
            return False

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the server: politely, and after `timeout_s` by force. Its sessions survive on disk."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """End the server as a crash does."""
        self._end(signal.SIGKILL, STOP_TIMEOUT_S)

    def _end(self, first_signal: signal.Signals, timeout_s: float) -> None:
        for number, patience_s in ((first_signal, timeout_s), (signal.SIGKILL, STOP_TIMEOUT_S)):
            if not self.running:
                break
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)
            _exited(self._pidfd, timeout_ms=int(patience_s * 1000))
        self._forget()
        self._pid_path.unlink(missing_ok=True)

    def _refuse_taken_ports(self) -> None:
        """Ask now: a second server fails late, and until then the first one's answer looks like its own.

        A member listens on its quorum port only once it leads. One that could not is no member worth having:
        the others would elect it again and again, and nobody would lead.
        """
        places = {(self.host, self.port): "clients"}
        if self._tls is not None:
            places[self._plain_address] = "this host"
        if self._quorum is not None:
            places |= {(self.host, port): "the ensemble's other servers" for port in self._quorum.ports}
        for (host, port), who in places.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, port))
                except OSError as error:
                    raise ServerNotStarted(
                        f"ZooKeeper cannot listen on {host}:{port}, for {who}: {error.strerror}"
                    ) from error

    def _write_config(self) -> None:
        database = self._data_dir / "data"
        database.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._data_dir.chmod(0o700)
        lines = (
            f"dataDir={database.absolute()}",
            *self._place_lines(database),
            *(self._tls_lines(self._tls) if self._tls else ()),
            f"tickTime={self._tick_time_ms}",
            f"initLimit={INIT_LIMIT_TICKS}",
            f"syncLimit={SYNC_LIMIT_TICKS}",
            f"minSessionTimeout={SESSION_TIMEOUT_MIN_MS}",
            f"maxSessionTimeout={SESSION_TIMEOUT_MAX_MS}",
            f"maxClientCnxns={CLIENT_CONNECTIONS_MAX}",
            f"4lw.commands.whitelist={','.join(FOUR_LETTER_WORDS)}",
            "admin.enableServer=false",
            "autopurge.snapRetainCount=3",
            "autopurge.purgeInterval=24",
        )
        self._config_path.write_text("\n".join(lines) + "\n")

    def _place_lines(self, database: Path) -> list[str]:
        """Say where it listens; a member's place stands in the list of the ensemble's servers."""
        if self._quorum is None:
            return [f"clientPort={self.port}", f"clientPortAddress={self.host}"]
        return self._quorum.write(self._data_dir, database, self._config_path)

    def _tls_lines(self, tls: ServerTls) -> list[str]:
        """Bring the files it reads up to date, and say where they are."""
        name = self._quorum.own.host if self._quorum else ""
        self._files.prepare(Path(tls.certificate), Path(tls.authority), name)
        return tls.lines(self.host, self.port, self._files)

    def _spawn(self) -> None:
        classpath = os.pathsep.join(self._installation.classpath)
        options = _JVM_OPTIONS + (self._quorum.jvm_options(self._data_dir) if self._quorum else ())
        command = (str(self._installation.java), *options, "-cp", classpath, MAIN_CLASS)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # nosec B603  # noqa: S603 - the command is made here, of found paths
                (*command, str(self._config_path.absolute())),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._data_dir,
                start_new_session=True,  # Ctrl-C in its starter's terminal is not meant for it
            )
        self._pid = self._process.pid
        self._pidfd = os.pidfd_open(self._pid)
        self._pid_path.write_text(f"{self._pid}\n")

    def _forget(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._pid = None

    def _log_tail(self) -> str:
        try:
            text = self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
        except OSError:
            text = ""
        return f"Its log {self.log_path} ends with:\n{text}" if text else f"Its log {self.log_path} is empty."


def _exited(pidfd: int, *, timeout_ms: int) -> bool:
    """Whether the process has ended, waiting up to `timeout_ms` for it. A pidfd is readable once it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_ms))

"""The compose lab for tests: a fabric whose hosts are containers of Docker.

``./dev docker test`` makes the images first. A lab is one project of compose; its hosts are the services of
``docker/compose.yaml``. Between hosts there are the networks `ensemble`, `registry` and `clients`, which can
be cut for each host alone.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from docker.models.containers import Container
from support.fabric_commands import COMMAND_TIMEOUT_S, FabricCommands
from support.waiting import wait_until
from testcontainers.compose import DockerCompose

import docker
from fabric.lab import ClientRun

FOLDER = Path(__file__).parents[2] / "docker"
BROKER_HOSTS = ("east", "west")
ZOOKEEPERS = ("zk1", "zk2", "zk3")
USER = PASSWORD = "admin"

START_TIMEOUT_S = 240
FAULT_TIMEOUT_S = 60
LOG_LINES = 40


class ComposeProject(DockerCompose):
    """A project of compose, in either of its generations: v2 is a plug-in of docker, 1.29 a program."""

    def __init__(self, project: str, files: str | Sequence[str], variables: Mapping[str, str]) -> None:
        super().__init__(context=FOLDER, compose_file_name=files if isinstance(files, str) else list(files))
        self.project = project
        self.variables = variables

    @cached_property
    def compose_command_property(self) -> list[str]:
        """Return the command line up to what compose is to do."""
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        program = ["docker", "compose"] if plugin.returncode == 0 else [shutil.which("docker-compose") or ""]
        settings = [f"{name}={value}" for name, value in self.variables.items()]
        files = (
            [self.compose_file_name] if isinstance(self.compose_file_name, str) else self.compose_file_name
        )
        chosen = [word for file in files or [] for word in ("--file", str(FOLDER / file))]
        return ["env", *settings, *program, "--project-name", self.project, *chosen]

    def run(self, *words: str, timeout_s: float = START_TIMEOUT_S) -> str:
        """Run a command of compose; return what it printed."""
        done = subprocess.run(
            [*self.compose_command_property, *words],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


class DockerLab(FabricCommands):
    """One fabric in a project of compose. Commands are typed at the host `root`, unless they name another."""

    def __init__(self, project: str, file: str = "compose.yaml", *, types_at: str = "root") -> None:
        # Port 0: one that is free, so that a lab of the developer's own may run beside it.
        names = ("CONSOLE_PORT", "OPENWIRE_PORT")
        self.project = ComposeProject(project, file, dict.fromkeys(names, "0"))
        self.types_at = types_at
        self.engine = docker.from_env()

    # The project.

    def up(self) -> None:
        """Start all hosts, and wait until each says that it is healthy."""
        self.project.run("up", "--detach")
        for host in self.hosts():
            self.wait_healthy(host)

    def down(self, *, volumes: bool = True) -> None:
        """Remove the hosts; with `volumes` what they stored, too."""
        self.project.run("down", "--remove-orphans", "--timeout", "30", *(["--volumes"] if volumes else []))

    def close(self) -> None:
        """Remove everything, and leave the engine alone."""
        self.down()
        self.engine.close()

    def hosts(self) -> list[str]:
        """Return the names of all services."""
        return self.project.run("config", "--services").split()

    def host(self, name: str) -> Container:
        """Return a host's container of Docker's, also one that is down."""
        labels = [
            f"com.docker.compose.project={self.project.project}",
            f"com.docker.compose.service={name}",
        ]
        found = self.engine.containers.list(all=True, filters={"label": labels})
        assert len(found) == 1, f"{name}: {found}"
        return found[0]

    def health(self, name: str) -> str:
        """Return what a host's health check says: starting, healthy or unhealthy; its state if it is down."""
        state: dict[str, Any] = self.host(name).attrs["State"]
        return state.get("Health", {}).get("Status", "") if state["Running"] else state["Status"]

    def wait_healthy(self, name: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until a host does what it is for; fail at once if it ends."""

        def is_healthy() -> bool:
            health = self.health(name)
            assert health not in ("exited", "dead"), f"{name}\n{self.logs_of(name)}"
            return health == "healthy"

        wait_until(is_healthy, timeout_s, lambda: f"{name} is {self.health(name)}\n{self.logs()}")

    def published_port(self, name: str, port: int) -> int:
        """Return the port of the loopback address behind which a host's port is."""
        bindings = self.host(name).ports[f"{port}/tcp"]
        assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
        return int(bindings[0]["HostPort"])

    def status_of(self, name: str, port: int, path: str) -> int:
        """Return the status with which a host's HTTP server answers a request from this machine."""
        connection = HTTPConnection("127.0.0.1", self.published_port(name, port), timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            with connection.getresponse() as answer:
                return answer.status

    # Commands.

    def execute(
        self, *arguments: str, code: int = 0, program: str = "fabric"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. The exit code must be `code`."""
        return self.execute_at(self.types_at, program, *arguments, code=code)

    def execute_at(
        self, host: str, *words: str, code: int | None = 0, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run any program at a host to its end. The exit code must be `code`; None: any."""
        done = subprocess.run(
            self._words(host, words),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        output = done.stdout + done.stderr
        assert code in (None, done.returncode), (
            f"{' '.join(words)} at {host}: {done.returncode}\n{output}\n{self.logs()}"
        )
        return done

    def start_client(self, action: str, destination: str, count: int, *more: str) -> ClientRun:
        """Start a producer or consumer at the client host; the caller ends it."""
        words = self.client_words(action, destination, count, *more)
        return ClientRun(
            subprocess.Popen(
                self._words("client", words),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                bufsize=1,
            )
        )

    def run_client(self, action: str, destination: str, count: int, *more: str) -> str:
        """Run a producer or consumer at the client host to its end; return what it printed."""
        return self.execute_at("client", *self.client_words(action, destination, count, *more)).stdout

    @staticmethod
    def client_words(action: str, destination: str, count: int, *more: str) -> list[str]:
        """Return the command line of a producer or consumer; `more` may choose another `--brokerUrl`."""
        return [
            *("mq-client", action, "--brokerUrl", "discovery:fabric:default"),
            *("--user", USER, "--password", PASSWORD, "--destination", destination, "--count", str(count)),
            *more,
        ]

    def _words(self, host: str, words: Sequence[str]) -> list[str]:
        container = self.host(host).id
        assert container is not None
        return ["docker", "exec", container, *words]

    def create_pair(self, broker: str, *more: str) -> str:
        """Make a broker whose master and slave are on the two hosts; return the master's container.

        Its containers are called after the broker and their host: `orders-east` and `orders-west`.
        """
        self.run("mq-create", "--group", "default", *more, broker)
        for host in BROKER_HOSTS:
            profile = f"mq-broker-default.{broker}"
            self.run("container-create-child", "--profile", profile, host, f"{broker}-{host}")
        return self.wait_master(broker, slaves=1)

    @staticmethod
    def host_of(container: str) -> str:
        """Return the host of a container of `create_pair`."""
        return container.rpartition("-")[2]

    # Faults.

    def kill(self, name: str) -> None:
        """Take a host's power away: SIGKILL to all its processes."""
        self.host(name).kill()
        wait_until(lambda: self.host(name).status == "exited", FAULT_TIMEOUT_S)

    def start(self, name: str) -> None:
        """Start a host that is down, and wait until it does what it is for."""
        self.host(name).start()
        self.wait_healthy(name)

    def pause(self, name: str) -> None:
        """Freeze all processes of a host; its connections stay open."""
        self.host(name).pause()

    def unpause(self, name: str) -> None:
        """Let a frozen host go on."""
        self.host(name).unpause()

    def cut(self, name: str, network: str) -> list[str]:
        """Take a host off a network: what it sends and is sent there is lost. Returns what `mend` needs."""
        full_name = f"{self.project.project}_{network}"
        host = self.host(name)
        aliases = host.attrs["NetworkSettings"]["Networks"][full_name]["Aliases"] or []
        self.engine.networks.get(full_name).disconnect(host)
        return [alias for alias in aliases if alias != host.short_id]

    def mend(self, name: str, network: str, aliases: Sequence[str]) -> None:
        """Put a host back on a network under the names it had."""
        full_name = f"{self.project.project}_{network}"
        self.engine.networks.get(full_name).connect(self.host(name), aliases=list(aliases))

    # What to look at when a test fails.

    def logs(self) -> str:
        """Return the last lines of all logs."""
        return "\n".join(self.logs_of(host) for host in self.hosts())

    def logs_of(self, name: str) -> str:
        """Return the last lines of what a host and its containers have to say."""
        host = self.host(name)
        parts = [f"--- {name} ({host.status})", host.logs(tail=LOG_LINES).decode(errors="replace")]
        if host.status == "running":
            show = f'echo "--- $log"; tail -n {LOG_LINES} "$log"'
            script = f"for log in /var/lib/fabric/containers/*/*.log; do {show}; done"
            parts.append(host.exec_run(["sh", "-c", script]).output.decode(errors="replace"))
        return "\n".join(parts)

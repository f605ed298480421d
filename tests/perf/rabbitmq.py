"""RabbitMQ from the distribution's package, as a child with its own node, data and ports, for benchmarks."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.waiting import wait_until
from support.zookeeper import free_port

PLUGINS = ("rabbitmq_amqp1_0", "rabbitmq_mqtt", "rabbitmq_stomp")
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
USER = ("guest", "guest")
"""RabbitMQ's default, which is let in from this host only."""


class RabbitMissing(Exception):
    """RabbitMQ cannot be run here; the text says what to install."""


@dataclass(frozen=True, slots=True)
class Rabbit:
    """A broker that serves.

    Attributes:
        ports: per protocol: amqp (1.0 and 0-9-1), mqtt, stomp.
        pid: of Erlang's machine.
    """

    ports: dict[str, int]
    pid: int


def server_script() -> Path:
    """RabbitMQ's own start script, which does not change the user as Debian's does.

    Raises:
        RabbitMissing: it is not installed.
    """
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found:
        raise RabbitMissing("not installed: install the package rabbitmq-server")
    return found[-1]


@contextlib.contextmanager
def rabbit(folder: Path) -> Iterator[Rabbit]:
    """A broker with its defaults and three plugins; what it writes is in a folder, and ends with the block.

    Raises:
        RabbitMissing: it is not installed.
    """
    script = server_script()
    folder.mkdir(parents=True)
    ports = {"amqp": free_port(), "mqtt": free_port(), "stomp": free_port()}
    (folder / "enabled_plugins").write_text(f"[{','.join(PLUGINS)}].\n", "ascii")
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{ports['amqp']}\n"
        f"mqtt.listeners.tcp.1 = 127.0.0.1:{ports['mqtt']}\n"
        f"stomp.listeners.tcp.1 = 127.0.0.1:{ports['stomp']}\n",
        "ascii",
    )
    epmd_port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))},
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_NODENAME": f"bench{os.getpid()}@localhost",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
    with (folder / "output").open("wb") as output, contextlib.ExitStack() as running:
        epmd = subprocess.Popen(
            ["epmd", "-address", "127.0.0.1", "-port", str(epmd_port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        running.callback(_end, epmd)
        server = subprocess.Popen(
            [str(script)], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        running.callback(_end_server, server, folder / "pid")
        for port in ports.values():
            wait_until(
                lambda port=port: _serves(port, server),
                START_TIMEOUT_S,
                lambda: (folder / "output").read_text("utf-8", "replace")[-2000:],
            )
        yield Rabbit(ports, int((folder / "pid").read_text("ascii")))


def _serves(port: int, server: subprocess.Popen[bytes]) -> bool:
    if server.poll() is not None:
        raise RabbitMissing("RabbitMQ's process ended while it started")
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def _end_server(script: subprocess.Popen[bytes], pid_file: Path) -> None:
    """Stop RabbitMQ by its script, or by force if that takes too long: Erlang would start another epmd."""
    script.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        script.wait(STOP_TIMEOUT_S)
        return
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(pid_file.read_text("ascii")), signal.SIGKILL)
    _end(script)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process of ours."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""The brokers that are loaded: ours, Apache ActiveMQ and RabbitMQ, and a sink that only answers.

Each is a process of its own on loopback ports, with a store below one folder, and ends with its block.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perf import rabbitmq
from perf.bench_broker import BenchBroker
from perf.lines import Address
from support.apache import CONNECTOR_JARS, JavaPrograms, has_jar, start_apache_broker

from broker.protocols import SERVERS

OURS, APACHE, RABBIT, SINK = "ours", "activemq", "rabbitmq", "sink"
PROTOCOLS = ("openwire", "stomp", "mqtt", "amqp")
CONNECTIONS_MAX = 20_000
QUEUES = {"stomp": "/queue/{}", "mqtt": "{}", "amqp": "{}"}


@dataclass(frozen=True, slots=True)
class Rival:
    """A broker that serves.

    Attributes:
        addresses: by protocol; a protocol that it does not speak is missing.
        pid: of its process; 0: nobody wants to know.
    """

    addresses: dict[str, Address]
    pid: int = 0


@contextlib.contextmanager
def ours(folder: Path) -> Iterator[Rival]:
    """What `python -m broker` runs as a master, with a connector for each protocol that it knows."""
    names = [name for name in PROTOCOLS if name in SERVERS]
    options = [f"--property=connectors={' '.join(names)}"]
    options += [f"--property={name}-maximumConnections={CONNECTIONS_MAX}" for name in names]
    with BenchBroker(folder / "ours", "--unwatched", *options) as broker:
        ports = {("openwire" if scheme == "tcp" else scheme): port for scheme, port in broker.ports.items()}
        places = {**QUEUES, "amqp": "queue://{}"}
        addresses = {name: Address(port, queue=places.get(name, "{}")) for name, port in ports.items()}
        yield Rival(addresses, broker.pid)


@contextlib.contextmanager
def apache(programs: JavaPrograms, folder: Path) -> Iterator[Rival]:
    """Apache's broker with the connectors whose libraries are installed; Debian has none for AMQP."""
    names = [name for name, jars in CONNECTOR_JARS.items() if all(map(has_jar, jars))]
    uris = [f"{name}://127.0.0.1:0?maximumConnections={CONNECTIONS_MAX}" for name in names]
    broker, url = start_apache_broker(programs, folder / "apache", 0, *uris)
    with broker:
        addresses = {name: Address(int(broker.values(name)[0]), queue=QUEUES[name]) for name in names}
        addresses["openwire"] = Address(int(url.rpartition(":")[2]))
        yield Rival(addresses, broker.pid)


@contextlib.contextmanager
def rabbit(folder: Path) -> Iterator[Rival]:
    """RabbitMQ with its plugins."""
    with rabbitmq.rabbit(folder / "rabbitmq") as broker:
        places = {**QUEUES, "amqp": "/queue/{}"}
        addresses = {name: Address(port, rabbitmq.USER, places[name]) for name, port in broker.ports.items()}
        yield Rival(addresses, broker.pid)


@contextlib.contextmanager
def sink(size: int) -> Iterator[Rival]:
    """A process that answers without storing anything."""
    process = subprocess.Popen(
        [sys.executable, "-m", "perf.sink", str(size)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        yield Rival({name: Address(port, queue=QUEUES[name]) for name, port in ports.items()})
    finally:
        process.communicate()


def start(
    running: contextlib.ExitStack,
    wanted: list[str],
    programs: JavaPrograms | None,
    folder: Path,
    size: int,
) -> dict[str, Rival]:
    """Start those that are wanted; all of them end with the stack.

    Raises:
        RabbitMissing: RabbitMQ is wanted and not installed.
        JavaMissingError: likewise of Apache's broker.
    """

    def start_apache() -> contextlib.AbstractContextManager[Rival]:
        assert programs is not None
        return apache(programs, folder)

    starters: dict[str, Callable[[], contextlib.AbstractContextManager[Rival]]] = {
        OURS: lambda: ours(folder),
        APACHE: start_apache,
        RABBIT: lambda: rabbit(folder),
        SINK: lambda: sink(size),
    }
    return {name: running.enter_context(starters[name]()) for name in wanted}

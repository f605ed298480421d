"""How the servers of an ensemble are, as each of them says.

Source: ZooKeeper administrator's guide, the four letter words.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from registry.channel import PLAIN, ChannelSettings
from registry.encryption import NotSecured, connect, connect_to_anybody

PORT: Final = 2181
ANSWER_S: Final = 1.0
"""A server that says nothing for so long is called silent: a page waits for it."""
ANSWER_BYTES_MAX: Final = 64 * 1024
SERVERS_MAX: Final = 20
MODE_S: Final = 3.0
"""Nobody looks at a page meanwhile, and a server that is busy is not taken for one that is away."""
VOTING: Final = frozenset({"leader", "follower"})
"""How a server that votes is called while it serves."""

_LATENCY: Final = re.compile(r"([\d.]+)/([\d.]+)/([\d.]+)")


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """One server.

    Attributes:
        address: host and port.
        mode: `leader`, `follower`, `standalone`, …; empty if it does not say.
        latency_ms: least, mean and greatest time of an answer; empty if it does not say.
        connections, znodes, outstanding: numbers; -1 if it does not say.
        version: of ZooKeeper.
        problem: why it cannot be told how it is; empty if it can.
    """

    address: str
    mode: str = ""
    latency_ms: str = ""
    connections: int = -1
    znodes: int = -1
    outstanding: int = -1
    version: str = ""
    problem: str = ""


def look_at(url: str, channel: ChannelSettings = PLAIN) -> list[ServerHealth]:
    """Ask each server of a connection string, all at once (blocking).

    Args:
        url: the connection string.
        channel: how connections with the servers are secured; nobody has to log in for this.
    """
    addresses = addresses_of(url)
    if not addresses:
        return []
    with ThreadPoolExecutor(len(addresses)) as pool:
        return list(pool.map(lambda address: _look_at_one(address, channel), addresses))


def addresses_of(url: str) -> Sequence[tuple[str, int]]:
    """Hosts and ports of a connection string; a path behind them does not matter."""
    found = []
    for part in url.partition("/")[0].split(",")[:SERVERS_MAX]:
        host, _, port = part.strip().rpartition(":")
        if not host:
            host, port = port, str(PORT)
        if host and port.isdigit():
            found.append((host.strip("[]"), int(port)))
    return found


def _look_at_one(address: tuple[str, int], channel: ChannelSettings) -> ServerHealth:
    name = f"{address[0]}:{address[1]}"
    try:
        text = _ask(address, b"srvr", channel)
    except NotSecured as error:
        return ServerHealth(name, problem=error.reason)
    except OSError as error:
        return ServerHealth(name, problem=f"It does not answer: {error.strerror or 'nothing came in time'}.")
    return parse_srvr(name, text)


def mode_of(address: tuple[str, int], *, tls: bool) -> str:
    """How a server is: one of `VOTING`, `observer`, …; empty if it does not serve. Blocks.

    Args:
        address: where it is.
        tls: whether it speaks TLS there; whatever certificate it has, since it may be about to get another.
    """
    try:
        with (connect_to_anybody if tls else socket.create_connection)(address, MODE_S) as connection:
            return parse_srvr("", _answer(connection, b"srvr")).mode
    except (OSError, ValueError):
        return ""


def parse_srvr(name: str, text: str) -> ServerHealth:
    """What a server says of itself."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "Mode" not in fields:
        said = " ".join(text.split())[:200]
        return ServerHealth(name, problem=f"It does not say how it is: {said or 'nothing at all'}.")
    latency = _LATENCY.search(next((fields[key] for key in fields if key.startswith("Latency")), ""))
    return ServerHealth(
        name,
        mode=fields["Mode"].strip(),
        latency_ms=" / ".join(latency.groups()) if latency else "",
        connections=_number(fields.get("Connections")),
        znodes=_number(fields.get("Node count")),
        outstanding=_number(fields.get("Outstanding")),
        version=fields.get("Zookeeper version", "").strip().partition("-")[0],
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.strip().isdigit() else -1


def _ask(address: tuple[str, int], word: bytes, channel: ChannelSettings) -> str:
    with connect(address, channel, ANSWER_S) as connection:
        return _answer(connection, word)


def _answer(connection: socket.socket, word: bytes) -> str:
    connection.sendall(word)
    answer = b""
    while len(answer) < ANSWER_BYTES_MAX and (data := connection.recv(4096)):
        answer += data
    return answer.decode(errors="replace")

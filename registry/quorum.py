"""The servers of an ensemble as ZooKeeper writes them, and what one of them is configured with.

Every server of a fabric's own ensemble is started as a member of a quorum, a lone one too: only such a server
can be given companions while it runs. Servers prove to each other that they know the ensemble's secret
(SASL, DIGEST-MD5): who does not can neither vote nor copy the data.

Source: ZooKeeper's guides to dynamic reconfiguration and to the authentication between servers.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.address import EVERYWHERE

SUPER_USER = "super"
"""ZooKeeper's name for who may do everything, reconfigure among it."""
QUORUM_USER = "fabric"

QUORUM_PORT = 2888
ELECTION_PORT = 3888
"""Where the search for free ports begins. Source: ZooKeeper's examples."""

_SERVER = re.compile(
    r"server\.(?P<id>\d+)=(?P<host>\[[^\]]+\]|[^:\[\]]+):(?P<quorum>\d+):(?P<election>\d+)(?::(?P<role>\w+))?"
    r";(?:(?P<address>\[[^\]]+\]|[^:\[\]]+):)?(?P<client>\d+)"
)


@dataclass(frozen=True, slots=True)
class EnsembleServer:
    """One server of an ensemble.

    Attributes:
        id: its number, 1 to 255.
        host: where the other servers and, unless it listens there on loopback only, clients reach it.
        quorum_port, election_port: for the other servers.
        client_address, client_port: where it listens for clients.
        votes: False for one that only follows.
    """

    id: int
    host: str
    quorum_port: int
    election_port: int
    client_address: str
    client_port: int
    votes: bool = True

    @property
    def url(self) -> str:
        """``host:port`` for clients."""
        return f"{self.host}:{self.client_port}"

    def line(self) -> str:
        """Return it as ZooKeeper writes it."""
        role = "participant" if self.votes else "observer"
        return (
            f"server.{self.id}={self.host}:{self.quorum_port}:{self.election_port}:{role}"
            f";{self.client_address}:{self.client_port}"
        )


def parse_servers(text: str) -> dict[int, EnsembleServer]:
    """Read the servers of a configuration, by number; what is no server is left out."""
    servers = {}
    for found in _SERVER.finditer(text):
        number = int(found["id"])
        servers[number] = EnsembleServer(
            number,
            found["host"],
            int(found["quorum"]),
            int(found["election"]),
            found["address"] or EVERYWHERE[0],  # what ZooKeeper means by leaving it out
            int(found["client"]),
            found["role"] != "observer",
        )
    return servers


@dataclass(frozen=True, slots=True)
class QuorumSettings:
    """What makes a server a member of an ensemble.

    Attributes:
        own: the server itself.
        others: those it finds its ensemble by at its first start; ZooKeeper keeps the list from then on.
        secret: what all servers of the ensemble know.
        bind_address: where it listens for the other servers, if that is not where it does for clients.
    """

    own: EnsembleServer
    others: tuple[EnsembleServer, ...]
    secret: str
    bind_address: str = ""

    @property
    def ports(self) -> tuple[int, int]:
        """Where it listens for the other servers: for their votes always, for their copies while it leads."""
        return self.own.election_port, self.own.quorum_port

    def write(self, directory: Path, database: Path, zoo_cfg: Path) -> list[str]:
        """Write the files a member needs beside its ``zoo.cfg``, and return the lines of that.

        The list of servers that ZooKeeper wrote itself is kept: it is newer than what we were told.

        Raises:
            OSError: a file cannot be written.
        """
        (database / "myid").write_text(f"{self.own.id}\n")
        servers = newest_servers(zoo_cfg)
        if servers is None:
            servers = directory / "servers.cfg"
            lines = sorted(server.line() for server in (self.own, *self.others))
            servers.write_text("\n".join(lines) + "\n")
        jaas = directory / "jaas.conf"
        _write_secret(jaas, jaas_text(self.secret))
        everywhere = (self.bind_address or self.own.client_address) in EVERYWHERE
        return [
            "standaloneEnabled=false",
            "reconfigEnabled=true",
            f"dynamicConfigFile={servers.absolute()}",
            f"DigestAuthenticationProvider.superDigest={super_digest(self.secret)}",
            f"quorumListenOnAllIPs={str(everywhere).lower()}",
            "quorum.auth.enableSasl=true",
            "quorum.auth.learnerRequireSasl=true",
            "quorum.auth.serverRequireSasl=true",
        ]

    def jvm_options(self, directory: Path) -> tuple[str, ...]:
        """Return what Java is started with."""
        return (f"-Djava.security.auth.login.config={(directory / 'jaas.conf').absolute()}",)


def newest_servers(zoo_cfg: Path) -> Path | None:
    """Return the file with the servers that ZooKeeper wrote last, None if it never did.

    Its name ends in the version of the list, in hexadecimal; one that was not completed has ``.next``.
    """
    prefix = f"{zoo_cfg.name}.dynamic."
    found = [
        path
        for path in zoo_cfg.parent.glob(f"{prefix}*")
        if re.fullmatch(r"[0-9a-f]+", path.name.removeprefix(prefix)) and path.stat().st_size
    ]
    return max(found, key=lambda path: int(path.name.removeprefix(prefix), 16), default=None)


def super_digest(secret: str) -> str:
    """Return what ZooKeeper knows its super user by.

    SHA-1 is ZooKeeper's; the secret is 18 random bytes, and the file is its owner's alone.
    """
    digest = hashlib.sha1(f"{SUPER_USER}:{secret}".encode(), usedforsecurity=False).digest()
    return f"{SUPER_USER}:{base64.b64encode(digest).decode()}"


def jaas_text(secret: str) -> str:
    """Return what Java's login modules are configured with."""
    module = "org.apache.zookeeper.server.auth.DigestLoginModule required"
    sections: Mapping[str, Iterable[str]] = {
        "QuorumServer": (f'user_{QUORUM_USER}="{secret}"',),
        "QuorumLearner": (f'username="{QUORUM_USER}"', f'password="{secret}"'),
    }
    return "".join(
        f"{name} {{\n    {module}\n    {' '.join(options)};\n}};\n" for name, options in sections.items()
    )


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)

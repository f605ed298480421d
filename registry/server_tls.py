"""What makes a ZooKeeper server of ours speak TLS, to clients and to the other servers.

Its port for clients speaks nothing else. A second one, on this host's loopback address only, speaks without:
by it the host itself asks how the server is, and ZooKeeper wants one in its list of servers.

The servers show each other the certificate that clients see, and compare names. That who connects is one of
them is proved by the ensemble's secret, as without TLS.

What a server reads are copies, see `registry.server_files`. It reads them again when they are replaced: for
connections with other servers since 3.5.5, for those with clients where it knows `client.certReload`, which
came to different branches at different times (3.7.2, 3.8.1 or later, 3.9.0); Debian's 3.8.0 does not.

Source: ZooKeeper administrator's guide, "Encryption, Authentication, Authorization Options".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.server_files import ServerFiles

RELOADS_QUORUM = "sslQuorumReloadCertFiles=true"


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How a server speaks TLS.

    Attributes:
        plain_port: of the loopback address, without TLS.
        certificate: PEM file of its certificate, and its key, as it was put down for it.
        authority: PEM file of who signs the certificates of all servers, likewise.
    """

    plain_port: int
    certificate: str
    authority: str

    def lines(self, host: str, port: int, files: ServerFiles) -> list[str]:
        """Return the lines of its ``zoo.cfg``.

        Args:
            host: where clients reach it.
            port: likewise.
            files: what it reads.
        """
        lines = [
            f"secureClientPort={port}",
            f"secureClientPortAddress={host}",
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
            "sslQuorum=true",
            RELOADS_QUORUM,
            "client.certReload=true",
        ]
        for prefix in ("ssl", "ssl.quorum"):
            lines += [
                f"{prefix}.keyStore.location={files.certificate}",
                f"{prefix}.keyStore.type=PEM",
                f"{prefix}.trustStore.location={files.authority}",
                f"{prefix}.trustStore.type=PEM",
                f"{prefix}.clientAuth=none",
            ]
        return lines

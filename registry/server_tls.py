"""What makes a ZooKeeper server of ours speak TLS, to clients and to the other servers.

Its port for clients speaks nothing else. A second one, on this host's loopback address only, speaks without:
by it the host itself asks how the server is, and ZooKeeper wants one in its list of servers.

The servers show each other the certificate that clients see, and compare names. That who connects is one of
them is proved by the ensemble's secret, as without TLS.

Source: ZooKeeper administrator's guide, "Encryption, Authentication, Authorization Options".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How a server speaks TLS.

    Attributes:
        plain_port: of the loopback address, without TLS.
        certificate: PEM file of its certificate, and its key.
        authority: PEM file of who signs the certificates of all servers.
    """

    plain_port: int
    certificate: str
    authority: str

    def lines(self, host: str, port: int) -> list[str]:
        """Return the lines of its ``zoo.cfg``.

        Args:
            host: where clients reach it.
            port: likewise.
        """
        lines = [
            f"secureClientPort={port}",
            f"secureClientPortAddress={host}",
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
            "sslQuorum=true",
        ]
        for prefix in ("ssl", "ssl.quorum"):
            lines += [
                f"{prefix}.keyStore.location={self.certificate}",
                f"{prefix}.keyStore.type=PEM",
                f"{prefix}.trustStore.location={self.authority}",
                f"{prefix}.trustStore.type=PEM",
                f"{prefix}.clientAuth=none",
            ]
        return lines

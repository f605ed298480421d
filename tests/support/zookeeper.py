"""A real ZooKeeper for tests."""

import contextlib
import shlex
import socket
from dataclasses import replace
from pathlib import Path

from support.certificates import HOST, Keys

from registry.channel import ChannelSettings
from registry.server import ZooKeeperServer, find_zookeeper

PASSWORD = "ensemble-secret"


def free_port() -> int:
    """Return a TCP port on the loopback address that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(count: int) -> list[int]:
    """As `free_port`, but several, of which no two are the same."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


class ZooKeeperForTests(ZooKeeperServer):
    """A server with a password that its tests agree on."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(find_zookeeper(), data_dir, free_port())
        self.password = PASSWORD

    def start_ready(self) -> None:
        """Start and wait until it serves."""
        self.start()
        self.wait_ready(timeout_s=60)


SASL_USER, SASL_PASSWORD = "shop", "shop-login"


class SecuredZooKeeper(ZooKeeperForTests):
    """A server as careful people run it: TLS at `secure_port`, certificates of clients, logins by SASL.

    The port without TLS asks for logins, too.

    Args:
        data_dir: where its data lies.
        keys: whose certificates it shows and trusts.
    """

    def __init__(self, data_dir: Path, keys: Keys) -> None:
        super().__init__(data_dir)
        self.secure_port = free_port()
        self.secure_url = f"{HOST}:{self.secure_port}"
        self.plain_url = f"{HOST}:{self.port}"
        self.channel = ChannelSettings(
            tls=True,
            ca=str(keys.trust),
            certificate=str(keys.user("client")),
            sasl_user=SASL_USER,
            sasl_password=SASL_PASSWORD,
        )
        self._key_store, self._trust_store = keys.sign("zookeeper", HOST), keys.trust
        data_dir.mkdir(parents=True)
        jaas, java = data_dir / "jaas.conf", data_dir / "java"
        jaas.write_text(
            "Server {\n    org.apache.zookeeper.server.auth.DigestLoginModule required\n"
            f'    user_{SASL_USER}="{SASL_PASSWORD}";\n}};\n'
        )
        found = self._installation
        login = f"-Djava.security.auth.login.config={jaas}"
        java.write_text(f'#!/bin/sh\nexec {shlex.join([str(found.java), login])} "$@"\n')
        java.chmod(0o755)
        self._installation = replace(found, java=java)

    def _place_lines(self, database: Path) -> list[str]:
        return [
            *super()._place_lines(database),
            f"secureClientPort={self.secure_port}",
            "secureClientPortAddress=127.0.0.1",
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
            f"ssl.keyStore.location={self._key_store}",
            "ssl.keyStore.type=PEM",
            f"ssl.trustStore.location={self._trust_store}",
            "ssl.trustStore.type=PEM",
            "authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
            "sessionRequireClientSASLAuth=true",
        ]

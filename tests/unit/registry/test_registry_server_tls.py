"""How a ZooKeeper server of ours is configured for TLS."""

from pathlib import Path

from registry.quorum import EnsembleServer, QuorumSettings
from registry.server_files import ServerFiles
from registry.server_tls import ServerTls


def test_clients_and_servers_are_shown_the_certificate() -> None:
    """Both have the same files, read again when replaced; clients are not asked for certificates."""
    files = ServerFiles(Path("/data/tls"))
    lines = ServerTls(2181, "/home/root.pem", "/home/ca.pem").lines("0.0.0.0", 2281, files)
    assert {
        "secureClientPort=2281",
        "secureClientPortAddress=0.0.0.0",
        "sslQuorum=true",
        "ssl.keyStore.location=/data/tls/server.pem",
        "ssl.quorum.keyStore.location=/data/tls/server.pem",
        "ssl.quorum.trustStore.location=/data/tls/trusted.pem",
        "ssl.clientAuth=none",
        "sslQuorumReloadCertFiles=true",
        "client.certReload=true",
    } <= set(lines)
    assert not [line for line in lines if line.startswith("clientPort")]


def test_other_servers_reach_one_whose_plain_port_is_for_its_host(tmp_path: Path) -> None:
    """Where it listens for them does not follow from where it listens without TLS."""
    own = EnsembleServer(1, "zk1", 2888, 3888, "127.0.0.1", 2181)
    (tmp_path / "data").mkdir()
    for bind_address, said in (("0.0.0.0", "true"), ("127.0.0.1", "false"), ("", "false")):
        settings = QuorumSettings(own, (), "secret", bind_address)
        assert f"quorumListenOnAllIPs={said}" in settings.write(
            tmp_path, tmp_path / "data", tmp_path / "zoo.cfg"
        )

"""What a host in a container of Docker's finds out before its fabric is there."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certificates import HOST, Keys

from fabric.docker_host import USAGE, channel_of, main
from registry.channel import PLAIN, ChannelSettings
from registry.errors import ChannelIncomplete, ChannelNotSecured


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """An authority and a server's certificate."""
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def server(keys: Keys) -> Iterator[str]:
    """A port that answers by TLS only, as a ZooKeeper server that follows."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.server)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as encrypted:
                    encrypted.recv(4)
                    encrypted.sendall(b"Zookeeper version: 3.8.0\nMode: follower\n")
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"{HOST}:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_how_zookeeper_is_talked_to(keys: Keys) -> None:
    """The variables are those of the command line, and its rules count."""
    assert channel_of({"ZOOKEEPER_TLS": "0"}) == PLAIN
    assert channel_of({"ZOOKEEPER_CA": str(keys.trust)}) == ChannelSettings(tls=True, ca=str(keys.trust))
    assert channel_of({"ZOOKEEPER_TLS": "true", "ZOOKEEPER_ANY_HOST_NAME": "1"}).any_host_name
    with pytest.raises(ChannelIncomplete, match="ZOOKEEPER_CERTIFICATE"):
        channel_of({"ZOOKEEPER_KEY": "/me.key"})
    with pytest.raises(ChannelNotSecured, match=r"gone\.pem"):
        channel_of({"ZOOKEEPER_CA": "/gone.pem"})


def test_a_server_with_tls_is_found(server: str, keys: Keys, capfd: pytest.CaptureFixture[str]) -> None:
    """Also below a path, and while another server of the ensemble is away."""
    environment = {"ZOOKEEPER_CA": str(keys.trust)}
    assert main(["wait", f"127.0.0.1:1,{server}/fabrics/shop", "0"], environment) == 0
    assert capfd.readouterr().out == ""


def test_why_none_is_found(server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is said at once, and at the end with what to change."""
    foreign = Keys(tmp_path / "other")
    assert main(["wait", server, "1"], {"ZOOKEEPER_CA": str(foreign.trust)}) == 1
    printed = capfd.readouterr()
    assert printed.out.count("Waiting for ZooKeeper") == 1
    assert "is not trusted" in printed.out
    assert "FABRIC_WAIT_S" in printed.err
    assert main(["wait", "not an address", "1"], {}) == 1
    assert "not an address" in capfd.readouterr().err
    assert main(["look"], {}) == 2
    assert capfd.readouterr().err == USAGE


def test_what_a_client_notes(keys: Keys, tmp_path: Path) -> None:
    """Every later command of the host knows the way."""
    environment = {"ZOOKEEPER_PASSWORD": "secret", "ZOOKEEPER_CA": str(keys.trust)}
    assert main(["note", str(tmp_path), "zk:2281"], environment) == 0
    noted = json.loads((tmp_path / "fabric.json").read_text())
    assert noted["zookeeper_url"] == "zk:2281"
    assert noted["zookeeper_channel"] == {"tls": True, "ca": str(keys.trust)}

"""`mq-create` with connectors, and `certificate-create`, as they are typed, against a registry in memory."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.memory_session import MemorySession

from fabric.cli.context import CommandContext
from fabric.cli.main import fabric
from fabric.home import Home
from fabric.store import ContainerStore, ProfileStore

Run = Callable[..., Result]


@pytest.fixture
def run(session: MemorySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; it must end with the exit code given."""
    monkeypatch.setattr(CommandContext, "session", session)
    monkeypatch.setattr(CommandContext, "current_container", "root")
    monkeypatch.setenv("FABRIC_HOME", str(tmp_path))

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(fabric, arguments)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run


def test_connectors_and_their_ports(run: Run, profiles: ProfileStore) -> None:
    """Several can be named, also with TLS and of one protocol; who has no certificates is told of them."""
    result = run(
        "mq-create", "--connectors", "openwire,openwire+ssl wss", "--connectors", "inside",
        "-D", "inside-protocol=auto", "--port", "inside=61620", "--port", "openwire+ssl=61617", "shop",
    )  # fmt: skip
    assert "certificate-create" in result.stderr
    [values] = profiles.get("mq-broker-default.shop", "1.0").configuration.values()
    assert values["connectors"] == "openwire openwire+ssl wss inside"
    assert (values["inside-protocol"], values["inside-port"], values["openwire+ssl-port"]) == (
        "auto",
        "61620",
        "61617",
    )


def test_ssl_gives_each_connector_a_second_one(run: Run, profiles: ProfileStore) -> None:
    """As in the original, whose broker with TLS has all connectors twice."""
    run("mq-create", "--ssl", "--connectors", "openwire ws", "-D", "ssl.keyStore=/etc/mq.pem", "shop")
    [values] = profiles.get("mq-broker-default.shop", "1.0").configuration.values()
    assert (values["connectors"], values["ssl"]) == ("openwire ws openwire+ssl wss", "true")


def test_certificates_are_made(run: Run, containers: ContainerStore, tmp_path: Path) -> None:
    """For the containers of this host, with the names and addresses by which they are reached."""
    home = Home(tmp_path)
    assert "name one with --container" in run("certificate-create", code=2).output
    home.container("root").make()
    containers.set_field("root", "localip", "192.0.2.7")
    containers.set_field("root", "bindaddress", "0.0.0.0")
    [authority, root] = json.loads(
        run("certificate-create", "--host", "mq.example.com", "--output", "json").stdout
    )
    assert (authority["subject"], authority["path"]) == ("Fabric CA", str(home.authority_certificate))
    assert (root["subject"], root["path"]) == ("root", str(home.container_certificate("root")))
    assert {"192.0.2.7", "127.0.0.1", "localhost", "mq.example.com"} <= set(root["hosts"])
    assert "0.0.0.0" not in root["hosts"]
    before = home.authority_certificate.read_bytes()
    said = run("certificate-create", "--user", "ann", "--out", str(tmp_path / "ann.pem")).output
    assert "Fabric CA" not in said
    assert f"Clients trust what is in {home.authority_certificate}" in said
    assert (tmp_path / "ann.pem").exists()
    run("certificate-create", "--user", "ann", "--new-authority")
    assert home.authority_certificate.read_bytes() != before


def test_certificates_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    """Unknown containers, wrong numbers of days, one file for several."""
    for arguments, code, said in (
        (["--container", "nobody"], 1, "Container nobody does not exists!"),
        (["--container", "root", "--user", "ann", "--out", str(tmp_path / "x.pem")], 2, "--out is for one"),
        (["--user", "ann", "--days", "0"], 1, "1 to 3650 days, not 0"),
        (["--user", "../ann"], 1, "User name '../ann' is invalid"),
        (["--container", "root", "--host", "a..b"], 1, "'a..b' is neither a host's name nor an address"),
    ):
        assert said in run("certificate-create", *arguments, code=code).output
    assert not (tmp_path / "x.pem").exists()

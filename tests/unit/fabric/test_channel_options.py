"""What the command line says of how ZooKeeper is talked to."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fabric.cli.channel import channel_of, channel_options
from fabric.cli.context import ONLY_TLS, CommandContext
from fabric.cli.main import fabric as fabric_command
from fabric.home import Home, RegistryAddress
from registry.channel import PLAIN, ChannelSettings

LOGIN = {"zookeeper_sasl_user": "shop", "zookeeper_sasl_password": "secret"}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({}, None),
        ({"zookeeper_url": "zk:2181", "zookeeper_tls": None}, None),
        ({"zookeeper_tls": True}, ChannelSettings(tls=True)),
        ({"zookeeper_ca": Path("/ca.pem")}, ChannelSettings(tls=True, ca="/ca.pem")),
        ({"zookeeper_ca": Path("ca.pem")}, ChannelSettings(tls=True, ca=str(Path("ca.pem").absolute()))),
        (
            {"zookeeper_certificate": Path("/me.pem"), "zookeeper_key": Path("/me.key")},
            ChannelSettings(tls=True, certificate="/me.pem", key="/me.key"),
        ),
        ({"zookeeper_any_host_name": True}, ChannelSettings(tls=True, any_host_name=True)),
        (LOGIN, ChannelSettings(sasl_user="shop", sasl_password="secret")),
    ],
)
def test_what_is_meant(given: dict[str, object], meant: ChannelSettings | None) -> None:
    """Files mean TLS, and their paths hold wherever a later process runs."""
    assert channel_of(given) == meant


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"zookeeper_key": Path("/me.key")}, "name that with --zookeeper-certificate"),
        ({"zookeeper_sasl_password": "secret"}, "name him with --zookeeper-sasl-user"),
        ({"zookeeper_sasl_user": "shop"}, "give it with --zookeeper-sasl-password"),
    ],
)
def test_what_is_missing(given: dict[str, object], why: str) -> None:
    """Half of something is refused with the other half's name; a script is not asked."""
    with CliRunner().isolation(), pytest.raises(click.UsageError, match=why):
        channel_of(given)


def test_a_password_that_is_kept_is_not_asked_for(tmp_path: Path) -> None:
    """That of the same user at the same ensemble; a host in Docker has the user in its environment."""
    kept = ChannelSettings(sasl_user="shop", sasl_password="secret")
    Home(tmp_path).write_registry_address(RegistryAddress("zk:2281", "secret", kept))
    user = {"zookeeper_sasl_user": "shop"}
    assert CommandContext(tmp_path, channel=user).channel == kept
    with CliRunner().isolation():
        for context in (
            CommandContext(tmp_path, "other:2281", channel=user),
            CommandContext(tmp_path, channel={"zookeeper_sasl_user": "ann"}),
        ):
            with pytest.raises(click.UsageError, match="password of"):
                _ = context.channel


def test_what_the_home_says_is_for_its_own_ensemble(tmp_path: Path) -> None:
    """Another ensemble is not talked to as this fabric's; what is given goes before."""
    kept = ChannelSettings(tls=True, ca="/ca.pem")
    Home(tmp_path).write_registry_address(RegistryAddress("zk:2281", "secret", kept))
    assert CommandContext(tmp_path).channel == kept
    assert CommandContext(tmp_path, "zk:2281").channel == kept
    assert CommandContext(tmp_path, "other:2181").channel == PLAIN
    assert CommandContext(tmp_path, channel={"zookeeper_tls": True}).channel == kept
    other = CommandContext(tmp_path, channel={"zookeeper_ca": "/other.pem"}).channel
    assert other == ChannelSettings(tls=True, ca="/other.pem")
    assert CommandContext(tmp_path, "other:2181", channel={"zookeeper_tls": True}).channel == ONLY_TLS
    assert CommandContext(tmp_path / "nothing", "other:2181").channel == PLAIN


def test_help_shows_them_where_an_ensemble_is_first_named() -> None:
    """All commands have them; those that look after containers do not repeat them."""
    for command, shown in (("create", True), ("join", True), ("container-list", False)):
        output = CliRunner().invoke(fabric_command, [command, "--help"]).output
        assert all((max(option.opts, key=len) in output) == shown for option in channel_options()), output
    assert "--zookeeper-tls" in CliRunner().invoke(fabric_command, ["--help"]).output


def test_a_server_of_our_own_has_its_own_certificates(tmp_path: Path) -> None:
    """Files without an ensemble that they belong to are refused before anything is done."""
    words = [
        "create",
        "--home",
        str(tmp_path),
        "--new-user=a",
        "--new-user-password=b",
        "--zookeeper-ca=ca.pem",
    ]
    result = CliRunner().invoke(fabric_command, words)
    assert result.exit_code == 2
    assert "name it with --zookeeper-url" in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []

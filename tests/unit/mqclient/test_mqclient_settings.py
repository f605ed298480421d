"""Where the registry is found."""

from pathlib import Path

import pytest

from mqclient.discovery import RegistryAddress
from mqclient.settings import SettingsError, registry_address, tls_files
from mqclient.tls import TlsFiles
from registry.channel import PLAIN, ChannelSettings


def home(folder: Path, content: str | None = None) -> dict[str, str]:
    """An environment whose fabric has this file."""
    if content is not None:
        (folder / "fabric.json").write_text(content, "utf-8")
    return {"FABRIC_HOME": str(folder)}


FILE = '{"zookeeper_url": "file:1", "zookeeper_password": "of-file", "more": 1}'


def test_defaults(tmp_path: Path) -> None:
    """With nothing said, the registry is where the original looked for it."""
    assert registry_address({}, home(tmp_path)) == RegistryAddress("localhost:2181", "admin")


def test_the_file_of_the_fabric_is_read(tmp_path: Path) -> None:
    """On the fabric's own host nothing has to be said."""
    assert registry_address({}, home(tmp_path, FILE)) == RegistryAddress("file:1", "of-file")


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    """Environment variables are nearer than the file."""
    environment = home(tmp_path, FILE) | {
        "FABRIC_ZOOKEEPER_URL": "env:1",
        "FABRIC_ZOOKEEPER_PASSWORD": "of-env",
    }
    assert registry_address({}, environment) == RegistryAddress("env:1", "of-env")


def test_properties_go_over_the_environment(tmp_path: Path) -> None:
    """The command line is nearest; an empty password means none."""
    environment = home(tmp_path, FILE) | {
        "FABRIC_ZOOKEEPER_URL": "env:1",
        "FABRIC_ZOOKEEPER_PASSWORD": "of-env",
    }
    properties = {"zookeeper.url": "option:1", "zookeeper.password": ""}
    assert registry_address(properties, environment) == RegistryAddress("option:1", "")


def test_the_file_is_not_read_when_nothing_is_missing(tmp_path: Path) -> None:
    """A damaged file does not disturb who does not need it."""
    properties = {"zookeeper.url": "option:1", "zookeeper.password": "x"}
    assert registry_address(properties, home(tmp_path, "{")).url == "option:1"


def test_the_files_password_is_for_the_files_registry(tmp_path: Path) -> None:
    """Another registry does not get this fabric's password."""
    assert registry_address({"zookeeper.url": "other:1"}, home(tmp_path, FILE)).password == "admin"
    assert registry_address({"zookeeper.url": "file:1"}, home(tmp_path, FILE)).password == "of-file"


@pytest.mark.parametrize("content", ["{", "[]", '{"zookeeper_url": 1}'])
def test_a_damaged_file_is_told(tmp_path: Path, content: str) -> None:
    """The error names the file."""
    with pytest.raises(SettingsError, match=r"fabric\.json"):
        registry_address({}, home(tmp_path, content))


def test_files_for_tls_are_named_as_javas(tmp_path: Path) -> None:
    """Properties go over the environment; with nothing said, nothing is asked for."""
    assert not tls_files({}, {}).is_given
    properties = {"javax.net.ssl.trustStore": "a", "javax.net.ssl.keyStore": "b"}
    environment = {"FABRIC_TRUST_STORE": "x", "FABRIC_KEY_STORE_KEY": "c", "FABRIC_KEY_STORE_PASSWORD": "d"}
    assert tls_files(properties, environment) == TlsFiles("a", "b", "c", "d")
    assert tls_files(properties, environment).is_given


SECURED = """{"zookeeper_url": "file:1", "zookeeper_password": "x",
              "zookeeper_channel": {"tls": true, "ca": "/file.pem"}}"""


def test_how_the_registry_is_talked_to(tmp_path: Path) -> None:
    """What is given goes over the file, and what the file says is for its own registry only."""
    of_file = ChannelSettings(tls=True, ca="/file.pem")
    assert registry_address({}, home(tmp_path, SECURED)).channel == of_file
    assert registry_address({"zookeeper.url": "other:1"}, home(tmp_path, SECURED)).channel == PLAIN
    environment = home(tmp_path, SECURED) | {"FABRIC_ZOOKEEPER_CA": "/env.pem"}
    assert registry_address({}, environment).channel == ChannelSettings(tls=True, ca="/env.pem")
    properties = {
        "zookeeper.ssl.trustStore.location": "ca.pem",
        "zookeeper.ssl.keyStore.location": "me.pem",
        "zookeeper.ssl.keyStore.key": "me.key",
        "zookeeper.ssl.hostnameVerification": "false",
        "zookeeper.sasl.user": "shop",
        "zookeeper.sasl.password": "secret",
    }
    assert registry_address(properties, environment).channel == ChannelSettings(
        True, "ca.pem", "me.pem", "me.key", True, "shop", "secret"
    )
    secure = registry_address({"zookeeper.client.secure": "true"}, home(tmp_path))
    assert secure.channel == ChannelSettings(tls=True)
    any_name = {"zookeeper.ssl.hostnameVerification": "false", "zookeeper.url": "other:1"}
    assert registry_address(any_name, home(tmp_path)).channel == PLAIN


@pytest.mark.parametrize(
    ("properties", "content", "why"),
    [
        ({"zookeeper.sasl.user": "shop"}, "{}", "give it with zookeeper.sasl.password"),
        ({"zookeeper.sasl.password": "secret"}, "{}", "name him with zookeeper.sasl.user"),
        ({"zookeeper.ssl.keyStore.key": "me.key"}, "{}", "name that with zookeeper.ssl.keyStore.location"),
        ({}, '{"zookeeper_channel": {"tls": "yes"}}', "in zookeeper_channel, tls is not a truth value"),
    ],
)
def test_half_a_security_is_none(tmp_path: Path, properties: dict[str, str], content: str, why: str) -> None:
    """What misses its other half is refused, not left out."""
    with pytest.raises(SettingsError, match=why):
        registry_address(properties, home(tmp_path, content))

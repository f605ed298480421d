"""Where the mq-client finds registry and certificates: options, environment, the fabric's own file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mqclient.discovery import RegistryAddress
from mqclient.tls import TlsFiles
from registry.channel import (
    CHANNEL,
    PLAIN,
    ChannelNames,
    ChannelSettings,
    channel_from_json,
    make_channel,
)
from registry.errors import ChannelIncomplete, InvalidRecord

DEFAULT_HOME = "~/.local/share/fabric"
FILE_NAME = "fabric.json"
TRUE = ("true", "1", "yes")

_NAMES = ChannelNames(
    "zookeeper.ssl.keyStore.location",
    "zookeeper.ssl.keyStore.key",
    "zookeeper.sasl.user",
    "zookeeper.sasl.password",
)


class SettingsError(Exception):
    """The fabric's own file cannot be used."""


def registry_address(properties: Mapping[str, str], environment: Mapping[str, str]) -> RegistryAddress:
    """The registry's URL and password, and how it is talked to.

    What the file says of these goes with the URL of the file only: another registry has another password.

    Args:
        properties: from -Dname=value.
        environment: of the process.

    Raises:
        SettingsError: the file exists and cannot be read or understood, or half of something is given.
    """
    default = RegistryAddress()
    url = properties.get("zookeeper.url") or environment.get("FABRIC_ZOOKEEPER_URL")
    password = properties.get("zookeeper.password", environment.get("FABRIC_ZOOKEEPER_PASSWORD"))
    channel = _channel(properties, environment)
    if url is not None and password is not None:
        return RegistryAddress(url, password, channel or PLAIN)
    content = _read_file(environment)
    file_url = content.zookeeper_url
    if url in (None, file_url):
        password = content.zookeeper_password if password is None else password
        channel = channel or content.channel
    return RegistryAddress(
        url or file_url or default.url, default.password if password is None else password, channel or PLAIN
    )


def _channel(properties: Mapping[str, str], environment: Mapping[str, str]) -> ChannelSettings | None:
    """How the registry is talked to, under ZooKeeper's names for its own clients; None if nothing is said."""

    def find(java: str, variable: str) -> str:
        return properties.get(f"zookeeper.{java}") or environment.get(f"FABRIC_ZOOKEEPER_{variable}", "")

    said = ChannelSettings(
        find("client.secure", "TLS").lower() in TRUE,
        find("ssl.trustStore.location", "CA"),
        find("ssl.keyStore.location", "CERTIFICATE"),
        find("ssl.keyStore.key", "KEY"),
        sasl_user=find("sasl.user", "SASL_USER"),
        sasl_password=find("sasl.password", "SASL_PASSWORD"),
    )
    try:
        channel = make_channel(said, _NAMES)
    except ChannelIncomplete as error:
        raise SettingsError(str(error)) from error
    verifies = properties.get("zookeeper.ssl.hostnameVerification", "true").lower() in TRUE
    # As for Java's clients it means no TLS by itself.
    return replace(channel, any_host_name=True) if channel and channel.tls and not verifies else channel


def tls_files(properties: Mapping[str, str], environment: Mapping[str, str]) -> TlsFiles:
    """What to trust and to show: PEM files under the names of Java's system properties, or the environment's.

    Args:
        properties: from -Dname=value.
        environment: of the process.
    """

    def find(java: str, variable: str) -> str:
        return properties.get(f"javax.net.ssl.{java}") or environment.get(variable, "")

    return TlsFiles(
        trust_store=find("trustStore", "FABRIC_TRUST_STORE"),
        key_store=find("keyStore", "FABRIC_KEY_STORE"),
        key_store_key=find("keyStoreKey", "FABRIC_KEY_STORE_KEY"),
        key_store_password=find("keyStorePassword", "FABRIC_KEY_STORE_PASSWORD"),
    )


@dataclass(frozen=True, slots=True)
class _FileContent:
    zookeeper_url: str | None = None
    zookeeper_password: str | None = None
    channel: ChannelSettings | None = None


def _read_file(environment: Mapping[str, str]) -> _FileContent:
    home = environment.get("FABRIC_HOME") or DEFAULT_HOME
    path = Path(home).expanduser() / FILE_NAME
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return _FileContent()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} cannot be read: it is not a JSON object")
    try:
        channel = channel_from_json(content.get(CHANNEL, {}))
    except InvalidRecord as error:
        raise SettingsError(f"{path} cannot be read: in {CHANNEL}, {error}") from error
    return _FileContent(
        _text(path, content, "zookeeper_url"), _text(path, content, "zookeeper_password"), channel
    )


def _text(path: Path, content: Mapping[str, object], key: str) -> str | None:
    value = content.get(key)
    if value is not None and not isinstance(value, str):
        raise SettingsError(f"{path} cannot be read: {key} is not a text")
    return value or None

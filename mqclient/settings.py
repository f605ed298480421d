"""Where the mq-client finds registry and certificates: options, environment, the fabric's own file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mqclient.discovery import RegistryAddress
from mqclient.tls import TlsFiles

DEFAULT_HOME = "~/.local/share/fabric"
FILE_NAME = "fabric.json"


class SettingsError(Exception):
    """The fabric's own file cannot be used."""


def registry_address(properties: Mapping[str, str], environment: Mapping[str, str]) -> RegistryAddress:
    """The registry's URL and password.

    A password of the file goes with the URL of the file only: another registry has another password.

    Args:
        properties: from -Dname=value.
        environment: of the process.

    Raises:
        SettingsError: the file exists and cannot be read or understood.
    """
    default = RegistryAddress()
    url = properties.get("zookeeper.url") or environment.get("FABRIC_ZOOKEEPER_URL")
    password = properties.get("zookeeper.password", environment.get("FABRIC_ZOOKEEPER_PASSWORD"))
    if url is not None and password is not None:
        return RegistryAddress(url, password)
    file_url, file_password = _read_file(environment)
    if password is None and url in (None, file_url):
        password = file_password
    return RegistryAddress(url or file_url or default.url, default.password if password is None else password)


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


def _read_file(environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    home = environment.get("FABRIC_HOME") or DEFAULT_HOME
    path = Path(home).expanduser() / FILE_NAME
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} cannot be read: it is not a JSON object")
    return _text(path, content, "zookeeper_url"), _text(path, content, "zookeeper_password")


def _text(path: Path, content: Mapping[str, object], key: str) -> str | None:
    value = content.get(key)
    if value is not None and not isinstance(value, str):
        raise SettingsError(f"{path} cannot be read: {key} is not a text")
    return value or None

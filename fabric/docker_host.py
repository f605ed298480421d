"""What a host in a container of Docker's asks before its fabric is there: `python -m fabric.docker_host`.

`docker/fabric-host` calls it. How ZooKeeper is talked to stands in the environment, under the names that the
command line's options have there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from fabric.ensemble_health import look_at
from fabric.errors import FabricError
from fabric.home import Home, RegistryAddress
from registry.address import check_url
from registry.channel import PLAIN, ChannelNames, ChannelSettings, make_channel
from registry.encryption import check_files
from registry.errors import RegistryError

NAMES: Final = ChannelNames(
    "ZOOKEEPER_CERTIFICATE", "ZOOKEEPER_KEY", "ZOOKEEPER_SASL_USER", "ZOOKEEPER_SASL_PASSWORD"
)
TRUE: Final = frozenset({"1", "true", "yes", "on", "t", "y"})
"""What the command line takes for a flag that is set, too. Source: click."""
POLL_S: Final = 0.5
USAGE: Final = "usage: python -m fabric.docker_host wait URL SECONDS | note HOME URL\n"


def channel_of(environment: Mapping[str, str]) -> ChannelSettings:
    """How ZooKeeper is talked to. Raises ChannelIncomplete, ChannelNotSecured."""

    def is_set(name: str) -> bool:
        return environment.get(name, "").lower() in TRUE

    said = ChannelSettings(
        is_set("ZOOKEEPER_TLS"),
        environment.get("ZOOKEEPER_CA", ""),
        environment.get("ZOOKEEPER_CERTIFICATE", ""),
        environment.get("ZOOKEEPER_KEY", ""),
        is_set("ZOOKEEPER_ANY_HOST_NAME"),
        environment.get("ZOOKEEPER_SASL_USER", ""),
        environment.get("ZOOKEEPER_SASL_PASSWORD", ""),
    )
    channel = make_channel(said, NAMES) or PLAIN
    check_files(channel)
    return channel


def wait_for_zookeeper(
    url: str,
    channel: ChannelSettings,
    timeout_s: float,
    say: Callable[[str], None],
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Wait until a server of the ensemble serves, and say why none does whenever that changes.

    Raises:
        RegistryUnavailable: `url` is no address.
        FabricError: none does in time.
    """
    url = check_url(url)
    deadline_s = time.monotonic() + timeout_s
    told = ""
    while True:
        found = look_at(url, channel)
        if any(server.mode for server in found):
            return
        why = "; ".join(f"{server.address}: {server.problem}" for server in found)
        if time.monotonic() >= deadline_s:
            raise FabricError(
                f"No ZooKeeper serves at {url}. {why}", "FABRIC_WAIT_S says how long is waited."
            )
        if why != told:
            say(f"Waiting for ZooKeeper at {url}. {why}")
            told = why
        wait(POLL_S)


def note(home: Home, url: str, password: str, channel: ChannelSettings) -> None:
    """Write down where the fabric is, for the commands of a host without containers. Raises FabricError."""
    home.make()
    home.write_registry_address(RegistryAddress(url, password, channel))


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do what is said; returns the exit code."""

    def say(text: str) -> None:
        sys.stdout.write(f"fabric-host: {text}\n")
        sys.stdout.flush()

    try:
        match arguments:
            case ["wait", url, seconds] if seconds.isdigit():
                wait_for_zookeeper(url, channel_of(environment), int(seconds), say)
            case ["note", folder, url]:
                password = environment.get("ZOOKEEPER_PASSWORD", "")
                note(Home(Path(folder)), url, password, channel_of(environment))
            case _:
                sys.stderr.write(USAGE)
                return 2
    except (FabricError, RegistryError) as error:
        sys.stderr.write(f"fabric-host: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

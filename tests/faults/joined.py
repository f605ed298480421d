"""Registers a container on a host of its own: ``python -m faults.joined NAME ADDRESS PROFILE ZOOKEEPER_URL``.

For labs that bring their containers' processes along.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fabric.addresses import address_fields
from fabric.home import Home, RegistryAddress
from fabric.store import ContainerStore, ProfileStore
from registry.session import Session


def main(arguments: Sequence[str]) -> None:
    """Write the container's records, and where the registry is."""
    name, address, profile, url = arguments
    password = os.environ["ZOOKEEPER_PASSWORD"]
    home = Home(Path(os.environ["FABRIC_HOME"]))
    home.make()
    home.write_registry_address(RegistryAddress(url, password))
    home.write_root_name(name)
    session = Session(url, password)
    session.start()
    try:
        fields = address_fields(address, None, None)
        ContainerStore(session).create(
            name,
            profiles=[profile],
            version=ProfileStore(session).default_version(),
            fields={**fields, "ip": f"${{zk:{name}/{fields['resolver']}}}"},
            options={"type": "root"},
        )
    finally:
        session.close()


if __name__ == "__main__":
    main(sys.argv[1:])

"""The systemd units of a host: one for its root container, one that ends the rest before the host goes down.

    fabric@<root>.service        the process of the root container; its children and its ZooKeeper outlive
                                 it, as they do without systemd (`KillMode=process`)
    fabric-host@<root>.service   does nothing while it runs; stopped after the other one, and before network
                                 and shared file systems go, it ends what is left: children, ZooKeeper

Source: systemd.service(5), systemd.kill(5), systemd.exec(5), systemd.special(7).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from string import Template
from typing import Final

from fabric.errors import FabricError

UNITS: Final = ("fabric@.service", "fabric-host@.service")
FOLDER: Final = Path("/etc/systemd/system")
OPEN_FILES: Final = 65_536
_HOMES: Final = ("/home", "/root", "/run/user")
_FORBIDDEN: Final = re.compile(r"[^\w@%+=:,./-]")
"""What systemd would have to be told in quotes; a path with it is refused."""


class UnitsNotWritten(FabricError):
    """The units cannot be made."""


@dataclass(frozen=True, slots=True)
class Host:
    """What the units are made for.

    Attributes:
        home: FABRIC_HOME.
        user: who runs the fabric.
        python: the interpreter with the package.
        shared: directories of stores outside the home, which must be mounted and writable.
        environment: further variables, such as ZOOKEEPER_HOME.
    """

    home: Path
    user: str
    python: Path
    shared: Sequence[Path] = ()
    environment: dict[str, str] = field(default_factory=dict)


def unit_texts(host: Host) -> dict[str, str]:
    """The units by their names. Raises `UnitsNotWritten`."""
    for path in (host.home, host.python, *host.shared):
        if _FORBIDDEN.search(str(path)) or not path.is_absolute():
            raise UnitsNotWritten(
                f"{path} cannot stand in a unit.", "Use an absolute path without blanks and quotes."
            )
    places = [str(path).replace("%", "%%") for path in (host.home, *host.shared)]
    values = {
        "home": places[0],
        "user": host.user,
        "python": str(host.python).replace("%", "%%"),
        "writable": " ".join(places),
        "protect_home": _protect_home(
            (host.home, host.python, *host.shared, *map(Path, host.environment.values()))
        ),
        "open_files": str(OPEN_FILES),
        "environment": "".join(
            f'Environment="{name}={value}"\n'.replace("%", "%%")
            for name, value in sorted(host.environment.items())
        ),
    }
    folder = resources.files("fabric").joinpath("systemd_units")
    return {name: Template(folder.joinpath(name).read_text()).substitute(values) for name in UNITS}


def _protect_home(needed: Sequence[Path]) -> str:
    """Hide people's homes, unless something that is needed lies there, or leads there."""
    places = {place for path in needed for place in (path, path.resolve())}
    lies_there = any(place.is_relative_to(folder) for place in places for folder in _HOMES)
    return "read-only" if lies_there else "yes"


def write_units(host: Host, folder: Path) -> list[Path]:
    """Write the units, replacing earlier ones; returns their paths. Raises `UnitsNotWritten`."""
    written = []
    for name, text in unit_texts(host).items():
        path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o644)
        except OSError as error:
            raise UnitsNotWritten(
                f"{path} cannot be written: {error.strerror}.",
                "Run it as root, or write the units elsewhere with --directory.",
            ) from error
        written.append(path)
    return written

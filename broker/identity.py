"""What a broker says of itself, to its clients and to operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata


@dataclass(frozen=True, slots=True)
class BrokerIdentity:
    """The same for one mastership.

    Attributes:
        broker_id: of this mastership.
        name: as configured.
        urls: where clients reach it, by the scheme of the connector: `tcp`, `ssl`, `stomp` …
        data_directory: of its journal, empty if there is none.
        services: all URLs of its connectors, in the order in which they are configured.
        group: its group; empty if there is none.
        version: of the program; empty if it is not known.
        started: when it became the master, milliseconds since the epoch; 0 if that is not known.
    """

    broker_id: str = "NOT_SET"
    name: str = "localhost"
    urls: Mapping[str, str] = field(default_factory=dict)
    data_directory: str = ""
    services: tuple[str, ...] = ()
    group: str = ""
    version: str = ""
    started: int = 0

    @property
    def url(self) -> str:
        """The one that most clients use."""
        return self.urls.get("tcp") or next(iter(self.urls.values()), "")


@cache
def program_version() -> str:
    """The version of what runs here; empty if it is not installed."""
    try:
        return metadata.version("fabric-mq")
    except metadata.PackageNotFoundError:
        return ""

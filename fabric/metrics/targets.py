"""Where the metrics of a fabric's containers are, for Prometheus to find: its HTTP service discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from fabric.store import ContainerStore

if TYPE_CHECKING:
    from registry.session import Session

URL_FIELD: Final = "metrics"
"""Field of a container's configuration that says where its metrics are."""


def read_targets(session: Session) -> list[dict[str, Any]]:
    """The containers that serve metrics, as JSON of Prometheus' `http_sd`. Blocks; call it in a thread.

    A container that was stopped in order has taken its URL away; one that died has left it.

    Raises:
        RegistryError: the registry cannot be read.
    """
    containers = ContainerStore(session)
    found = []
    for name in containers.names():
        parts = urlsplit(containers.field(name, URL_FIELD) or "")
        if parts.netloc and parts.scheme in ("http", "https"):
            labels = {
                "container": name,
                "__metrics_path__": parts.path or "/metrics",
                "__scheme__": parts.scheme,
            }
            found.append({"targets": [parts.netloc], "labels": labels})
    return found

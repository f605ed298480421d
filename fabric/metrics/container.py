"""The figures of a container: its services', and its own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from broker.identity import program_version
from fabric.metrics.model import Figures, Kind, Metric

if TYPE_CHECKING:
    from fabric.home import Home
    from fabric.services import ServiceContext

INFO = Metric("container_info", Kind.GAUGE, "1; which program it runs.", ("version",))
SERVICES = Metric("container_services", Kind.GAUGE, "Services that run in it.")
CERTIFICATE = Metric(
    "container_certificate_expiry_timestamp_seconds",
    Kind.GAUGE,
    "When the certificate of `certificate-create` in its folder expires, seconds since 1970.",
)
METRICS: Final = [INFO, SERVICES, CERTIFICATE]

log = logging.getLogger(__name__)


def gather(context: ServiceContext) -> list[Figures]:
    """What the services of a container have counted; in the reactor's thread.

    One that fails costs the others nothing.
    """
    own = Figures(context.container)
    own.add(INFO, 1, program_version())
    own.add(SERVICES, len(context.services))
    found = [own]
    for pid, service in sorted(context.services.items()):
        figures = getattr(service, "figures", None)
        if figures is None:
            continue
        try:
            found.append(figures())
        except Exception:
            log.exception("The figures of %s could not be gathered", pid)
    return found


def add_certificate(figures: Figures, home: Home) -> None:
    """Say when a container's certificate expires, if it has one; reads a file, so call it in a thread."""
    from cryptography import x509  # noqa: PLC0415 - takes long to import

    try:
        data = home.container_certificate(figures.container).read_bytes()
        expires = x509.load_pem_x509_certificate(data).not_valid_after_utc
    except (OSError, ValueError):
        return
    figures.add(CERTIFICATE, expires.timestamp())

"""Certificates of this host: whether they are valid, and how long."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdict, Verdicts, not_checked, ok, problem, warning
from registry.address import reached_here
from registry.quorum import parse_servers
from registry.server import LOG_FILE, TLS_FOLDER
from registry.server_files import FilesUnusable, ServerFiles, read_material

if TYPE_CHECKING:
    from cryptography import x509

    from fabric.doctor.scene import Scene

DAYS_WARNING: Final = 30
KEY_STORES: Final = ("ssl.keyStore", "ssl.trustStore")
"""Properties of a broker that name files with certificates."""
RENEW: Final = "Make it anew: fabric certificate-create"
AUTHORITY_KEYS: Final = frozenset({"ca-key.pem", "ca-next-key.pem"})
"""Files in the folder of certificates that hold none."""


def expiry(scene: Scene) -> Verdicts:
    """All certificates in the home, and those that brokers and connections with ZooKeeper are given."""
    now = datetime.datetime.fromtimestamp(scene.machine.now_s(), datetime.UTC)
    found = {path for path in scene.home.certificates.glob("**/*.pem") if path.name not in AUTHORITY_KEYS}
    for settings in scene.broker_settings:
        found |= {Path(settings.properties[key]) for key in KEY_STORES if settings.properties.get(key)}
    if scene.home.has_fabric():
        channel = scene.home.read_registry_address().channel
        found |= {Path(file) for file in (channel.ca, channel.certificate) if file}
    for path in sorted(found):
        yield _verdict(path, now)
    if not found:
        yield ok("There are no certificates on this host.")


def _verdict(path: Path, now: datetime.datetime) -> Verdict:
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415 - takes long to import

    try:
        content = path.read_bytes()
        if b"-----BEGIN" not in content:
            return not_checked(f"{path} is no PEM file.", "Look at it with: openssl pkcs12 or keytool -list")
        certificate = load_pem_x509_certificates(content)[0]
    except OSError as error:
        return problem(f"{path}, which is used for TLS, cannot be read: {error.strerror}.", RENEW)
    except ValueError as error:
        return problem(f"{path} holds no certificate that can be read: {error}.", RENEW)
    return _of_time(path, certificate, now)


def _of_time(path: Path, certificate: x509.Certificate, now: datetime.datetime) -> Verdict:
    ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    days = (ends - now).days
    if ends <= now:
        return problem(f"{path} has ended on {ends:%Y-%m-%d}: TLS with it fails.", RENEW)
    if begins > now:
        return problem(
            f"{path} is not valid before {begins:%Y-%m-%d %H:%M} UTC.", "Is this host's clock right?"
        )
    if days < DAYS_WARNING:
        return warning(f"{path} ends in {days} days, on {ends:%Y-%m-%d}.", RENEW)
    return ok(f"{path} is valid until {ends:%Y-%m-%d}.")


def shown_by_zookeeper(scene: Scene) -> Verdicts:
    """Whether ZooKeeper servers of this host show what was put down for them, and could."""
    for name in scene.home.container_names():
        settings = scene.home.container(name).read_managed_zookeeper()
        if settings is None or not settings.certificate:
            continue
        shown = scene.machine.shown((reached_here(settings.host), settings.port))
        try:
            material = read_material(Path(settings.certificate), Path(settings.authority))
            for server in parse_servers(settings.server).values():
                material.prove(server.host)
        except FilesUnusable as error:
            yield problem(
                f"ZooKeeper of container {name} cannot take over {settings.certificate}: {error}",
                f"The server goes on with what it had. {RENEW} --container {name}",
            )
        else:
            if ServerFiles(Path(settings.data_directory) / TLS_FOLDER).is_refused(Path(settings.certificate)):
                yield problem(
                    f"ZooKeeper of container {name} did not serve with {settings.certificate}, "
                    "and has the one before again.",
                    f"See {Path(settings.data_directory) / LOG_FILE}. {RENEW} --container {name}",
                )
                continue
            if shown is None:
                continue  # it does not run
            if shown == material.leaf:
                yield ok(f"ZooKeeper of container {name} shows {settings.certificate}.")
            else:
                yield warning(
                    f"ZooKeeper of container {name} still shows another certificate than "
                    f"{settings.certificate}.",
                    "Its container has it taken over, one server after the other, while all others serve; "
                    f"what it waits for: fabric container-logs {name}",
                )


CHECKS: Final = (
    Check("certificate.expiry", "how long certificates are valid", expiry),
    Check("certificate.zookeeper", "whether ZooKeeper shows the certificates there are", shown_by_zookeeper),
)

"""Certificates of this host: whether they are valid, and how long."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdict, Verdicts, ok, problem, warning

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene

DAYS_WARNING: Final = 30
RENEW: Final = "Make it anew: fabric certificate-create"


def expiry(scene: Scene) -> Verdicts:
    """All certificates in the home, and those that brokers of this host are given in their profiles."""
    now = datetime.datetime.fromtimestamp(scene.machine.now_s(), datetime.UTC)
    found = sorted(scene.home.certificates.glob("**/*.pem"))
    found = [path for path in found if path.name != "ca-key.pem"]
    for path in found:
        yield _verdict(path, now)
    if not found:
        yield ok("The fabric has made no certificates on this host.")


def _verdict(path: Path, now: datetime.datetime) -> Verdict:
    from cryptography import x509  # noqa: PLC0415 - takes long to import

    try:
        certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except ValueError as error:
        return problem(f"{path} holds no certificate that can be read: {error}.", RENEW)
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


CHECKS: Final = (Check("certificate.expiry", "how long certificates are valid", expiry),)

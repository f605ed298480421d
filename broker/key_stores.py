"""What is in the files of certificates and keys: PEM, or PKCS#12 as Java's `keytool` writes it."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates, load_pkcs12

from broker.errors import CertificatesUnusable

PKCS12_SUFFIXES: Final = frozenset({".p12", ".pfx", ".pkcs12"})
WARNING_DAYS: Final = 30
"""How long before its end a certificate is warned of, as public authorities do in their mails."""


def is_pkcs12(path: Path) -> bool:
    """Whether a file is taken for PKCS#12, by its name."""
    return path.suffix.lower() in PKCS12_SUFFIXES


def certificates_of(path: Path, password: str) -> str:
    """The certificates in a file as PEM: the one with the key first, then all others.

    Raises:
        CertificatesUnusable: it cannot be read.
    """
    if not is_pkcs12(path):
        return _read(path).decode("ascii", "replace")
    store = _open(path, password)
    found = [each for each in (store.cert, *store.additional_certs) if each is not None]
    return "".join(each.certificate.public_bytes(Encoding.PEM).decode("ascii") for each in found)


@contextmanager
def pem_file(path: Path, password: str) -> Iterator[Path]:
    """A PEM file with what a file has, for OpenSSL, which reads no other; of PKCS#12 it lies in memory only.

    Raises:
        CertificatesUnusable: it cannot be read, or has no key.
    """
    if not is_pkcs12(path):
        yield path
        return
    key = _open(path, password).key
    if key is None:
        raise CertificatesUnusable(f"{path} has no key")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = os.memfd_create("certificate")
    try:
        with open(file, "wb", closefd=False) as out:
            out.write(pem + certificates_of(path, password).encode("ascii"))
        yield Path(f"/proc/self/fd/{file}")
    finally:
        os.close(file)


def first_certificate(path: Path, password: str) -> x509.Certificate | None:
    """A server's own certificate in a file, None if there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(certificates_of(path, password).encode("ascii"))
    except ValueError:
        return None


def end_of(path: Path, certificate: x509.Certificate, now: datetime.datetime) -> str:
    """What is to be said about a certificate that ends soon, or has ended; otherwise empty."""
    end = certificate.not_valid_after_utc
    days = (end - now).days
    if days >= WARNING_DAYS:
        return ""
    if end <= now:
        return f"The certificate in {path} has expired on {end:%Y-%m-%d}."
    when = "within a day" if not days else "in 1 day" if days == 1 else f"in {days} days"
    return f"The certificate in {path} expires {when}, on {end:%Y-%m-%d}."


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificatesUnusable(f"{path} cannot be read: {error.strerror}") from error


def _open(path: Path, password: str) -> PKCS12KeyAndCertificates:
    try:
        return load_pkcs12(_read(path), password.encode() or None)
    except ValueError as error:
        raise CertificatesUnusable(f"{path} is no PKCS#12, or its password is wrong") from error

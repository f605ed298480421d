"""The certificates that a fabric makes itself: an authority, and what it signs for containers and users.

    FABRIC_HOME/certificates/       0700
      ca.pem                        0644  the authority's certificate: whom brokers and clients trust
      ca-key.pem                    0600  its key; it never leaves this host
      <container>.pem               0600  a container's certificate, the authority's, and the container's key
      users/<user>.pem              0600  a user's certificate, the authority's, and the user's key

Nothing of it is in the registry. A container on another host is given its file, and `ca.pem`, by copying.
What is signed for a container cannot log in as a user, and what is signed for a user is no broker's: the
extended key usage says so, and OpenSSL looks at it.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fabric.errors import CertificatesInvalid
from fabric.home import DIRECTORY_MODE, SECRET_FILE_MODE
from fabric.names import validate_container_name, validate_user_name

AUTHORITY_DAYS = 3650
"""How long an authority signs. The original's generated key stores were valid as long."""
DAYS = 825
"""How long a certificate is valid unless something else is said: the longest that Apple's clients take."""
DAYS_MAX = AUTHORITY_DAYS
CLOCK_SKEW = datetime.timedelta(hours=1)
"""Clocks of other hosts may be behind by so much."""
COMMON_NAME_MAX = 64
"""Characters. Source: X.520, ub-common-name."""
HOSTS_MAX = 100
"""Names and addresses in one certificate; more do not fit into what clients accept as a chain."""
_PUBLIC_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Certificate:
    """One that was made.

    Attributes:
        path: where it lies, with its key.
        subject: whose it is: a container, a user, or `Fabric CA`.
        hosts: names and addresses it is for; empty for users.
        expires: the day after which it is worthless.
    """

    path: Path
    subject: str
    hosts: tuple[str, ...]
    expires: datetime.datetime

    def to_json(self) -> dict[str, Any]:
        """The record for scripts."""
        return {
            "path": str(self.path),
            "subject": self.subject,
            "hosts": list(self.hosts),
            "expires": self.expires.isoformat(timespec="seconds"),
        }


class Authority:
    """The fabric's certificate authority, in a folder of this host.

    Args:
        folder: `FABRIC_HOME/certificates`.
        now: the time; the present if left out.
    """

    def __init__(self, folder: Path, now: datetime.datetime | None = None) -> None:
        self._folder = folder
        self._now = now or datetime.datetime.now(datetime.UTC)
        self.certificate_path = folder / "ca.pem"
        self._key_path = folder / "ca-key.pem"

    @property
    def exists(self) -> bool:
        """Whether it can sign."""
        return self.certificate_path.exists() and self._key_path.exists()

    def create(self) -> Certificate:
        """Make a new authority; what an earlier one has signed is worth nothing to who trusts this one.

        Raises:
            CertificatesInvalid: the files cannot be written.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"Fabric CA {secrets.token_hex(4)}")
        expires = self._now + datetime.timedelta(days=AUTHORITY_DAYS)
        certificate = (
            self._builder(name, name, key.public_key(), expires)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(self._key_path, _pem_of(key))
        _write(self.certificate_path, certificate.public_bytes(serialization.Encoding.PEM), _PUBLIC_MODE)
        return Certificate(self.certificate_path, "Fabric CA", (), expires)

    def sign_container(self, name: str, hosts: Sequence[str], path: Path, days: int = DAYS) -> Certificate:
        """Make a container's certificate and key.

        Args:
            name: of the container.
            hosts: names and addresses that clients connect to.
            path: where to write.
            days: how long it is valid.

        Raises:
            CertificatesInvalid, InvalidName: as they say; nothing was written.
        """
        validate_container_name(name)
        if not 0 < len(hosts) <= HOSTS_MAX:
            raise CertificatesInvalid(f"A certificate is for 1 to {HOSTS_MAX} hosts, not {len(hosts)}.")
        names = [_host(host) for host in hosts]
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return self._sign(name, names=names, usage=usage, path=path, days=days, hosts=tuple(hosts))

    def sign_user(self, name: str, path: Path, days: int = DAYS) -> Certificate:
        """Make a user's certificate and key; arguments and errors as of `sign_container`."""
        validate_user_name(name)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        return self._sign(name, names=[], usage=usage, path=path, days=days, hosts=())

    def _sign(
        self,
        common_name: str,
        *,
        names: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        path: Path,
        days: int,
        hosts: tuple[str, ...],
    ) -> Certificate:
        if len(common_name) > COMMON_NAME_MAX:
            raise CertificatesInvalid(f"The name has more than {COMMON_NAME_MAX} characters.")
        if not 1 <= days <= DAYS_MAX:
            raise CertificatesInvalid(f"A certificate is valid for 1 to {DAYS_MAX} days, not {days}.")
        authority, authority_key = self._load()
        key = ec.generate_private_key(ec.SECP256R1())
        expires = min(self._now + datetime.timedelta(days=days), authority.not_valid_after_utc)
        builder = (
            self._builder(_name(common_name), authority.subject, key.public_key(), expires)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(authority_key, hashes.SHA256())
        chain = [each.public_bytes(serialization.Encoding.PEM) for each in (certificate, authority)]
        _write(path, b"".join((*chain, _pem_of(key))))
        return Certificate(path, common_name, hosts, expires)

    def _builder(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePublicKey,
        expires: datetime.datetime,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - CLOCK_SKEW)
            .not_valid_after(expires)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )

    def _load(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate_path.read_bytes())
            key = serialization.load_pem_private_key(self._key_path.read_bytes(), None)
        except OSError as error:
            raise CertificatesInvalid(
                f"The authority cannot be read: {error.filename}: {error.strerror}.",
                "`fabric certificate-create` on the host of the root container makes one.",
            ) from error
        except (ValueError, TypeError) as error:
            raise CertificatesInvalid(f"The authority in {self._folder} is damaged: {error}.") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise CertificatesInvalid(
                f"{self._key_path} is not the key of {self.certificate_path}.",
                "`fabric certificate-create --new-authority` makes a new one.",
            )
        if certificate.not_valid_after_utc <= self._now:
            raise CertificatesInvalid(
                f"The authority has expired on {certificate.not_valid_after_utc:%Y-%m-%d}.",
                "`fabric certificate-create --new-authority` makes a new one; then make the others anew.",
            )
        return certificate, key


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        ascii_name = text.encode("idna").decode("ascii") if not text.isascii() else text
        if not ascii_name or any(not part for part in ascii_name.rstrip(".").split(".")):
            raise ValueError(text)
        return x509.DNSName(ascii_name)
    except ValueError as error:  # UnicodeError is one
        raise CertificatesInvalid(f"{text!r} is neither a host's name nor an address.") from error


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int = SECRET_FILE_MODE) -> None:
    """Replace a file as a whole; nobody but the owner can read a key at any moment."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise CertificatesInvalid(f"{path} cannot be written: {error.strerror}.") from error

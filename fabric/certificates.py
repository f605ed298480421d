"""The certificates that a fabric makes itself: an authority, and what it signs for containers and users.

    FABRIC_HOME/certificates/       0700
      ca.pem                        0644  the authority's certificate: whom brokers and clients trust
      ca-key.pem                    0600  its key; it never leaves this host
      ca-next-key.pem               0600  the key of the authority that comes next, while a rollover has begun
      <container>.pem               0600  a container's certificate, the authority's, and the container's key
      containers/<container>.pem    0600  likewise, of a container that is called as a file of the authority
      users/<user>.pem              0600  a user's certificate, the authority's, and the user's key
      lock                          0600  held by the command that changes them

Nothing of it is in the registry. A container on another host is given its file, and `ca.pem`, by copying.
What is signed for a container cannot log in as a user, and what is signed for a user is no broker's: the
extended key usage says so, and OpenSSL looks at it.

A rollover replaces the authority without a moment in which anybody is not trusted who should be: `ca.pem`
has both authorities first (`begin`), then the new one signs (`switch`), then the old one goes (`finish`).
Which of them signs is said by `ca-key.pem` alone, so that the switch is one rename.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fabric.errors import CertificatesInvalid
from fabric.home import DIRECTORY_MODE, SECRET_FILE_MODE
from fabric.host_lock import hold
from fabric.names import validate_container_name, validate_user_name
from fabric.replacing import replace_file

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
AUTHORITY_NAME = "Fabric CA"
"""How the names of authorities begin; others in `ca.pem` were put there by somebody, and stay."""
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


class Stage(StrEnum):
    """How far a rollover is; the value is what scripts see."""

    SETTLED = "settled"
    """There is one authority."""
    BEGUN = "begun"
    """A second one is trusted, too, and signs nothing yet."""
    SWITCHED = "switched"
    """The new one signs; the old one is still trusted."""


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
        self._next_key_path = folder / "ca-next-key.pem"
        self._own_paths = (self.certificate_path, self._key_path, self._next_key_path)

    @contextlib.contextmanager
    def changing(self, doing: str, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
        """Be the only command that changes the authority and what it has signed here.

        Args:
            doing: the command.
            say: told once whom is waited for.

        Raises:
            HostLocked: another one is at it all the time; nothing was changed.
            CertificatesInvalid: the folder cannot be written.
        """
        path = self._folder / "lock"
        with contextlib.ExitStack() as held:
            try:
                self._folder.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
                held.enter_context(hold(path, doing, say=say))
            except OSError as error:
                raise CertificatesInvalid(f"{path} cannot be written: {error.strerror}.") from error
            yield

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder

    @property
    def exists(self) -> bool:
        """Whether it can sign."""
        return self.certificate_path.exists() and self._key_path.exists()

    def create(self) -> Certificate:
        """Make a new authority; what an earlier one has signed is worth nothing to who trusts this one.

        Raises:
            CertificatesInvalid: the files cannot be written.
        """
        certificate, key = self._make()
        _remove(self._next_key_path)
        _write(self._key_path, _pem_of(key))
        self._write_trusted([certificate])
        return self.describe(certificate)

    def describe(self, certificate: x509.Certificate) -> Certificate:
        """One of its own certificates, for people and scripts."""
        return Certificate(self.certificate_path, AUTHORITY_NAME, (), certificate.not_valid_after_utc)

    def stage(self) -> Stage:
        """How far a rollover is. Raises CertificatesInvalid if the files are damaged."""
        if self._next() is not None:
            return Stage.BEGUN
        return Stage.SWITCHED if self._others() else Stage.SETTLED

    def begin(self) -> x509.Certificate:
        """Make the next authority, which is trusted from now on and signs later; again, it changes nothing.

        Raises:
            CertificatesInvalid: the rollover before is not finished, or files cannot be read or written.
        """
        stage = self.stage()
        if stage is Stage.SWITCHED:
            raise CertificatesInvalid(
                "The rollover before this one is not finished: an old authority is still trusted.",
                "`fabric certificate-rollover finish` drops it.",
            )
        found = self._next()
        if found is not None:
            return found
        trusted = self.trusted()
        certificate, key = self._make()
        _write(self._next_key_path, _pem_of(key))  # without its certificate in ca.pem it counts for nothing
        self._write_trusted([*trusted, certificate])
        return certificate

    def switch(self) -> None:
        """Let the next authority sign; the old one stays trusted, and its key is gone.

        Raises:
            CertificatesInvalid: no rollover has begun, or files cannot be read or written.
        """
        stage = self.stage()
        if stage is Stage.SETTLED:
            raise CertificatesInvalid(
                "No rollover has begun: there is one authority.",
                "`fabric certificate-rollover begin` makes the next one.",
            )
        if stage is Stage.BEGUN:
            try:
                self._next_key_path.replace(self._key_path)
            except OSError as error:
                raise CertificatesInvalid(f"{self._key_path} cannot be written: {error.strerror}.") from error
        own = self._own()[0]
        self._write_trusted([own, *(each for each in self.trusted() if each != own)])

    def finish(self) -> list[x509.Certificate]:
        """Trust the old authority no longer; again, it changes nothing.

        Returns:
            what was dropped.

        Raises:
            CertificatesInvalid: the new one does not sign yet, or files cannot be read or written.
        """
        if self.stage() is Stage.BEGUN:
            raise CertificatesInvalid(
                "The old authority still signs; nothing was dropped.",
                "`fabric certificate-rollover switch` lets the new one sign.",
            )
        dropped = self._others()
        if dropped:
            self._write_trusted([each for each in self.trusted() if each not in dropped])
        return dropped

    def trusted(self) -> list[x509.Certificate]:
        """All that `ca.pem` has. Raises CertificatesInvalid if it cannot be read."""
        with self._reading():
            return x509.load_pem_x509_certificates(self.certificate_path.read_bytes())

    def signs(self, certificate: x509.Certificate) -> bool:
        """Whether an authority is the one that signs now. Raises CertificatesInvalid as `trusted`."""
        return self._own()[0] == certificate

    def has_signed(self, certificate: x509.Certificate, *, now: bool = False) -> bool:
        """Whether a certificate is from an authority of ours that is trusted.

        Args:
            certificate: somebody's.
            now: only the one that signs now counts.
        """
        authorities = [self._own()[0]] if now else self.authorities()
        return any(_is_from(certificate, authority) for authority in authorities)

    def authorities(self) -> list[x509.Certificate]:
        """Those in `ca.pem` that are the fabric's own."""
        own = self._own()[0]
        return [each for each in self.trusted() if each == own or _is_ours(each)]

    def _others(self) -> list[x509.Certificate]:
        own = self._own()[0]
        return [each for each in self.authorities() if each != own]

    def _next(self) -> x509.Certificate | None:
        if not self._next_key_path.exists():
            return None
        with self._reading():
            key = serialization.load_pem_private_key(self._next_key_path.read_bytes(), None)
        return next((each for each in self.trusted() if each.public_key() == key.public_key()), None)

    def _make(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"{AUTHORITY_NAME} {secrets.token_hex(4)}")
        certificate = (
            self._builder(name, name, key.public_key(), self._now + datetime.timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return certificate, key

    def _write_trusted(self, certificates: Sequence[x509.Certificate]) -> None:
        content = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)
        _write(self.certificate_path, content, _PUBLIC_MODE)

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
        if path.resolve() in (each.resolve() for each in self._own_paths):
            raise CertificatesInvalid(f"{path} is the authority's own file; it stays.", "Name another one.")
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

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CertificatesInvalid(
                f"The authority cannot be read: {error.filename}: {error.strerror}.",
                "`fabric certificate-create` on the host of the root container makes one.",
            ) from error
        except (ValueError, TypeError) as error:
            raise CertificatesInvalid(f"The authority in {self._folder} is damaged: {error}.") from error

    def _own(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """Who signs: the one of those trusted whose key is here."""
        trusted = self.trusted()
        with self._reading():
            key = serialization.load_pem_private_key(self._key_path.read_bytes(), None)
        own = [each for each in trusted if each.public_key() == key.public_key()]
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not own:
            raise CertificatesInvalid(
                f"{self._key_path} is not the key of {self.certificate_path}.",
                "`fabric certificate-create --new-authority` makes a new one.",
            )
        return own[0], key

    def _load(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        certificate, key = self._own()
        if certificate.not_valid_after_utc <= self._now:
            raise CertificatesInvalid(
                f"The authority has expired on {certificate.not_valid_after_utc:%Y-%m-%d}.",
                "`fabric certificate-create --new-authority` makes a new one; then make the others anew.",
            )
        return certificate, key


def common_name(certificate: x509.Certificate) -> str:
    """Whose it is; empty if that is not said."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _is_ours(certificate: x509.Certificate) -> bool:
    return common_name(certificate).startswith(f"{AUTHORITY_NAME} ")


def _is_from(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


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


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CertificatesInvalid(f"{path} cannot be removed: {error.strerror}.") from error


def _write(path: Path, content: bytes, mode: int = SECRET_FILE_MODE) -> None:
    """Replace a file as a whole; nobody but the owner can read a key at any moment."""
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        replace_file(path, content, mode)
    except OSError as error:
        raise CertificatesInvalid(f"{path} cannot be written: {error.strerror}.") from error

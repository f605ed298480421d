"""Certificates that are made anew: a new key, for the same names, from the authority that signs now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from fabric.certificates import DAYS, Authority, Certificate, common_name
from fabric.errors import CertificatesInvalid


@dataclass(frozen=True, slots=True)
class Issued:
    """A file that an authority of the fabric has signed.

    Attributes:
        path: the file.
        name: of the container or user.
        hosts: names and addresses it is for; empty for users.
        is_current: whether the authority that signs now has signed it.
    """

    path: Path
    name: str
    hosts: tuple[str, ...]
    is_current: bool

    @property
    def is_user(self) -> bool:
        """Whether it is a user's."""
        return not self.hosts


def issued(authority: Authority) -> list[Issued]:
    """What lies beside the authority and is from it; files of others are left alone.

    Raises:
        CertificatesInvalid: the authority cannot be read.
    """
    authority.trusted()  # that there is one
    found = (_issued(path, authority) for path in sorted(authority.folder.glob("**/*.pem")))
    return [each for each in found if each is not None]


def chosen(found: Iterable[Issued], containers: Iterable[str], users: Iterable[str]) -> list[Issued]:
    """Those of some containers and users; all, if none are named.

    Raises:
        CertificatesInvalid: somebody has none.
    """
    by_name = {(each.is_user, each.name): each for each in found}
    wanted = [*((False, name) for name in containers), *((True, name) for name in users)]
    for is_user, name in wanted:
        if (is_user, name) not in by_name:
            kind = "user" if is_user else "container"
            raise CertificatesInvalid(
                f"There is no certificate of the {kind} {name} on this host; nothing was made.",
                f"`fabric certificate-create --{kind} {name}` makes one.",
            )
    return [by_name[each] for each in dict.fromkeys(wanted)] if wanted else list(by_name.values())


def renew(authority: Authority, old: Issued, days: int = DAYS) -> Certificate:
    """Make one anew in its place. Raises CertificatesInvalid as `Authority.sign_container`."""
    if old.is_user:
        return authority.sign_user(old.name, old.path, days)
    return authority.sign_container(old.name, old.hosts, old.path, days)


def _issued(path: Path, authority: Authority) -> Issued | None:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        extensions = certificate.extensions
        usage = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (OSError, ValueError, x509.ExtensionNotFound):
        return None  # a key, an authority, or nothing of ours
    if not authority.has_signed(certificate):
        return None
    hosts = _hosts(extensions) if ExtendedKeyUsageOID.SERVER_AUTH in usage else ()
    return Issued(path, common_name(certificate), hosts, authority.has_signed(certificate, now=True))


def _hosts(extensions: x509.Extensions) -> tuple[str, ...]:
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(str(each.value) for each in names if isinstance(each, x509.DNSName | x509.IPAddress))

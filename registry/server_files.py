"""The certificate files that a ZooKeeper server of ours reads: copies of what was put down for it.

    <data directory>/tls/       0700
      server.pem                0600  its certificate, the chain to its authority, and its key
      trusted.pem               0600  whose certificates it takes from other servers
      earlier.pem               0600  what server.pem was, until the server has served with the new one
      refused                   0600  which file it did not serve with, as `file_identity` tells it

A server reads only what was found to be good. What is broken or half written where it was put, or does not
belong together, never reaches it, also when it has to be started meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import logging
import os
import re
import ssl
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from registry.encryption import tls_reason

log = logging.getLogger(__name__)

FILE_BYTES_MAX = 1024 * 1024
"""A certificate, its chain and its key take a few thousand; ZooKeeper reads the file into memory."""

HANDSHAKE_STEPS_MAX = 10
"""A handshake takes two or three turns of each side."""

PEM_LINE = 64
"""Characters in a line of PEM. Source: RFC 7468, section 2."""

_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME."""

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(
    rb"-----BEGIN (?P<kind>[A-Z ]*)PRIVATE KEY-----(?P<base64>.+?)-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL
)
_KEYS_OF_JAVA = (
    bytes.fromhex("06092a864886f70d010101"),
    bytes.fromhex("06072a8648ce3d0201"),
    bytes.fromhex("06072a8648ce380401"),
)
"""Object identifiers of RSA, EC and DSA: the keys that ZooKeeper reads. Source: its class PemReader."""


class FilesUnusable(Exception):
    """A server cannot be given these files."""


@dataclass(frozen=True)
class Material:
    """What a server shows, and whom it trusts.

    Attributes:
        content: PEM of its certificate, the chain, and the key.
        trusted: PEM of the authorities by their fingerprints.
    """

    content: bytes = field(repr=False)
    trusted: Mapping[str, bytes] = field(repr=False)

    @cached_property
    def leaf(self) -> bytes:
        """The certificate itself, as it is shown (DER)."""
        return _der(_certificates(self.content)[0])

    @cached_property
    def signer(self) -> str:
        """Fingerprint of the authority that the certificate is from; empty if it is not trusted."""
        return next(
            (each for each, pem in self.trusted.items() if not _refusal(self.content, pem, check_time=False)),
            "",
        )

    def prove(self, name: str) -> None:
        """Make sure that who trusts these authorities takes the certificate.

        Args:
            name: what the server is called by the others; empty: any name will do.

        Raises:
            FilesUnusable: it has ended, is for other names, or from somebody else.
        """
        if refusal := _refusal(self.content, b"\n".join(self.trusted.values()), name):
            raise FilesUnusable(f"Who trusts the authority does not take the certificate: {refusal}.")


def fingerprint(pem: bytes) -> str:
    """SHA-256 of a certificate, hexadecimal."""
    return hashlib.sha256(_der(pem)).hexdigest()


def file_identity(path: Path) -> object:
    """What changes when a file is replaced or written; None if it is not there."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size
    return None


def read_material(certificate: Path, authority: Path) -> Material:
    """Read the files of a server.

    Args:
        certificate: PEM file of the certificate, its chain, and its key.
        authority: PEM file of who is trusted.

    Raises:
        FilesUnusable: one cannot be read, or ZooKeeper could not use it; the file is named.
    """
    content, others = _read(certificate), _read(authority)
    with naming(authority):
        trusted = {fingerprint(block): block for block in _certificates(others)}
        check_names(trusted)
    with naming(certificate):
        content = b"".join([*_certificates(content), _key(content)])
        _server_context(content)
    return Material(content, trusted)


def check_names(trusted: Mapping[str, bytes]) -> None:
    """Refuse authorities of one name: ZooKeeper keeps them by name, the last one only.

    Raises:
        ValueError: there are such.
        OSError: they cannot be used.
    """
    names = [each["subject"] for each in _client_context(b"".join(trusted.values())).get_ca_certs()]
    if len(names) != len({str(name).lower() for name in names}):
        raise ValueError(
            "ZooKeeper knows authorities by their names, and two that it is to trust now have the same"
        )


class ServerFiles:
    """The copies that one server reads. Only its container writes them."""

    def __init__(self, folder: Path) -> None:
        """Make it; nothing is touched.

        Args:
            folder: of the copies.
        """
        self._folder = folder.absolute()
        self.certificate = self._folder / "server.pem"
        self.authority = self._folder / "trusted.pem"
        self._earlier = self._folder / "earlier.pem"
        self._refused = self._folder / "refused"
        self._known: tuple[object, Material | None] | None = None

    def installed(self) -> Material | None:
        """What the server reads; None if there is nothing yet that it could use."""
        identity = file_identity(self.certificate), file_identity(self.authority)
        if self._known is None or self._known[0] != identity:
            try:
                self._known = identity, read_material(self.certificate, self.authority)
            except FilesUnusable:
                self._known = identity, None
        return self._known[1]

    def install_certificate(self, material: Material) -> None:
        """Have the server show this one, and keep the one before. Raises OSError."""
        before = self.installed()
        if before is not None and before.content != material.content and not self._earlier.exists():
            self._write(self._earlier, before.content)
        self._write(self.certificate, material.content)

    def confirm(self) -> None:
        """The server serves with what it shows now. Raises OSError."""
        self._earlier.unlink(missing_ok=True)

    def take_back(self, certificate: Path, name: str, trusted: Mapping[str, bytes]) -> bool:
        """Have the server show the one before again, if it is still good; returns whether it is.

        Args:
            certificate: what was put down, and is not taken over any more until it is put down again.
            name: what the server is called by the others.
            trusted: who has to have signed it.

        Raises:
            OSError: the copies cannot be written.
        """
        try:
            before = Material(_read(self._earlier), trusted)
            before.prove(name)
        except FilesUnusable:
            return False
        self._write(self._refused, repr(file_identity(certificate)).encode())
        self._write(self.certificate, before.content)
        self.confirm()
        return True

    def is_refused(self, certificate: Path) -> bool:
        """Whether the server did not serve with what lies there."""
        try:
            return self._refused.read_text() == repr(file_identity(certificate))
        except OSError:
            return False

    def install_trusted(self, trusted: Iterable[bytes]) -> None:
        """Have the server trust these authorities, PEM each. Raises OSError."""
        self._write(self.authority, b"".join(trusted))

    def prepare(self, certificate: Path, authority: Path, name: str) -> None:
        """Bring the copies up to date before the server is started, as far as nobody else has to know.

        What cannot be used is told in the log, and the server goes on with what it had. An authority is only
        added: whether the others still need one that is gone is not known here. A certificate of an authority
        that was not trusted before waits until it is known that the others trust it.

        Args:
            certificate: what was put down for it.
            authority: likewise.
            name: what it is called by others.

        Raises:
            FilesUnusable: it cannot be used, and there is nothing from before.
            OSError: the copies cannot be written.
        """
        before = self.installed()
        try:
            material = read_material(certificate, authority)
        except FilesUnusable as error:
            if before is None:
                raise
            log.error("%s The ZooKeeper server is started with what it had before.", error)
            return
        try:
            material.prove(name)
        except FilesUnusable as error:
            log.error("%s: %s", certificate, error)
            if before is not None:
                return
        trusted = {**material.trusted, **(before.trusted if before else {})}
        try:
            with naming(authority):
                check_names(trusted)
        except FilesUnusable as error:
            log.error("%s", error)
            return
        if before is None or trusted.keys() != before.trusted.keys():
            self.install_trusted(trusted.values())
        if before is None or (
            material.content != before.content
            and material.signer in before.trusted
            and not self.is_refused(certificate)
        ):
            self.install_certificate(material)

    def _write(self, path: Path, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise FilesUnusable(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > FILE_BYTES_MAX:
        raise FilesUnusable(
            f"{path} has more than {FILE_BYTES_MAX} bytes; it is no PEM file of certificates."
        )
    return content


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Tell by FilesUnusable which file it is for that something fails."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise FilesUnusable(f"{path} cannot be used: {tls_reason(error)}.") from error


def _certificates(content: bytes) -> list[bytes]:
    """The certificates in it, PEM each, without what ZooKeeper stumbles over: blanks at ends of lines."""
    if not (found := _CERTIFICATE.findall(content)):
        raise ValueError("there is no certificate in it")
    return [ssl.DER_cert_to_PEM_cert(_der(block)).encode() for block in found]


def _der(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))


def _key(content: bytes) -> bytes:
    """The key in it, PEM. Refuses keys that OpenSSL reads and ZooKeeper does not."""
    found = _KEY.search(content)
    if found is None:
        raise ValueError("there is no key in it; certificate and key are in one file")
    if found["kind"]:
        raise ValueError(
            f"its key is of the kind {found['kind'].decode().strip()}, which ZooKeeper does not read: "
            "`openssl pkcs8 -topk8 -nocrypt` makes it one of PKCS#8"
        )
    try:
        key = base64.b64decode(b"".join(found["base64"].split()), validate=True)
    except binascii.Error as error:
        raise ValueError("its key is damaged") from error
    if not any(kind in key[:64] for kind in _KEYS_OF_JAVA):
        raise ValueError("ZooKeeper reads keys of the kinds RSA, EC and DSA only")
    text = base64.b64encode(key)
    lines = [text[begin : begin + PEM_LINE] for begin in range(0, len(text), PEM_LINE)]
    return b"\n".join([b"-----BEGIN PRIVATE KEY-----", *lines, b"-----END PRIVATE KEY-----", b""])


def _server_context(content: bytes) -> ssl.SSLContext:
    """What shows a certificate. Raises OSError: it cannot be used, or the key is of another one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:  # OpenSSL reads keys from files only; this one is nowhere on the disk
        os.write(descriptor, content)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", None, "")
    finally:
        os.close(descriptor)
    return context


def _client_context(trusted: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=trusted.decode("ascii"))
    return context


def _refusal(content: bytes, trusted: bytes, name: str = "", *, check_time: bool = True) -> str:
    """Why somebody who trusts these does not take the certificate; empty if he does."""
    client_context = _client_context(trusted)
    client_context.check_hostname = bool(name)
    if not check_time:
        client_context.verify_flags |= _NO_CHECK_TIME
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name or None)
    server = _server_context(content).wrap_bio(to_server, to_client, server_side=True)
    left: Collection[Callable[[], None]] = [client.do_handshake, server.do_handshake]
    try:
        for _ in range(HANDSHAKE_STEPS_MAX):
            left = [step for step in left if not _is_done(step)]
            if not left:
                return ""
    except ssl.SSLCertVerificationError as error:
        return (error.verify_message or tls_reason(error)).rstrip(".")
    except ssl.SSLError as error:
        return tls_reason(error)
    return "the handshake does not end"


def _is_done(handshake: Callable[[], None]) -> bool:
    try:
        handshake()
    except ssl.SSLWantReadError:
        return False
    return True

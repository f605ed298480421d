"""A connector's certificates: read from their files, read again when these change.

What is read again and cannot be used changes nothing: who connects is served with what was read before, and
the log says so once. Source: nginx and HAProxy need a signal for this; ActiveMQ a restart.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from broker.errors import CertificatesUnusable
from broker.key_stores import certificates_of, end_of, first_certificate, is_pkcs12, pem_file
from broker.tls_config import ClientCertificates, canonical_subject

if TYPE_CHECKING:
    from broker.tls_config import TlsConfig

CHECK_S: Final = 1.0
"""How often the files are looked at, at most, while clients connect."""
NOTICE_S: Final = 60.0
"""How often it is found out whether a certificate ends soon, at most."""
PEM_BYTES_MAX: Final = 10 * 1024 * 1024
"""Of one file; a bundle of all public authorities has a quarter of a megabyte."""

Stamp = tuple[tuple[int, int, int], ...]

_log: Final = logging.getLogger("broker")
_VERIFY: Final = {
    ClientCertificates.NONE: ssl.CERT_NONE,
    ClientCertificates.WANTED: ssl.CERT_OPTIONAL,
    ClientCertificates.NEEDED: ssl.CERT_REQUIRED,
}


class CertificateStore:
    """What one connector shows to its clients, and whom it trusts.

    Args:
        config: names the files.
        connector: for the log.

    Raises:
        CertificatesUnusable: a file is missing, or holds something else.
    """

    def __init__(self, config: TlsConfig, connector: str) -> None:
        self._config = config
        self._connector = connector
        self._stamp = self._look()
        self._looked_s = 0.0
        self._context = self._read()
        self._notice = ""
        self._noticed_s = -NOTICE_S

    def context(self, now_s: float) -> ssl.SSLContext:
        """The settings for a client that connects at this time, monotonic seconds."""
        if now_s - self._looked_s >= CHECK_S:
            self._looked_s = now_s
            self._refresh()
        return self._context

    def notice(self, now_s: float) -> str:
        """Which of its certificates end soon, or have; the log says so whenever that changes.

        Args:
            now_s: seconds since the epoch.
        """
        if abs(now_s - self._noticed_s) >= NOTICE_S:
            self._noticed_s = now_s
            self._refresh()
            now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
            notice = " ".join(filter(None, (self._end_of(path, now) for path in self._config.certificates)))
            if notice and notice != self._notice:
                _log.warning("%s: %s", self._connector, notice)
            self._notice = notice
        return self._notice

    def _end_of(self, path: Path, now: datetime.datetime) -> str:
        try:
            certificate = first_certificate(path, self._config.key_password)
        except CertificatesUnusable:  # the log has said so
            return ""
        return "" if certificate is None else end_of(path, certificate, now)

    def user_of(self, certificate: bytes | None) -> str | None:
        """The user whom a verified certificate logs in, None if it logs in nobody."""
        if certificate is None or not self._config.certificate_login:
            return None
        subject = x509.load_der_x509_certificate(certificate).subject
        if self._config.users:
            return self._config.users.get(canonical_subject(subject.rfc4514_string()))
        names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value) if len(names) == 1 else None

    def _refresh(self) -> None:
        try:
            stamp = self._look()
        except CertificatesUnusable as error:
            stamp = ()
            if self._stamp:
                _log.warning("%s: the certificates stay as they are: %s", self._connector, error)
            self._stamp = stamp
            return
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._context = self._read()
        except CertificatesUnusable as error:
            _log.warning("%s: the certificates stay as they are: %s", self._connector, error)
        else:
            _log.info("%s: the certificates have been read again", self._connector)

    def _files(self) -> list[Path]:
        config = self._config
        more = [path for path in (config.trusted, config.revoked) if path is not None]
        return [*config.certificates, *config.keys, *more]

    def _look(self) -> Stamp:
        stamps = []
        for path in self._files():
            try:
                found = path.stat()
            except OSError as error:
                raise CertificatesUnusable(f"{path} cannot be read: {error.strerror}") from error
            if found.st_size > PEM_BYTES_MAX:
                raise CertificatesUnusable(f"{path} has more than {PEM_BYTES_MAX} bytes")
            stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
        return tuple(stamps)

    def _read(self) -> ssl.SSLContext:
        config = self._config
        keys = config.keys or config.certificates
        pairs = list(zip(config.certificates, keys, strict=True))
        contexts = [self._context_of(certificate, key) for certificate, key in pairs]
        default = contexts[0]
        if len(contexts) > 1:
            by_name: dict[str, ssl.SSLContext] = {}
            for (certificate, _), context in zip(pairs, contexts, strict=True):
                for name in host_names(first_certificate(certificate, config.key_password)):
                    by_name.setdefault(name, context)

            def choose(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
                found = by_name.get((name or "").lower()) or by_name.get(_wildcard(name or ""))
                if found is not None:
                    tls.context = found

            default.sni_callback = choose
        return default

    def _context_of(self, certificate: Path, key: Path) -> ssl.SSLContext:
        config = self._config
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = config.version_min
        context.maximum_version = config.version_max
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        if config.ciphers:
            try:
                context.set_ciphers(config.ciphers)
            except ssl.SSLError as error:
                raise CertificatesUnusable(
                    f"no cipher of enabledCipherSuites is known: {config.ciphers}"
                ) from error
        password = config.key_password
        try:
            with pem_file(certificate, password) as chain_pem, pem_file(key, password) as key_pem:
                context.load_cert_chain(chain_pem, key_pem, password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise CertificatesUnusable(
                f"{certificate} and its key {key} cannot be used: {_reason(error)}"
            ) from error
        context.verify_mode = _VERIFY[config.clients]
        self._trust(context)
        return context

    def _trust(self, context: ssl.SSLContext) -> None:
        for path in (self._config.trusted, self._config.revoked):
            if path is not None:
                try:
                    if is_pkcs12(path):
                        context.load_verify_locations(cadata=certificates_of(path, self._config.key_password))
                    else:
                        context.load_verify_locations(path)
                except (OSError, ValueError) as error:
                    raise CertificatesUnusable(f"{path} cannot be used: {_reason(error)}") from error
        if self._config.revoked is not None:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def host_names(certificate: x509.Certificate | None) -> list[str]:
    """The host names that a certificate is for, in lower case."""
    if certificate is None:
        return []
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def _wildcard(name: str) -> str:
    return f"*.{name.lower().partition('.')[2]}"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        with contextlib.suppress(KeyError):
            return _REASONS[reason]
        return reason.lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


_REASONS: Final = {
    "KEY_VALUES_MISMATCH": "the key is another certificate's",
    "NO_START_LINE": "there is none of it in PEM format",
    "NO_CERTIFICATE_OR_CRL_FOUND": "there is none of it in PEM format",
    "BAD_DECRYPT": "the key's password is wrong",
    "EE_KEY_TOO_SMALL": "the key is too short",
    "PEM_LIB": "there is none of it in PEM format",
}

"""What a broker's properties say about TLS: key material, client certificates, versions, ciphers, users.

Names are those of ActiveMQ's `sslContext` and of its transports' options; key stores are PEM files here.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from broker.errors import ConfigurationInvalid
from broker.values import flag, path

KEY_STORE: Final = "ssl.keyStore"
KEY_STORE_KEY: Final = "ssl.keyStoreKey"
KEY_PASSWORD: Final = "ssl.keyStoreKeyPassword"  # noqa: S105 - the name of a property
TRUST_STORE: Final = "ssl.trustStore"
REVOCATIONS: Final = "ssl.crlPath"
CERTIFICATE_LOGIN: Final = "ssl.certificateLogin"
USER_PREFIX: Final = "ssl.user."

_VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
"""What can be enabled. Older versions are broken (RFC 8996)."""


class ClientCertificates(Enum):
    """Whether clients show certificates."""

    NONE = "none"
    WANTED = "wanted"
    NEEDED = "needed"


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """How one connector speaks TLS.

    Attributes:
        certificates: PEM files with a certificate and its chain each; the host name that a client asks for
            chooses, the first is for all other names.
        keys: the PEM file of each one's key; the certificate's own file if empty.
        key_password: of the keys, if they are encrypted.
        trusted: PEM file of the authorities that sign clients' certificates; None: nobody.
        revoked: PEM file of their revocation lists; None: nothing is revoked.
        clients: whether clients show certificates.
        version_min, version_max: of TLS.
        ciphers: OpenSSL's names of what TLS 1.2 may use, separated by colons; empty: what is good.
        certificate_login: who shows a certificate needs no password.
        users: per subject of a certificate, the user; if empty, the subject's common name is the user.
    """

    certificates: tuple[Path, ...]
    keys: tuple[Path, ...] = ()
    key_password: str = field(default="", repr=False)
    trusted: Path | None = None
    revoked: Path | None = None
    clients: ClientCertificates = ClientCertificates.NONE
    version_min: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    version_max: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str = ""
    certificate_login: bool = False
    users: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(
        cls, values: Mapping[str, str], connector: str, required: bool, *, speaks_tls: bool
    ) -> TlsConfig | None:
        """What the properties say for a connector; None if it does not speak TLS.

        Args:
            values: the broker's properties.
            connector: its name.
            required: it cannot do without.
            speaks_tls: it can make use of it.

        Raises:
            ConfigurationInvalid: they say too little, or something that is not possible.
        """
        certificates = _paths(values, KEY_STORE)
        if not speaks_tls or not (certificates or required):
            return None
        if not certificates:
            raise ConfigurationInvalid(
                f"The connector {connector} speaks TLS, but {KEY_STORE} names no certificate: "
                "a PEM file with certificate, chain and key, as `fabric certificate-create` makes it."
            )
        keys = _paths(values, KEY_STORE_KEY)
        if keys and len(keys) != len(certificates):
            raise ConfigurationInvalid(f"{KEY_STORE_KEY} must name as many files as {KEY_STORE}.")
        trusted = _paths(values, TRUST_STORE)
        clients = _clients(values, connector)
        if clients is not ClientCertificates.NONE and not trusted:
            raise ConfigurationInvalid(
                f"The connector {connector} asks for clients' certificates, "
                f"but {TRUST_STORE} names no PEM file of who signs them."
            )
        revoked = _paths(values, REVOCATIONS)
        users = _users(values)
        low, high = _versions(values, f"{connector}-transport.enabledProtocols")
        return cls(
            certificates=certificates,
            keys=keys,
            key_password=values.get(KEY_PASSWORD, ""),
            trusted=trusted[0] if trusted else None,
            revoked=revoked[0] if revoked else None,
            clients=clients,
            version_min=low,
            version_max=high,
            ciphers=":".join(_names(values, f"{connector}-transport.enabledCipherSuites")),
            certificate_login=flag(values, CERTIFICATE_LOGIN, "true" if users else "false"),
            users=users,
        )


def _names(values: Mapping[str, str], key: str) -> list[str]:
    return [name.strip() for name in values.get(key, "").replace(":", ",").split(",") if name.strip()]


def _paths(values: Mapping[str, str], key: str) -> tuple[Path, ...]:
    return tuple(path(key, name.strip()) for name in values.get(key, "").split(",") if name.strip())


def _clients(values: Mapping[str, str], connector: str) -> ClientCertificates:
    if flag(values, f"{connector}-transport.needClientAuth"):
        return ClientCertificates.NEEDED
    if flag(values, f"{connector}-transport.wantClientAuth"):
        return ClientCertificates.WANTED
    return ClientCertificates.NONE


def _versions(values: Mapping[str, str], key: str) -> tuple[ssl.TLSVersion, ssl.TLSVersion]:
    names = _names(values, key) or list(_VERSIONS)
    for name in names:
        if name not in _VERSIONS:
            raise ConfigurationInvalid(f"{key} names {name!r}; possible are: {', '.join(_VERSIONS)}.")
    versions = sorted(_VERSIONS[name] for name in names)
    return versions[0], versions[-1]


def _users(values: Mapping[str, str]) -> dict[str, str]:
    users: dict[str, str] = {}
    for key, text in values.items():
        if key.startswith(USER_PREFIX) and text:
            subject = canonical_subject(text)
            if subject in users:
                raise ConfigurationInvalid(f"{key}: another user has the subject {text!r} already.")
            users[subject] = key.removeprefix(USER_PREFIX)
    return users


def canonical_subject(text: str) -> str:
    """A subject as it is compared: `CN=ann,O=shop` as RFC 4514 writes it, without spaces at commas."""
    parts = [part.partition("=") for part in text.replace("\\,", "\0").split(",")]
    renamed = [f"{name.strip().upper()}={value.strip()}" for name, _, value in parts]
    return ",".join(renamed).replace("\0", "\\,")

"""What a profile says of a port where HTTP is spoken: TLS, how much it takes, and who is in front of it.

Names and meanings are those of brokers' connectors: `docs/reference/web-ports.md`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from broker.admission import DEFAULT_LIMITS, AddressLimits
from broker.connectors import read_limits, read_proxies
from broker.errors import CertificatesUnusable, ConfigurationInvalid
from broker.proxy_protocol import Network, read_networks
from broker.values import number
from fabric.addresses import is_loopback
from fabric.errors import PidUnusable

if TYPE_CHECKING:
    from broker.certificates import CertificateStore
    from fabric.services import ServiceContext

REQUESTS_PER_SECOND: Final = 100
"""Of one address on average; ten seconds' worth may come at once. A page asks for some ten things when it is
opened, and for one or two a second while it is; so an office behind one address is not held up, and a program
that loops leaves most of the console's time to others."""

KEY_STORE: Final = "ssl.keyStore"
FORWARDERS: Final = "forwardedFor.trusted"
NOT_ENCRYPTED: Final = (
    "{what} on {address} without TLS: passwords can be read on the way. "
    "Give {pid} the property protocol = https, after: fabric certificate-create"
)


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How a port is reached, and how much it takes.

    Attributes:
        certificates: shown to clients; None: they speak HTTP.
        connections_max: at a time; further ones are closed at once.
        limits: what one address may take of the connections.
        requests_per_second: of one address; 0: without limit.
        proxies: who may say with a PROXY header whose connection it is; empty: nobody.
        requires_proxy: who may has to.
        forwarders: whose header `X-Forwarded-For` is believed; empty: nobody's.
    """

    certificates: CertificateStore | None = None
    connections_max: int = 1_000
    limits: AddressLimits = DEFAULT_LIMITS
    requests_per_second: int = 0
    proxies: tuple[Network, ...] = ()
    requires_proxy: bool = False
    forwarders: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, values: Mapping[str, str], connections_max: int) -> WebSettings:
        """Read all but the certificates.

        Args:
            values: properties.
            connections_max: unless they say something else.

        Raises:
            ConfigurationInvalid: one of them is wrong; the text names it.
        """
        connections_max = number(values, "maximumConnections", connections_max, 1, 100_000)
        proxies, requires_proxy = read_proxies(values)
        return cls(
            connections_max=connections_max,
            limits=read_limits(values, connections_max),
            requests_per_second=number(values, "requestsPerSecond", REQUESTS_PER_SECOND, 0, 100_000),
            proxies=proxies,
            requires_proxy=requires_proxy,
            forwarders=read_networks(FORWARDERS, values.get(FORWARDERS) or ""),
        )

    @property
    def scheme(self) -> str:
        """Of the port's URL."""
        return "http" if self.certificates is None else "https"

    def notice(self, pid: str, what: str, address: str) -> str:
        """What people should know: passwords can be read on the way, or the certificate ends soon.

        Args:
            pid: whose properties these are.
            what: listens, such as `the console listens`.
            address: where.
        """
        if self.certificates is not None:
            return self.certificates.notice(time.time())
        return "" if is_loopback(address) else NOT_ENCRYPTED.format(what=what, address=address, pid=pid)


def read_settings(
    pid: str, properties: Mapping[str, str], context: ServiceContext, who: str, connections_max: int
) -> WebSettings:
    """The settings of a port of the container.

    Args:
        pid: for the error.
        properties: its.
        context: of the container.
        who: listens, for the log.
        connections_max: unless the properties say something else.

    Raises:
        PidUnusable: they say something that is not possible.
    """
    values = {key: value.strip() for key, value in properties.items()}
    try:
        settings = WebSettings.parse(values, connections_max)
        return replace(settings, certificates=read_certificates(values, context, who))
    except (ConfigurationInvalid, CertificatesUnusable) as error:
        raise PidUnusable(pid, error) from error


def read_certificates(
    values: Mapping[str, str], context: ServiceContext, who: str
) -> CertificateStore | None:
    """What is shown to clients, None if HTTP is spoken.

    TLS is spoken if `ssl.keyStore` names a certificate, or if `protocol` is `https`: then the container's
    own, made by `certificate-create`, is shown if no other is named.

    Raises:
        ConfigurationInvalid, CertificatesUnusable: as they say.
    """
    protocol = values.get("protocol", "").lower()
    if protocol not in ("", "http", "https"):
        raise ConfigurationInvalid(f"protocol is {protocol!r}; possible are: http, https.")
    if protocol == "http" or not (protocol or values.get(KEY_STORE)):
        return None
    from broker.certificates import CertificateStore  # noqa: PLC0415 - only where TLS is spoken
    from broker.tls_config import TlsConfig  # noqa: PLC0415 - likewise

    own = {KEY_STORE: str(context.home.container_certificate(context.container))}
    given = {key: value for key, value in values.items() if value}
    config = TlsConfig.parse({**own, **given}, who, required=True, speaks_tls=True)
    assert config is not None
    return CertificateStore(config, who)

"""The certificates of the ZooKeeper servers that containers run, where the fabric's own ensemble speaks TLS.

A server shows the certificate of its container. On the host whose folder has the authority's key it is made
when it is missing; elsewhere it is brought there, as for brokers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fabric.errors import FabricError
from fabric.home import Home, ManagedZooKeeper


def make_certificate(home: Home, name: str, hosts: Sequence[str]) -> None:
    """Make a container's certificate, and the authority if there is none.

    Raises:
        CertificatesInvalid: the files cannot be written, or the authority has ended.
        HostLocked: another command changes certificates all the time.
    """
    from fabric.certificates import Authority  # noqa: PLC0415 - cryptography takes long to import

    authority = Authority(home.certificates)
    with authority.changing(f"fabric certificate-create --container {name}"):
        if not authority.exists:
            authority.create()
        authority.sign_container(name, hosts, home.container_certificate(name))


def secured(
    settings: ManagedZooKeeper,
    home: Home,
    name: str,
    hosts: Sequence[str],
    *,
    plain_port: int,
    authority: str,
) -> ManagedZooKeeper:
    """Return the settings of a server with TLS.

    Args:
        settings: of the server without.
        home: of this host.
        name: of the container.
        hosts: names and addresses it is reached at, for its certificate.
        plain_port: of the loopback address, where it does without.
        authority: PEM file of who signs the servers' certificates; the fabric's own if it is empty.

    Raises:
        FabricError: there is no certificate, and none can be made here.
    """
    certificate = home.container_certificate(name)
    if not certificate.exists():
        if not (home.certificates / "ca-key.pem").exists():
            raise FabricError(
                f"Container {name} has no certificate for its ZooKeeper server: {certificate} is missing.",
                "Make it where the authority is, and bring it here: "
                f"fabric certificate-create --container {name} --out {name}.pem",
            )
        make_certificate(home, name, hosts)
    trusted = authority or str(home.authority_certificate)
    return replace(settings, plain_port=plain_port, certificate=str(certificate), authority=trusted)

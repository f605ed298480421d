"""Connections with ZooKeeper's servers, encrypted where that is wanted.

Each connection reads its files anew, so certificates are replaced without a restart. What is wrong with one
is told in words that say what to do: `NotSecured`, an `OSError` as all that a socket raises.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time

from registry.channel import ChannelSettings
from registry.errors import ChannelNotSecured

SECURE_PORT = 2281
"""What ZooKeeper's guides give to `secureClientPort`."""

_EXPIRED = 10
_NAME_MISMATCH = (62, 64)
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, …_HOSTNAME_MISMATCH, …_IP_ADDRESS_MISMATCH."""


class NotSecured(ConnectionError):
    """A connection is not as safe as it was wanted, and is not made."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPROTO, reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class LoginRefused(NotSecured):
    """A server does not take the login by SASL."""


def check_files(settings: ChannelSettings) -> None:
    """Read the files that are named.

    Raises:
        ChannelNotSecured: one cannot be read or holds something else.
    """
    try:
        if settings.tls:
            tls_context(settings)
    except NotSecured as error:
        raise ChannelNotSecured(error.reason) from error


def tls_context(settings: ChannelSettings) -> ssl.SSLContext:
    """Return what connections are encrypted with.

    Raises:
        NotSecured: a file cannot be read or holds something else.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca or None)
    except (OSError, ValueError) as error:
        raise NotSecured(
            f"The authority for ZooKeeper's servers, {settings.ca}, cannot be used: {tls_reason(error)}. "
            "It is a PEM file with the certificate of who has signed theirs."
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = not settings.any_host_name
    if settings.certificate:
        key = settings.key or settings.certificate
        try:
            context.load_cert_chain(
                settings.certificate, key, ""
            )  # a key with a pass phrase is asked for else
        except (OSError, ValueError) as error:
            raise NotSecured(
                f"The certificate for ZooKeeper, {settings.certificate} with the key {key}, cannot be used: "
                f"{tls_reason(error)}. Both are PEM files, and the key is not encrypted."
            ) from error
    return context


def connect(
    address: tuple[str, int], settings: ChannelSettings, timeout_s: float, *, name: str = ""
) -> socket.socket:
    """Open a connection with a server. Blocks.

    Args:
        address: host or IP address, and port.
        settings: whether it is encrypted, and how.
        timeout_s: for all of it; it is also the timeout of the socket.
        name: what the server's certificate has to be for, if not for the host in `address`.

    Raises:
        NotSecured: it is to be encrypted, and cannot be; what to do is said.
        OSError: the server cannot be reached.
    """
    if not settings.tls:
        return socket.create_connection(address, timeout_s)
    deadline_s = time.monotonic() + timeout_s
    context = tls_context(settings)
    connection = socket.create_connection(address, timeout_s)
    name = name or address[0]
    try:
        connection.settimeout(max(deadline_s - time.monotonic(), 0.001))
        encrypted = context.wrap_socket(connection, server_hostname=name)
        encrypted.settimeout(timeout_s)
    except TimeoutError:
        connection.close()
        raise
    except (OSError, ValueError) as error:
        connection.close()
        raise NotSecured(_what_failed(f"{name}:{address[1]}", settings, error)) from error
    return encrypted


def told_reason(server: str, settings: ChannelSettings, error: BaseException | None) -> str:
    """Say why a server ended a connection right after the handshake; empty if it did not say so by TLS.

    With TLS 1.3 a server looks at our certificate when for us the handshake is over already.
    """
    return _what_failed(server, settings, error) if isinstance(error, ssl.SSLError) else ""


def connect_to_anybody(address: tuple[str, int], timeout_s: float) -> ssl.SSLSocket:
    """Open an encrypted connection with whoever is there: for questions that give nothing away. Blocks.

    Raises:
        OSError: nobody is, or he does not speak TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = socket.create_connection(address, timeout_s)
    try:
        return context.wrap_socket(connection, server_hostname=address[0])
    except (OSError, ValueError):
        connection.close()
        raise


def shown_by(address: tuple[str, int], timeout_s: float) -> bytes | None:
    """Return the certificate (DER) that somebody shows; None if nobody does. Blocks."""
    try:
        with connect_to_anybody(address, timeout_s) as connection:
            return connection.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return None


def speaks_tls(address: tuple[str, int], timeout_s: float) -> bool:
    """Whether a server that was talked to without TLS wants it. Blocks; nobody is trusted for the answer."""
    try:
        with connect_to_anybody(address, timeout_s):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # it wants a certificate
    except (OSError, ValueError):
        return False


def _what_failed(server: str, settings: ChannelSettings, error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _not_trusted(server, settings, error)
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        shown = f"the certificate {settings.certificate}" if settings.certificate else "no certificate"
        return (
            f"ZooKeeper's server {server} refuses us ({tls_reason(error)}); it was shown {shown}. "
            "Name one that its authority has signed, and its key."
        )
    return (
        f"ZooKeeper's server {server} ends the connection while TLS begins ({tls_reason(error)}). "
        f"Is it its secure port (secureClientPort, often {SECURE_PORT})? "
        "Another one speaks no TLS."
    )


def _not_trusted(server: str, settings: ChannelSettings, error: ssl.SSLCertVerificationError) -> str:
    why = (error.verify_message or tls_reason(error)).rstrip(".")
    if error.verify_code in _NAME_MISMATCH:
        do_next = (
            "Name the server in the address as its certificate does, or have one made that is for this name."
        )
    elif error.verify_code == _EXPIRED:
        do_next = "Have it renewed, or set this host's clock."
    elif settings.ca:
        do_next = f"{settings.ca} does not hold who has signed it: name the file of that authority."
    else:
        do_next = "This system does not know who has signed it: name the PEM file of that authority."
    return f"ZooKeeper's server {server} is not trusted: {why}. {do_next}"


def tls_reason(error: OSError | ValueError) -> str:
    """Say in a few words what TLS, or a file of it, has failed for."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

"""One TLS connection without its socket, for servers and clients.

::

    ciphertext ─receive_data─▶ plaintext          plaintext ─send─▶ data_to_send ─▶ ciphertext

    shaking hands ─▶ open ─▶ closed
          └─────────────────▶ failed (`TlsFailed`; the alert for the other side is in `data_to_send`)
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Final

from broker.errors import TlsFailed

READ_BYTES: Final = 64 * 1024
"""Plaintext taken at a time; a record holds 16 KiB."""

_REASONS: Final = {
    "HTTP_REQUEST": "the client speaks HTTP without TLS",
    "WRONG_VERSION_NUMBER": "this is not TLS",
    "PACKET_LENGTH_TOO_LONG": "this is not TLS",
    "RECORD_LAYER_FAILURE": "this is not TLS",
    "BAD_RECORD_TYPE": "this is not TLS",
    "UNEXPECTED_MESSAGE": "this is not TLS, or not its beginning",
    "UNSUPPORTED_PROTOCOL": "no version of TLS that both sides accept; the oldest accepted here is {oldest}",
    "VERSION_TOO_LOW": "no version of TLS that both sides accept; the oldest accepted here is {oldest}",
    "TLSV1_ALERT_PROTOCOL_VERSION": "no version of TLS that both sides accept; the oldest accepted here is "
    "{oldest}",
    "NO_SHARED_CIPHER": "no cipher that both sides accept",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the other side refuses the ciphers or the certificate offered here",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client shows no certificate, and one is needed",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "a client's certificate is required",
    "TLSV1_ALERT_UNKNOWN_CA": "the other side does not know who has signed the certificate shown here",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the other side does not accept the certificate shown here",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the other side does not accept the certificate shown here",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the certificate shown here has expired, the other side says",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the certificate shown here is revoked, the other side says",
    "UNEXPECTED_EOF_WHILE_READING": "the other side has ended the connection",
}
"""OpenSSL's reasons in words that say what to look at."""


class TlsChannel:
    """One side of one connection.

    Attributes:
        is_open: hands are shaken.
        is_closed: the other side has said that it sends no more.

    Args:
        context: OpenSSL's settings; decides also which versions and certificates there are.
        server_side: whether this is the server.
        server_name: for clients: the name that the server's certificate has to hold.
    """

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        self.is_open = False
        self.is_closed = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._oldest = context.minimum_version.name.replace("_", ".").replace("TLSv", "TLS ")
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )

    def begin(self) -> None:
        """Say the first word; only clients have one."""
        self._shake_hands()

    def receive_data(self, data: bytes) -> bytes:
        """Take ciphertext; returns the plaintext that is complete.

        Raises:
            TlsFailed: the connection is over.
        """
        self._incoming.write(data)
        if not self.is_open and not self._shake_hands():
            return b""
        parts = []
        try:
            while part := self._tls.read(READ_BYTES):
                parts.append(part)
            self.is_closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_closed = True
        except ssl.SSLError as error:
            if not parts:
                raise TlsFailed(self._reason(error)) from error
            self.is_closed = True  # what came before still counts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def send(self, data: bytes) -> None:
        """Encrypt what is to be sent; hands must be shaken."""
        self._tls.write(data)

    def close(self) -> None:
        """Say that nothing more is sent."""
        if self.is_open:
            with contextlib.suppress(ssl.SSLError):  # the other side's last word has not come, or never comes
                self._tls.unwrap()

    def data_to_send(self) -> bytes:
        """Take the ciphertext to be written."""
        return self._outgoing.read()

    @property
    def peer_certificate(self) -> bytes | None:
        """What the other side has shown, verified, as DER."""
        return self._tls.getpeercert(binary_form=True) if self.is_open else None

    @property
    def version(self) -> str:
        """Such as `TLSv1.3`."""
        return self._tls.version() or ""

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise TlsFailed(self._reason(error)) from error
        self.is_open = True
        return True

    def _reason(self, error: ssl.SSLError) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the other side's certificate is not accepted: {error.verify_message.rstrip('.')}"
        reason = error.reason or str(error)
        known = _REASONS.get(reason)
        return known.format(oldest=self._oldest) if known else reason.lower().replace("_", " ")

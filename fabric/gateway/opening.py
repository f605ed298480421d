"""The beginning of a client's connection: a PROXY header, if there is one, and what tells the protocol. Pure.

::

              header read, none expected           recognised
    header ──────────────────────────▶ protocol ───────────────▶ opened
       │                                   │ nothing that is spoken here
       └────── what cannot be read ────────┴─────────────────────▶ refused

Every port looks at the first bytes, also one with a single protocol: what could not have come from a client
never reaches a broker, and nobody can forge a PROXY header through a gateway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from broker.auto import FIRST_BYTES_MAX, recognise
from broker.errors import ProxyHeaderInvalid
from broker.proxy_protocol import Address, leading_header

TLS: Final = "tls"
OPENING_BYTES: Final = 4_096
"""Read at a time until the protocol is known, and the most that an unknown client makes the gateway keep."""
_SHOWN_BYTES: Final = 16

PLAIN_SCHEMES: Final[dict[str, tuple[str, ...]]] = {
    "openwire": ("tcp", "nio", "auto"),
    "stomp": ("stomp", "stomp+nio", "auto"),
    "mqtt": ("mqtt", "mqtt+nio", "auto"),
    "amqp": ("amqp", "amqp+nio", "auto"),
    "ws": ("ws", "auto"),
}
"""Per protocol, the schemes of brokers' URLs where it is spoken, the best first."""
TLS_SCHEMES: Final[dict[str, tuple[str, ...]]] = {
    "openwire": ("ssl", "nio+ssl", "auto+ssl", "auto"),
    "stomp": ("stomp+ssl", "stomp+nio+ssl", "auto+ssl", "auto"),
    "mqtt": ("mqtt+ssl", "mqtt+nio+ssl", "auto+ssl", "auto"),
    "amqp": ("amqp+ssl", "amqp+nio+ssl", "auto+ssl", "auto"),
    "ws": ("wss", "auto+ssl", "auto"),
}
"""The same for TLS that is passed through."""
ANY_TLS_SCHEMES: Final = ("auto+ssl", "auto")
"""The same where the protocol inside of TLS is not known: the broker has to find it out."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What has begun.

    Attributes:
        protocol: `openwire`, `stomp`, `mqtt`, `amqp` or `ws`, or `tls`.
        first: the bytes that have come of it.
    """

    protocol: str
    first: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot go on.

    Attributes:
        reason: for the log.
    """

    reason: str


class Opening:
    """One connection's beginning.

    Attributes:
        client: what a PROXY header says; None: nothing has said so.

    Args:
        protocols: what is spoken on the port.
        tls: whether TLS may come.
        plain: whether something else may.
        accepts_proxy: a PROXY header may come first.
        requires_proxy: it has to.
    """

    def __init__(
        self,
        protocols: frozenset[str],
        *,
        tls: bool = True,
        plain: bool = True,
        accepts_proxy: bool = False,
        requires_proxy: bool = False,
    ) -> None:
        self.client: Address | None = None
        self._protocols = protocols
        self._tls = tls
        self._plain = plain
        self._accepts_proxy = accepts_proxy
        self._requires_proxy = requires_proxy
        self._first = b""

    def receive_data(self, data: bytes) -> Opened | Refused | None:
        """Take what arrived; None: more has to come."""
        self._first += data
        if self._accepts_proxy:
            refused = self._read_header()
            if refused is not None or self._accepts_proxy:
                return refused
        return self._recognise() if self._first else None

    def _read_header(self) -> Refused | None:
        """Take the header off, if it is there; `_accepts_proxy` is False when that is settled."""
        first = self._first
        try:
            header = leading_header(first, required=self._requires_proxy)
        except ProxyHeaderInvalid as error:
            return Refused(str(error))
        if header is not None:
            self._accepts_proxy = False
            self.client = header.client
            self._first = first[header.size :]
        return None

    def _recognise(self) -> Opened | Refused | None:
        first = self._first
        protocol = recognise(first[:FIRST_BYTES_MAX])
        if protocol == "":
            return None
        if protocol is None:
            return Refused(f"no protocol begins so; the first bytes are {first[:_SHOWN_BYTES]!r}")
        if protocol == TLS:
            return Opened(TLS, first) if self._tls else Refused("TLS within TLS")
        if not self._plain:
            return Refused(f"{protocol} without TLS, which is required here")
        if protocol not in self._protocols:
            return Refused(f"{protocol} is not spoken here")
        return Opened(protocol, first)


def schemes_of(protocol: str, port_protocols: frozenset[str]) -> tuple[str, ...]:
    """The schemes of URLs where a client can be led.

    Args:
        protocol: as recognised; `tls` if that is passed through.
        port_protocols: what is spoken on the port.
    """
    if protocol != TLS:
        return PLAIN_SCHEMES[protocol]
    return TLS_SCHEMES[next(iter(port_protocols))] if len(port_protocols) == 1 else ANY_TLS_SCHEMES


def refusal(protocol: str, first: bytes, text: str) -> bytes:
    """What a client is told who cannot be served now, in its protocol; empty: that has no words for it.

    Args:
        protocol: as recognised.
        first: the bytes with which it began.
        text: why.
    """
    if protocol == "stomp":
        return f"ERROR\ncontent-type:text/plain\nmessage:{text}\n\n{text}\n\0\n".encode()
    if protocol == "mqtt":
        return _mqtt_refusal(first)
    return b""


def _mqtt_refusal(first: bytes) -> bytes:
    """CONNACK: server unavailable, as the version of the CONNECT has it."""
    name = first.find(b"MQ", 2)
    end = name + (4 if first[name : name + 4] == b"MQTT" else 6)
    if name < 0 or end >= len(first):
        return b""
    # [MQTT5-3.2.2.2]: 0x88 is server unavailable; no properties. [MQTT-3.2.2-4]: 3 is it in 3.1.1.
    return b"\x20\x03\x00\x88\x00" if first[end] >= 5 else b"\x20\x02\x00\x03"

"""The connector `auto`: one port for all protocols; the first bytes tell which.

Source: ActiveMQ's `auto` transport and its protocol verifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from broker.wrapping import MakeServer, Wrapper

if TYPE_CHECKING:
    from broker.serving import ServerContext

FIRST_BYTES_MAX: Final = 32
"""As many tell every protocol from all others; MQTT's name of itself ends with the 13th, OpenWire's too."""
_OPENWIRE_AT: Final = 4  # behind the frame's length
_OPENWIRE: Final = b"\x01ActiveMQ"  # the type of a WireFormatInfo, and its magic number
_STOMP: Final = (b"CONNECT\n", b"CONNECT\r", b"STOMP\n", b"STOMP\r")
_MQTT_CONNECT: Final = 0x10
_MQTT_NAMES: Final = (b"\x00\x04MQTT", b"\x00\x06MQIsdp")
_MQTT_LENGTH_BYTES_MAX: Final = 4
_SHOWN_BYTES: Final = 16


def recognise(first: bytes) -> str | None:
    """Which protocol begins with these bytes.

    Returns:
        `openwire`, `stomp`, `mqtt`, `amqp`, `ws` or `tls`; empty if more bytes have to come; None if none.
    """
    verdicts = {name: begins(first) for name, begins in _BEGINNINGS.items()}
    for name, verdict in verdicts.items():
        if verdict:
            return name
    return "" if None in verdicts.values() else None


def _begins_with(first: bytes, *wanted: bytes) -> bool | None:
    """Whether the bytes begin with one of these; None if that cannot be said yet."""
    if first.startswith(wanted):
        return True
    return None if any(each.startswith(first) for each in wanted) else False


def _is_openwire(first: bytes) -> bool | None:
    if len(first) <= _OPENWIRE_AT:
        return None if first[:1] in (b"", b"\0") else False
    return False if first[0] else _begins_with(first[_OPENWIRE_AT:], _OPENWIRE)


def _is_mqtt(first: bytes) -> bool | None:
    if not first:
        return None
    if first[0] != _MQTT_CONNECT:
        return False
    for at in range(1, _MQTT_LENGTH_BYTES_MAX + 1):
        if at >= len(first):
            return None
        if first[at] < 0x80:  # [MQTT-1.5.5]: the last byte of the length
            return _begins_with(first[at + 1 :], *_MQTT_NAMES)
    return False


_BEGINNINGS: Final[Mapping[str, Callable[[bytes], bool | None]]] = {
    "openwire": _is_openwire,
    "stomp": lambda first: _begins_with(first, *_STOMP),
    "mqtt": _is_mqtt,
    "amqp": lambda first: _begins_with(first, b"AMQP"),
    "ws": lambda first: _begins_with(first, b"GET "),
    "tls": lambda first: _begins_with(first, b"\x16\x03"),
}


class AutoServer(Wrapper):
    """One client whose protocol is not known yet.

    Args:
        makes: per protocol that is recognised, makes its server.
        context: see `ServerContext`.
        remote: the client's address.
        now_s: monotonic seconds.
        wake: asks for a turn.
    """

    def __init__(
        self,
        makes: Mapping[str, MakeServer],
        context: ServerContext,
        remote: str,
        now_s: float,
        wake: Callable[[], None],
    ) -> None:
        super().__init__(context, remote, wake)
        self._makes = makes
        self._first = b""
        self._deadline_s = now_s + context.config.detection_ms / 1000

    @property
    def deadline_s(self) -> float | None:
        """When the first bytes have to be there; then what the protocol wants."""
        return self._deadline_s if self.inner is None else self.inner.deadline_s

    def handle_deadline(self, now_s: float) -> None:
        """Give up who does not say what he speaks."""
        if self.inner is None:
            self.fail(f"no protocol recognised within {self._context.config.detection_ms} ms")
        else:
            self.inner.handle_deadline(now_s)

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Recognise the protocol, or hand on."""
        if self.inner is not None:
            self.inner.receive_data(data, now_s)
            return
        if self.closing:
            return
        first = self._first = self._first + data
        protocol = recognise(first[:FIRST_BYTES_MAX])
        if protocol == "":
            return
        make = None if protocol is None else self._makes.get(protocol)
        if make is None:
            spoken = f"{protocol} is not spoken here" if protocol else "no protocol begins so"
            self.fail(f"{spoken}; the first bytes are {first[:_SHOWN_BYTES]!r}")
            return
        self._first = b""
        self.begin(make, now_s).receive_data(first, now_s)

    def data_to_send(self) -> bytes:
        """What the protocol has to say; before it is known, nothing."""
        return b"" if self.inner is None else self.inner.data_to_send()

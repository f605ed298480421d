"""What can go wrong in MQTT.

::

    CodecError          bytes that are nothing in their encoding; the broker's own
    └── PacketInvalid       the client broke the protocol: how, where that is written, its code
"""

from __future__ import annotations

from broker.errors import CodecError
from broker.mqtt.reasons import ReasonCode

__all__ = ["CodecError", "PacketInvalid"]


class PacketInvalid(CodecError):
    """The client's packet is malformed, or not allowed now.

    Attributes:
        source: section of the specification, of 5.0 if nothing else is said.
        code: what a client of 5.0 is told.
    """

    def __init__(self, reason: str, source: str, code: ReasonCode = ReasonCode.MALFORMED_PACKET) -> None:
        super().__init__(reason)
        self.source = source
        self.code = code

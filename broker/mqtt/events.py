"""What an MQTT connection takes from its owner and tells it, besides packets."""

from __future__ import annotations

from dataclasses import dataclass

from broker.mqtt import limits
from broker.mqtt.packets import (
    Connect,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
)
from broker.mqtt.reasons import ReasonCode


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What the broker's end takes.

    Attributes:
        packet_bytes_max: of one packet, its header included; clients of 5.0 are told.
        receive_maximum: unanswered PUBLISH packets of QoS 1 and 2; likewise. Older clients may have as many
            as there are identifiers.
        topic_aliases_max: in each direction; likewise.
        keep_alive_s_max: what a client of 5.0 is told if it wants a longer one, or none; 0: as it wants.
        send_maximum: unanswered PUBLISH packets of QoS 1 and 2 that a client is sent, if it takes as many.
    """

    packet_bytes_max: int = limits.LENGTH_MAX
    receive_maximum: int = limits.RECEIVE_MAXIMUM
    topic_aliases_max: int = limits.TOPIC_ALIASES_MAX
    keep_alive_s_max: int = 0
    send_maximum: int = limits.SEND_MAXIMUM


@dataclass(slots=True)
class ProtocolViolation:
    """The client broke the protocol: nothing it sends counts any more. The last event.

    Attributes:
        reason: how.
        source: where it is written.
        code: what a client of 5.0 has been told.
    """

    reason: str
    source: str
    code: int = ReasonCode.PROTOCOL_ERROR

    def __str__(self) -> str:
        return f"{self.reason} (MQTT {self.source})"


@dataclass(slots=True)
class ClientSilent:
    """Nothing came for one and a half times the keep alive: the client counts as dead. The last event."""

    reason: str

    def __str__(self) -> str:
        return self.reason


Event = (
    Connect
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Unsubscribe
    | Disconnect
    | ProtocolViolation
    | ClientSilent
)

"""The small words of JMS: how messages are acknowledged, delivered and delivered again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

PRIORITY_DEFAULT = 4
PRIORITY_MAX = 9


class AcknowledgeMode(Enum):
    """When a received message counts as consumed."""

    AUTO = "when receive returns, or the listener has returned"
    CLIENT = "when Message.acknowledge() is called; it covers all that its session has received so far"
    DUPS_OK = "some time later; a failure may repeat messages"
    INDIVIDUAL = "when Message.acknowledge() is called, for this message only"
    TRANSACTED = "when the session's transaction is committed"


class DeliveryMode(IntEnum):
    """Whether a message survives its broker. Numbers as in JMS."""

    NON_PERSISTENT = 1
    PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class RedeliveryPolicy:
    """What happens to a message after a rollback, a recover, or an exception in a listener.

    Attributes:
        maximum_redeliveries: after so many it goes to the dead letter queue; -1: never.
        initial_redelivery_delay_ms: before it is delivered again; its consumer delivers nothing meanwhile.
    """

    maximum_redeliveries: int = 6
    initial_redelivery_delay_ms: int = 1000

"""Numbers that OpenWire's fields hold.

Source: Apache ActiveMQ's published command classes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class AckType(IntEnum):
    """MessageAck.ack_type: what a consumer says about a range of messages."""

    DELIVERED = 0  # seen by the client, not yet consumed: moves the prefetch window, nothing else
    POISON = 1  # redelivered too often: for the dead letter queue
    STANDARD = 2  # consumed, all from the first to the last of the range
    REDELIVERED = 3  # will be delivered again by the client itself
    INDIVIDUAL = 4  # consumed, this one only
    UNMATCHED = 5  # a durable subscriber's selector did not match
    EXPIRED = 6  # expired before the client could deliver it


class TransactionType(IntEnum):
    """TransactionInfo.type: one step of a transaction."""

    BEGIN = 0
    PREPARE = 1
    COMMIT_ONE_PHASE = 2
    COMMIT_TWO_PHASE = 3
    ROLLBACK = 4
    RECOVER = 5
    FORGET = 6
    END = 7


class DestinationOperation(IntEnum):
    """DestinationInfo.operation_type."""

    ADD = 0
    REMOVE = 1


# MessagePull.timeout, in milliseconds otherwise.
PULL_WAIT_FOREVER = 0
PULL_NO_WAIT = -1

# Prefetch sizes that Apache's clients ask for unless told otherwise.
QUEUE_PREFETCH_DEFAULT = 1000
BROWSER_PREFETCH_DEFAULT = 500
DURABLE_TOPIC_PREFETCH_DEFAULT = 100
TOPIC_PREFETCH_DEFAULT = 32767

SHARED: Final = "shared:"
"""What a subscription's name begins with to make it shared: OpenWire has no other place to say so."""
SHARED_DURABLE: Final = "shared-durable:"
"""The same for one that is durable, too."""

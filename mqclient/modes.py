"""The small words of JMS: how messages are acknowledged, delivered and delivered again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum

BACK_OFFS_MAX = 64
"""Steps of back-off that are worked out."""
DELAY_MS_MAX = 86_400_000.0
"""No message waits longer than a day."""
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
        redelivery_delay_ms: before each further time.
        use_exponential_back_off: a delay is the one before times the multiplier instead.
        back_off_multiplier: above 1, or there is no back-off.
        maximum_redelivery_delay_ms: longest delay with back-off; -1: none.
        use_collision_avoidance: delays but the first are made longer or shorter at random.
        collision_avoidance_percent: by at most so much.
        pre_dispatch_check: also what the broker has delivered too often before goes to the dead letter queue.
            What the broker itself delivers again, after a delay, is never taken for that.

    Source: ActiveMQ's `RedeliveryPolicy`.
    """

    maximum_redeliveries: int = 6
    initial_redelivery_delay_ms: int = 1000
    redelivery_delay_ms: int = 1000
    use_exponential_back_off: bool = False
    back_off_multiplier: float = 5.0
    maximum_redelivery_delay_ms: int = -1
    use_collision_avoidance: bool = False
    collision_avoidance_percent: int = 15
    pre_dispatch_check: bool = True

    def exceeds(self, redeliveries: int) -> bool:
        """Whether a message was redelivered too often."""
        return 0 <= self.maximum_redeliveries < redeliveries

    def delay_ms(self, redeliveries: int, chance: Callable[[], float] = random.random) -> float:
        """How long a message waits before it is delivered again.

        Args:
            redeliveries: of it so far.
            chance: gives numbers from 0 to 1, by which the delays differ.
        """
        delay_ms = float(self.initial_redelivery_delay_ms)
        for _ in range(min(redeliveries, BACK_OFFS_MAX)):
            if not (delay_ms > 0 and self.use_exponential_back_off and self.back_off_multiplier > 1):
                delay_ms = self.redelivery_delay_ms
                continue
            delay_ms = min(delay_ms * self.back_off_multiplier, DELAY_MS_MAX)
            if 0 <= self.maximum_redelivery_delay_ms < delay_ms:
                delay_ms = max(self.maximum_redelivery_delay_ms, self.redelivery_delay_ms)
        if self.use_collision_avoidance and redeliveries:
            delay_ms += delay_ms * (2 * chance() - 1) * self.collision_avoidance_percent / 100
        return delay_ms

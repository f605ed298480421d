"""A local transaction: sends and acknowledgements kept until commit or rollback."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.errors import SpaceLacking
    from broker.message import Message
    from broker.region.consumer import Consumer
    from broker.region.entry import Entry


@dataclass(slots=True, eq=False)
class Transaction:
    """What one open transaction has done so far.

    Attributes:
        sends: in the order sent.
        acknowledged: with the consumer that acknowledged it, in that order.
        bytes_held: what the sends cost in memory.
        refused: why a send of it was refused, which its sender may not have heard: it must not be committed.
    """

    sends: list[Message] = field(default_factory=list)
    acknowledged: list[tuple[Consumer, Entry]] = field(default_factory=list)
    bytes_held: int = 0
    refused: SpaceLacking | None = None

    @property
    def operations(self) -> int:
        """Sends and acknowledged messages together."""
        return len(self.sends) + len(self.acknowledged)

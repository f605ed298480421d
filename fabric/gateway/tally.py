"""What a gateway counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fabric.gateway.link import Link


@dataclass(slots=True)
class Tally:
    """Numbers that only rise.

    Attributes:
        accepted: connections that have come.
        opened: those that were led to a broker.
        waited_s: what these waited for it, in all.
        dropped: those whose master was gone.
        refused: those that were not served, by the reason.
        from_clients, from_brokers: bytes of connections that are over.
    """

    accepted: int = 0
    opened: int = 0
    waited_s: float = 0.0
    dropped: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    from_clients: int = 0
    from_brokers: int = 0

    def add(self, link: Link) -> None:
        """A connection is over."""
        self.from_clients += link.client.moved
        self.from_brokers += 0 if link.broker is None else link.broker.moved

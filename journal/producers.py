"""Which of its sends each producer made last (P3)."""

from typing import Final

PRODUCERS_MAX: Final = 20_000
"""Producers whose last sequence is remembered (P3).

A producer that was not among the last so many when the master failed may have one repeated send stored twice.
ActiveMQ remembers 64 by default (`failoverProducersAuditDepth`); a producer id takes about 150 bytes here.
"""


class LastSequences:
    """The last sequence of each of the producers seen last.

    Two generations instead of a list in order of use: one assignment per message, however many producers.
    Between half of the limit and the limit are remembered.
    """

    def __init__(self, limit: int = PRODUCERS_MAX) -> None:
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._young_max = max(limit // 2, 1)

    def record(self, producer_id: str, sequence: int) -> None:
        """Notes a sequence; a lower one than the last changes nothing."""
        last = self._young.get(producer_id)
        if last is None:
            last = self._old.get(producer_id, -1)
            if len(self._young) >= self._young_max:
                self._old = self._young
                self._young = {}
            self._young[producer_id] = max(sequence, last)
        elif sequence > last:
            self._young[producer_id] = sequence

    def get(self, producer_id: str) -> int:
        """The last sequence, -1 if the producer is not known."""
        last = self._young.get(producer_id)
        return self._old.get(producer_id, -1) if last is None else last

    def generations(self) -> list[dict[str, int]]:
        """Copies of what is remembered, the older first; recording them in this order gives the same."""
        return [self._old.copy(), self._young.copy()]

    def known(self) -> dict[str, int]:
        """All that is remembered, those seen last at the end."""
        return {producer_id: self.get(producer_id) for producer_id in (*self._old, *self._young)}

    def __len__(self) -> int:
        """Number of producers remembered."""
        return len(self._young.keys() | self._old.keys())

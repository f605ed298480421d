"""How a takeover went: what was reached how long after it was known that this broker is elected.

::

    detected ──▶ claimed ──▶ recovered ──▶ listening ──▶ published ──▶ first send
    elected      epoch and   index is      connectors    znode has     a durable send
                 token ours  ready         accept        the URLs      is acknowledged

The first five come with every takeover; the sixth when somebody sends. When the sixth is reached, or
`FIRST_SEND_S_MAX` after the election without it, the takeover is told, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Final

FIRST_SEND_S_MAX: Final = 60.0
"""A takeover is told after so long, whether anybody has sent or not."""


class Phase(Enum):
    """What a takeover has reached; in this order."""

    DETECTED = "detected"
    CLAIMED = "claimed"
    RECOVERED = "recovered"
    LISTENING = "listening"
    PUBLISHED = "published"
    FIRST_SEND = "first_send"


class Takeover:
    """One takeover, while it goes on.

    Args:
        completed: called when the last phase is reached, in the thread that reached it: the reactor's.
        wall_s: seconds since 1970.
        monotonic_s: what the phases are measured with.

    Attributes:
        at_ms: when it was detected, milliseconds since 1970.
        seconds: after which each phase was reached.
        epoch: of the store; 0 before it is known.
    """

    __slots__ = ("_began_s", "_completed", "_monotonic_s", "at_ms", "epoch", "seconds")

    def __init__(
        self,
        completed: Callable[[Takeover], None] = lambda _: None,
        *,
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._completed = completed
        self.at_ms = int(wall_s() * 1000)
        self._monotonic_s = monotonic_s
        self._began_s = monotonic_s()
        self.seconds: dict[Phase, float] = {Phase.DETECTED: 0.0}
        self.epoch = 0

    def reach(self, phase: Phase) -> None:
        """A phase is reached; only the first time counts.

        In any thread, but for the last two: a client may have sent before the znode is written.
        """
        if phase in self.seconds:
            return
        self.seconds[phase] = self._monotonic_s() - self._began_s
        if phase in _LAST and all(each in self.seconds for each in _LAST):
            self._completed(self)

    @property
    def reached(self) -> list[Phase]:
        """The phases reached, in their order."""
        return [phase for phase in Phase if phase in self.seconds]

    def phases_ms(self) -> dict[str, float]:
        """The phases reached, in their order, to a thousandth of a millisecond."""
        return {phase.value: round(self.seconds[phase] * 1000, 3) for phase in self.reached}


_LAST: Final = (Phase.PUBLISHED, Phase.FIRST_SEND)

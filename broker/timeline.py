"""A broker's takeovers: each is measured, and told to the registry when its last phase is reached.

Nothing here is waited for: the master serves on while the record is made.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from broker.figures import TakeoverFigures
from broker.takeover import FIRST_SEND_S_MAX, Phase, Takeover
from journal.tally import SECONDS_BOUNDS, Histogram
from registry import paths
from registry.takeovers import TakeoverLog, TakeoverRecord

if TYPE_CHECKING:
    from broker.reactor import Clock, DelayedCall
    from registry.errors import RegistryError
    from registry.nonblocking import NonblockingSession

START: Final = "start"
DIED: Final = "previous master died"
STOPPED: Final = "previous master stopped"
STEPPED_DOWN: Final = "previous master stepped down"
FENCED: Final = "fenced"
"""It was the master itself before, and another broker took the store."""
FAILED: Final = "journal failed"
"""It was the master itself before, and its disk failed."""

_log: Final = logging.getLogger("broker")


class Election(Protocol):
    """What is asked of `registry.election.BrokerElection`."""

    @property
    def last_master(self) -> str:
        """The container that served last, as far as was seen."""
        ...

    def has_other_member(self, container: str) -> bool:
        """Whether a broker of our id in that container is a member now, other than we."""
        ...


class Timeline:
    """The takeovers of one broker. All methods belong in the reactor's thread; none blocks."""

    def __init__(
        self, reactor: Clock, session: NonblockingSession, *, group: str, broker: str, container: str
    ) -> None:
        """Make it; nothing is written before a takeover.

        Args:
            reactor: For the wait for the first send.
            session: Writes the records.
            group: The broker's.
            broker: Its name.
            container: Where it runs.
        """
        self._reactor = reactor
        self._session = session
        self._container = container
        self._records = TakeoverLog(session, group, broker)
        self._election: Election | None = None
        self._takeover: Takeover | None = None
        self._reason = self._previous = self._loss = ""
        self._alarm: DelayedCall | None = None
        self._done = self._failed = 0
        self._seconds = Histogram(SECONDS_BOUNDS)
        self._last: Takeover | None = None

    def begin(self, election: Election) -> Takeover:
        """We are elected."""
        self.end()
        self._election = election
        self._takeover = takeover = Takeover(self._completed)
        self._previous = previous = election.last_master
        loss, self._loss = self._loss, ""
        self._reason = loss if previous == self._container else "" if previous else START
        if previous and previous != self._container:
            self._session.exists_later(
                paths.container_alive(previous), lambda answer: self._on_alive(takeover, answer)
            )
        return takeover

    def _on_alive(self, takeover: Takeover, answer: bool | RegistryError) -> None:
        """Its process ends with its session, and so does its place in the group."""
        if takeover is self._takeover and isinstance(answer, bool):
            self._reason = STOPPED if answer else DIED

    def publish(self) -> None:
        """Our znode says where we serve."""
        takeover = self._takeover
        if takeover is None or Phase.PUBLISHED in takeover.seconds:
            return
        takeover.reach(Phase.PUBLISHED)
        self._done += 1
        self._last = takeover
        self._seconds.add(takeover.seconds[Phase.PUBLISHED])
        if takeover is self._takeover:
            self._alarm = self._reactor.callLater(FIRST_SEND_S_MAX, self._give_up_waiting)

    def fail(self) -> None:
        """The takeover has come to nothing."""
        self._failed += 1
        self._takeover = None

    def lose(self, loss: str) -> None:
        """We are not the master any more, for a reason of our own; empty: another's."""
        self.end()
        self._loss = loss

    def end(self) -> None:
        """Tell what there is to tell of the present takeover."""
        takeover = self._takeover
        if takeover is not None and Phase.PUBLISHED in takeover.seconds:
            self._tell(takeover)
        self._takeover = None

    def close(self) -> None:
        """Record nothing more."""
        self.end()
        self._records.close()

    def figures(self) -> TakeoverFigures:
        """What has happened so far."""
        last = self._last
        return TakeoverFigures(
            done=self._done,
            failed=self._failed,
            seconds=self._seconds.copy(),
            last_s={} if last is None else {each.value: last.seconds[each] for each in last.reached},
        )

    def _completed(self, takeover: Takeover) -> None:
        if takeover is self._takeover:
            self._tell(takeover)

    def _give_up_waiting(self) -> None:
        self._alarm = None
        self.end()

    def _tell(self, takeover: Takeover) -> None:
        self._takeover = None
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = None
        election, reason = self._election, self._reason
        if reason == STOPPED and election is not None and election.has_other_member(self._previous):
            reason = STEPPED_DOWN
        phases = takeover.phases_ms()
        _log.info("The takeover took, in ms: %s", ", ".join(f"{name} {ms:g}" for name, ms in phases.items()))
        self._records.add(
            TakeoverRecord(self._container, takeover.epoch, takeover.at_ms, reason, self._previous, phases)
        )

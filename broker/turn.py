"""The broker's turn: what arrived is journaled once, what can be dispatched is, each connection writes once.

Everything that one pass of the reactor brought in is taken together: the journal syncs many messages at once,
and each connection gets one write. Replies wait in their connection until the journal reports their batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from broker.commit_delay import CommitDelay
from broker.polling import passes_of
from broker.reactor import Clock, DelayedCall
from journal.options import SLOW_COMMIT_S

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection
    from broker.region.region import Region

STALE_S: Final = 0.001
"""In a turn that lasts longer the time is told again; it is counted in milliseconds."""
UNAWAITED_S: Final = 0.001
"""How long what nobody waits for, as a rule acknowledgements, waits for something to be committed with.

ActiveMQ does not sync an acknowledgement at all if its client asks for no response (`KahaDBStore`).
"""
UNAWAITED_S_MAX: Final = 0.005
"""It waits as long as a commit takes, but no longer than this."""
GATHER_S_MAX: Final = 0.0005
"""How long a turn gathers at most while every pass of the reactor brings clients that will wait, too.

Half of what a sync takes on a disk for which it is worthwhile. Source: PostgreSQL's `commit_delay`, which
likewise lets only those wait who are not alone.
"""
SWEEP_S: Final = 1.0
"""How often the deadlines of idle connections are looked at; inactivity is counted in tens of seconds."""


class Commits(Protocol):
    """The journal, as the turn sees it."""

    @property
    def commit_s(self) -> float:
        """What a commit takes at present."""
        ...

    @property
    def unwritten_bytes(self) -> int:
        """What is not committed yet."""
        ...

    def flush(self, *, alone: bool = False) -> None:
        """Have what was appended committed; `alone`: for the only client that speaks, which waits for it."""
        ...


class Line(Protocol):
    """One client's transport, as the turn sees it."""

    def durable(self, batch: int) -> None:
        """Replies that wait for this batch or a lower one may leave."""
        ...

    def write(self) -> None:
        """Write what there is to send."""
        ...

    def check_deadline(self, now_s: float) -> None:
        """Do what is due by the clock."""
        ...


class Turn:
    """Collects what has to be done at the end of this pass of the reactor, and does it.

    One per mastership: made with the region, stopped with it.
    """

    def __init__(
        self,
        reactor: Clock,
        region: Region,
        journal: Commits,
        *,
        clock_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        monotonic_s: Callable[[], float] = time.monotonic,
        passes: Callable[[], int] | None = None,
    ) -> None:
        """Make it.

        Args:
            reactor: for the time of the end.
            region: what dispatches.
            journal: commits what the region appends.
            clock_ms: wall clock, for expiry.
            monotonic_s: for inactivity.
            passes: how often the reactor has looked for what arrives; by default see `passes_of`.
        """
        self._reactor = reactor
        self._region = region
        self._journal = journal
        self._delay = CommitDelay()
        self._clock_ms = clock_ms
        self.monotonic_s = monotonic_s
        self._lines: dict[Line, None] = {}
        self._of_connection: dict[RegionConnection, Line] = {}
        self._touched: dict[Line, None] = {}
        self._holding: dict[Line, None] = {}
        self._passes = passes or passes_of(reactor)
        self._pass = -1
        """The last pass of the reactor in which something was heard while nothing was to be done."""
        self._heard = 0
        self._alone = False
        self._held_before = 0
        """How many lines waited for the journal after the last pass of the reactor."""
        self._gather_until_s = 0.0
        self._told_s = 0.0
        """When the region was told the time, monotonic."""
        self._end: DelayedCall | None = None
        self._unawaited: DelayedCall | None = None
        self._delayed: DelayedCall | None = None
        self._alarm: DelayedCall | None = None
        self._alarm_ms = 0
        self._due_ms: int | None = 0
        """When the region has to be told of the time again, as it said at the end of the last turn."""
        self._sweep: DelayedCall = reactor.callLater(SWEEP_S, self._check_deadlines)
        self._dispatching = True
        self._halted = False

    # ---- lines

    def add(self, line: Line) -> None:
        """A connection was made."""
        self._lines[line] = None
        self.touch(line)

    def bind(self, line: Line, connection: RegionConnection) -> None:
        """The connection is authenticated: the region's dispatches for it are this line's to write."""
        self._of_connection[connection] = line

    def remove(self, line: Line, connection: RegionConnection | None) -> None:
        """A connection was lost; what it gave back is dispatched to others."""
        self._lines.pop(line, None)
        self._touched.pop(line, None)
        self._holding.pop(line, None)
        if connection is not None:
            self._of_connection.pop(connection, None)
        self.schedule()

    def hold(self, line: Line) -> None:
        """The line has a reply that waits for the journal."""
        self._holding[line] = None

    # ---- the turn

    def begin(self) -> float:
        """Something arrives: the region is told the time, if this is the first in a turn.

        And once more if the turn has lasted: a process that was stopped in its middle must not take what was
        sent meanwhile for older than it is.

        Returns:
            Monotonic seconds.
        """
        now_s = self.monotonic_s()
        if self._end is None or now_s > self._told_s + STALE_S:
            self._told_s = now_s
            self._region.now_ms = self._clock_ms()
        return now_s

    def touch(self, line: Line) -> None:
        """The line has something to send."""
        self._touched[line] = None
        self.schedule()

    def heard(self, line: Line) -> None:
        """The line has received something.

        Where only one line was heard in the last pass there is nothing to gather: the turn of this one ends
        at once, which saves a request of a lone client the way around the reactor's loop. Should another line
        be heard in this pass, that one waits for its end, and the next passes gather again.
        """
        self._touched[line] = None
        number = self._passes()
        if self._end is not None or number == self._pass:
            self._heard += 1
        else:
            self._pass = number
            self._heard = 1
            if self._alone and not self._halted:
                self._answer_alone()
                return
        self.schedule()

    def _answer_alone(self) -> None:
        """End the turn of the only line that was heard."""
        if self._holding:
            self._commit()
        if self._touched:  # the journal has not answered at once, or was not asked
            self._finish()

    def schedule(self) -> None:
        """Have an end of turn."""
        if self._end is None and not self._halted:
            self._end = self._reactor.callLater(0, self._run)

    def durable(self, batch: int) -> None:
        """The journal has made everything up to this batch safe: replies leave, messages are dispatched."""
        self._region.durable(batch)
        holding, self._holding = self._holding, {}
        for line in holding:
            line.durable(batch)
            self._touched[line] = None
        self._held_before = held = len(self._holding)
        self._delay.durable(len(holding) - held, held, self._journal.commit_s, self.monotonic_s())
        self._write()  # who waits for a reply goes before who waits for messages
        if not self._halted:
            self._finish()

    def stop_dispatch(self) -> None:
        """Give out no more messages; what clients say is still taken."""
        self._dispatching = False

    def halt(self) -> None:
        """Take nothing more either; replies that become durable still leave."""
        self._halted = True
        for call in (self._end, self._alarm, self._sweep, self._unawaited, self._delayed):
            if call is not None and call.active():
                call.cancel()
        self._end = self._alarm = self._unawaited = self._delayed = None

    def _run(self) -> None:
        self._end = None
        if self._heard > 1 and self._gathers():
            self._end = self._reactor.callLater(0, self._run)
            return
        self._alone = self._heard <= 1
        self._heard = 0
        self._gather_until_s = 0.0
        self._finish()

    def _gathers(self) -> bool:
        """Whether the next pass of the reactor may bring more that one sync is enough for.

        Clients that were answered together ask again one after the other: without this those who are first
        are committed alone, the others wait for that, and so it goes on with two halves that take turns.
        """
        held, before = len(self._holding), self._held_before
        self._held_before = held
        if held <= before:
            return False
        now_s = self.monotonic_s()
        if not self._gather_until_s:
            if before:  # the disk is at work: whoever comes meanwhile is committed together in any case
                return False
            self._gather_until_s = now_s + GATHER_S_MAX
        return now_s < self._gather_until_s

    def _finish(self) -> None:
        region = self._region
        try:
            if self._dispatching:
                now_ms = self._clock_ms()
                if self._due_ms is None or now_ms < self._due_ms:
                    region.now_ms = now_ms
                else:
                    region.advance(now_ms)
                region.dispatch()
        finally:  # a mistake in one message's dispatch must not withhold what others have to hear
            if self._holding or region.blocked:
                self._commit()
                self._write()
            else:
                self._write()
                self._flush_later()
        self._due_ms = deadline_ms = region.deadline_ms
        if deadline_ms is not None:
            self._set_alarm(deadline_ms)

    def _flush_later(self) -> None:
        """Commit what nobody waits for with what somebody does, if that comes soon."""
        if self._holding:  # by what was written
            self._commit()
            return
        is_left = self._region.last_batch > self._region.durable_batch
        if is_left and self._unawaited is None and not self._halted:
            wait_s = max(UNAWAITED_S, min(self._journal.commit_s, UNAWAITED_S_MAX))
            self._unawaited = self._reactor.callLater(wait_s, self._flush_unawaited)

    def _flush_unawaited(self) -> None:
        self._unawaited = None
        self._flush()

    def _commit(self) -> None:
        """Commit what somebody waits for; on a slow disk perhaps with what others will wait for."""
        journal = self._journal
        if journal.commit_s >= SLOW_COMMIT_S and not self._halted:
            region = self._region
            wait_s = self._delay.wait_s(
                len(self._holding), region.durable_batch, journal.unwritten_bytes, self.monotonic_s()
            )
            if wait_s is None:
                return
            if wait_s:
                if self._delayed is None:
                    self._delayed = self._reactor.callLater(wait_s, self._commit_delayed)
                return
        self._flush()

    def _commit_delayed(self) -> None:
        self._delayed = None
        self._flush()

    def _flush(self) -> None:
        if self._delayed is not None:
            self._delayed.cancel()
            self._delayed = None
        self._delay.flushed(self._region.last_batch, len(self._holding))
        self._journal.flush(alone=self._alone and len(self._holding) == 1)

    def _write(self) -> None:
        if self._region.touched:
            for connection in self._region.touched:
                line = self._of_connection.get(connection)
                if line is not None:
                    self._touched[line] = None
            self._region.touched.clear()
        touched, self._touched = self._touched, {}
        for line in touched:
            line.write()

    # ---- time

    def _set_alarm(self, deadline_ms: int) -> None:
        """Have a turn when a pull times out."""
        if self._alarm is not None:
            if self._alarm_ms <= deadline_ms:
                return
            self._alarm.cancel()
        self._alarm_ms = deadline_ms
        delay_s = max(deadline_ms - self._clock_ms(), 0) / 1000
        self._alarm = self._reactor.callLater(delay_s, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._finish()

    def _check_deadlines(self) -> None:
        self._sweep = self._reactor.callLater(SWEEP_S, self._check_deadlines)
        now_s = self.monotonic_s()
        for line in list(self._lines):
            line.check_deadline(now_s)

"""Looks for expired messages where nobody consumes.

The journal's index knows when its messages expire, so none is read to find out; what is not persistent says
so itself. A sweep goes through the destinations that have any, a part per turn.

Source: ActiveMQ, `expireMessagesPeriod`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from broker.destination import Destination
from broker.region.durable import DurableSubscription
from broker.region.queue import Queue
from journal.index import CHUNK_ENTRIES
from journal.record import RETAINED

if TYPE_CHECKING:
    from broker.region.region import Region
    from broker.region.topic import Topic

EXPIRED_MAX: Final = 100
"""Messages that expire in one turn: 10 ms if each is read and written again as a dead letter."""
CHUNKS_MAX: Final = 100
"""Chunks of the index that are looked through in one turn: 1 ms if nothing in them is due."""
_ALL: Final = -1


class Expiry:
    """Sweeps the destinations of one region."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._next_ms: dict[int, int] = {}
        """Per period: when the destinations that have it are swept next."""
        self._volatile: dict[Queue, None] = {}
        """Queues that hold messages which are not persistent and expire."""
        self._tasks: deque[tuple[Queue | Topic, int]] = deque()
        """What is being swept, and after which number it goes on."""

    def made(self, target: Queue | Topic) -> None:
        """There is a new destination."""
        period_ms = target.policy.expire_messages_period_ms
        if period_ms and period_ms not in self._next_ms:
            self._next_ms[period_ms] = self._region.now_ms + period_ms

    def watch(self, queue: Queue) -> None:
        """A message that is not persistent, and expires, waits in a queue."""
        self._volatile[queue] = None

    @property
    def due_ms(self) -> int | None:
        """When `run` is to be called; None: never."""
        if self._tasks:
            return self._region.now_ms
        if not self._volatile and not self._region.store.state.expiring:
            return None
        return min(self._next_ms.values(), default=None)

    def run(self) -> None:
        """Sweep what is due, for a turn."""
        self._begin()
        count, chunks = EXPIRED_MAX, CHUNKS_MAX
        while self._tasks and count > 0 and chunks > 0:
            target, after = self._tasks.popleft()
            if self._region.targets.get(target.destination) is not target or _is_paused(target):
                continue
            if after == _ALL and isinstance(target, Queue):
                count -= self._sweep_volatile(target, count)
            index = self._region.store.state.expiring.get(target.uri)
            if index is None:
                continue
            limit = max(min(count, target.policy.max_expire_page_size), 1)
            refs, following = index.some_due(after, self._region.now_ms, limit, chunks)
            chunks -= min(len(index) // CHUNK_ENTRIES + 1, chunks)
            count -= _expire(target, refs)
            if following is not None:
                self._tasks.append((target, following))

    def _begin(self) -> None:
        """Line up the destinations whose time has come."""
        now_ms = self._region.now_ms
        due = {period_ms for period_ms, next_ms in self._next_ms.items() if next_ms <= now_ms}
        if not due:
            return
        self._next_ms.update({period_ms: now_ms + period_ms for period_ms in due})
        targets = self._region.targets
        candidates: dict[Queue | Topic, None] = {}
        candidates.update(dict.fromkeys(self._volatile))
        self._region.retained.sweep()
        for uri in self._region.store.state.expiring:
            if uri.startswith(RETAINED):
                continue
            target = targets.get(Destination.parse(uri))
            if target is not None:
                candidates[target] = None
        busy = {target for target, _ in self._tasks}
        self._tasks.extend(
            (target, _ALL)
            for target in candidates
            if target.policy.expire_messages_period_ms in due and target not in busy
        )

    def _sweep_volatile(self, queue: Queue, count: int) -> int:
        """Expire what is not persistent; returns how many."""
        if queue not in self._volatile:
            return 0
        entries, more = queue.expired_volatile(self._region.now_ms, count)
        if entries:
            queue.withdraw(entries)
            queue.expire(entries)
        if not more:
            del self._volatile[queue]
        return len(entries)


def _is_paused(target: Queue | Topic) -> bool:
    return isinstance(target, Queue) and target.paused


def _expire(target: Queue | Topic, refs: list[int]) -> int:
    """Expire those of some messages that wait, where they wait; returns how many."""
    count = 0
    places: list[Queue | DurableSubscription] = []
    if isinstance(target, Queue):
        places.append(target)
    else:
        places += [each for each in target.subscriptions if isinstance(each, DurableSubscription)]
    for place in places:
        entries = place.waiting_among(refs) if refs else []
        if entries:
            place.withdraw(entries)
            place.expire(entries)
        count += len(entries)
    return count

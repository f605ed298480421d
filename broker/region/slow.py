"""Ends consumers that are slow for too long or too often, where their destination's policy says so.

Slow is a consumer that has no room while messages wait for it (`abortSlowConsumerStrategy`), or one that has
acknowledged nothing for a while (`abortSlowAckConsumerStrategy`). Its client is told to close it, or loses
its connection; what it has not acknowledged waits for others.

Source: ActiveMQ's `AbortSlowConsumerStrategy` and `AbortSlowAckConsumerStrategy`.
"""

from __future__ import annotations

import heapq
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.policies import ABORT_SLOW_ACK
from broker.region.parts import ConsumerPart
from broker.region.queue import Queue

if TYPE_CHECKING:
    from broker.region.consumer import Consumer
    from broker.region.region import Region
    from broker.region.topic import Topic

_log: Final = logging.getLogger("broker.region")


@dataclass(slots=True)
class Slowness:
    """How long and how often a consumer was slow.

    Attributes:
        marks: checks at which it was.
        count: how often it has become slow.
        progress: what it had done with when it was seen last.
    """

    marks: int = 0
    count: int = 1
    progress: int = 0


@dataclass(slots=True)
class Progress:
    """When a consumer was seen to acknowledge something last, and what it had done with by then."""

    done: int
    since_ms: int


class SlowConsumers:
    """Looks at the consumers of those destinations that want it, each after its `checkPeriod`."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._due: list[tuple[int, int, Queue | Topic]] = []
        self._count = 0
        self._slow: dict[Consumer, Slowness] = {}
        self._progress: dict[Queue | Topic, dict[Consumer, Progress]] = {}

    @property
    def due_ms(self) -> int | None:
        """When it looks next; None: never."""
        return self._due[0][0] if self._due else None

    def made(self, target: Queue | Topic) -> None:
        """There is a new destination."""
        if target.watched:
            self._count += 1
            due_ms = self._region.now_ms + target.policy.slow_check_period_ms
            heapq.heappush(self._due, (due_ms, self._count, target))

    def noticed(self, consumer: Consumer) -> None:
        """It has no room while messages wait; told each time that is seen."""
        slowness = self._slow.get(consumer)
        if slowness is None:
            self._slow[consumer] = Slowness(progress=_done(consumer))
        elif slowness.progress != _done(consumer):
            slowness.progress = _done(consumer)
            slowness.count += 1

    def run(self) -> None:
        """Look at the consumers of the destinations that are due."""
        region = self._region
        while self._due and self._due[0][0] <= region.now_ms:
            target = heapq.heappop(self._due)[2]
            if region.targets.get(target.destination) is target:
                self._check(target)
                self.made(target)
            else:
                self._progress.pop(target, None)
        for consumer in [each for each in self._slow if each.closed]:
            del self._slow[consumer]

    def _check(self, target: Queue | Topic) -> None:
        by_acks = target.policy.slow_consumer_strategy == ABORT_SLOW_ACK
        former = self._progress.pop(target, {})
        seen: dict[Consumer, Progress] = {}
        for consumer in list(target.consumers):
            if by_acks:
                progress = seen[consumer] = self._progress_of(consumer, former.get(consumer))
                is_slow = self._is_silent(target, consumer, progress)
            else:
                is_slow = _is_full(target, consumer)
            if not is_slow or (target.policy.slow_ignores_network and consumer.options.network):
                self._slow.pop(consumer, None)
            elif self._is_too_slow(target, consumer):
                del self._slow[consumer]
                self._abort(target, consumer)
        if seen:
            self._progress[target] = seen

    def _progress_of(self, consumer: Consumer, former: Progress | None) -> Progress:
        done = _done(consumer)
        if former is None or former.done != done:
            return Progress(done, self._region.now_ms)
        return former

    def _is_silent(self, target: Queue | Topic, consumer: Consumer, progress: Progress) -> bool:
        policy = target.policy
        if policy.slow_max_since_ack_ms < 0 or (policy.slow_ignores_idle and not consumer.dispatched):
            progress.since_ms = self._region.now_ms
            return False
        return self._region.now_ms - progress.since_ms > policy.slow_max_since_ack_ms

    def _is_too_slow(self, target: Queue | Topic, consumer: Consumer) -> bool:
        policy = target.policy
        slowness = self._slow.setdefault(consumer, Slowness(progress=_done(consumer)))
        slowness.marks += 1
        duration_ms = slowness.marks * policy.slow_check_period_ms
        return 0 < policy.slow_max_duration_ms <= duration_ms or 0 < policy.slow_max_count <= slowness.count

    def _abort(self, target: Queue | Topic, consumer: Consumer) -> None:
        whole = consumer.whole if isinstance(consumer, ConsumerPart) else consumer
        connection, policy = whole.connection, target.policy
        reason = (
            f"a consumer of {target.uri} was slow too often (>{policy.slow_max_count}) or too long "
            f"(>{policy.slow_max_duration_ms} ms)"
        )
        _log.warning("Connection %s: %s, it is ended", connection.connection_id, reason)
        if policy.slow_abort_connection:
            connection.close()
            connection.client.disconnect(reason)
        elif not whole.closed:
            connection.remove_consumer(whole.key)
            connection.region.touched[connection] = None
            connection.client.close_consumer(whole)


def _done(consumer: Consumer) -> int:
    whole = consumer.whole if isinstance(consumer, ConsumerPart) else consumer
    return whole.acknowledged_count + whole.delivered_count


def _is_full(target: Queue | Topic, consumer: Consumer) -> bool:
    """It has no room, and something waits."""
    if isinstance(target, Queue):
        waiting = target.waiting
    else:
        waiting = max(
            (len(each.pending) for each in target.subscriptions if consumer in each.consumers), default=0
        )
    return bool(consumer.prefetch_size) and waiting > 0 and consumer.window_free() <= 0

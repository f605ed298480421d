"""What a broker has told over the last hour: its figures, rates and the points of charts.

Nothing here looks at a clock or asks anybody: samples are given with their time. A broker with very many
destinations is read a page of them at a time, so that one sample costs it the same however many it has.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from broker.management.model import BrokerInfo, CounterInfo, JobInfo, Page, QueueInfo, TopicInfo
    from fabric.errors import FabricError
    from fabric.web.broker_links import Question
    from fabric.web.routes import Answer
    from fabric.web.shared import Shared

SPAN_S: Final = 3600.0
"""How far back charts go."""
RESOLUTION_S: Final = 10.0
"""Between two points of a chart."""
RATE_S: Final = 5.0
"""What a rate is the mean of."""
CHARTED_MAX: Final = 500
"""Queues and topics of each broker, the largest of each, that have rates and charts: 10 KiB each."""
PAGE: Final = 1000
"""Destinations of each kind that one sample reads."""
LISTED_MAX: Final = 10_000
"""Destinations of each kind that are kept: 1 KiB each. The API lists all."""
RENDERED_MAX: Final = 200
"""Different pages and parts of pages kept for each sample."""


class Destination(Protocol):
    """What queues and topics have in common here."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def counters(self) -> CounterInfo:
        """What has happened there."""
        ...


D = TypeVar("D", bound=Destination)


class Point(NamedTuple):
    """What was at one time, and on the average since the point before it.

    Attributes:
        at_s: since the epoch.
        enqueued_per_s: messages in.
        dequeued_per_s: messages out.
        size: messages held.
    """

    at_s: float
    enqueued_per_s: float
    dequeued_per_s: float
    size: float


class Flow:
    """What goes into something and out of it, over time."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, int, int]] = deque()
        self._mark = (0.0, 0, 0)
        self._since = 0
        self._columns = (array("d"), array("f"), array("f"), array("d"))

    @property
    def enqueued_per_s(self) -> float | None:
        """Messages in, just now; None until two samples are there."""
        return self._rate(1)

    @property
    def dequeued_per_s(self) -> float | None:
        """Messages out, likewise."""
        return self._rate(2)

    @property
    def points(self) -> list[Point]:
        """What charts show, oldest first."""
        return [Point(*row) for row in zip(*self._columns, strict=True)]

    def add(self, now_s: float, counters: CounterInfo, size: int) -> None:
        """A sample. Counters that were set back, or are another master's, begin anew."""
        now = (now_s, counters.enqueued, counters.dequeued)
        if counters.since != self._since or (self._recent and _went_back(self._recent[-1], now)):
            self._recent.clear()
            self._since, self._mark = counters.since, now
        self._recent.append(now)
        while len(self._recent) > 2 and self._recent[1][0] <= now_s - RATE_S:
            self._recent.popleft()
        if now_s - self._mark[0] >= RESOLUTION_S:
            seconds = now_s - self._mark[0]
            point = (now_s, (now[1] - self._mark[1]) / seconds, (now[2] - self._mark[2]) / seconds, size)
            for column, value in zip(self._columns, point, strict=True):
                column.append(value)
            self._mark = now
            self._forget(now_s)

    def _rate(self, index: int) -> float | None:
        if len(self._recent) < 2:
            return None
        first, last = self._recent[0], self._recent[-1]
        return float((last[index] - first[index]) / (last[0] - first[0]))

    def _forget(self, now_s: float) -> None:
        old = sum(at_s < now_s - SPAN_S for at_s in self._columns[0])
        for column in self._columns:
            del column[:old]


def _went_back(before: tuple[float, int, int], now: tuple[float, int, int]) -> bool:
    return now[0] <= before[0] or now[1] < before[1] or now[2] < before[2]


class Listing(Generic[D]):
    """The destinations of one kind, and the flows of the largest.

    Attributes:
        total: how many there are, kept or not.
        by_name: those that are kept.
        flows: by name.
    """

    def __init__(self, size: Callable[[D], int]) -> None:
        self.total = 0
        self.by_name: dict[str, D] = {}
        self.flows: dict[str, Flow] = {}
        self.after = ""
        self._size = size
        self._seen: set[str] = set()

    @property
    def is_complete(self) -> bool:
        """Whether all there are are kept."""
        return self.total <= LISTED_MAX

    def add(self, now_s: float, page: Page[D]) -> None:
        """The next page, the first one again after the last."""
        self.total = page.total
        for each in page.items:
            self.by_name[each.name] = each
            self._seen.add(each.name)
        self.after = page.next if len(self._seen) < LISTED_MAX else ""
        if not self.after:
            self._end_round()
        for each in page.items:
            flow = self.flows.get(each.name)
            if flow is not None:
                flow.add(now_s, each.counters, self._size(each))

    def begin_again(self) -> None:
        """The next page comes from another master."""
        self.after = ""
        self._seen.clear()

    def _end_round(self) -> None:
        """All pages were read: forget what is gone, and choose what has charts."""
        for name in self.by_name.keys() - self._seen:
            del self.by_name[name]
        self._seen.clear()
        charted = self._largest(self.by_name.values())
        self.flows = {name: self.flows.get(name) or Flow() for name in charted}

    def _largest(self, found: Iterable[D]) -> list[str]:
        listed = list(found)
        if len(listed) > CHARTED_MAX:
            listed.sort(key=lambda each: (self._size(each), each.counters.enqueued), reverse=True)
        return [each.name for each in listed[:CHARTED_MAX]]


@dataclass(frozen=True, slots=True)
class Sample:
    """What a broker has answered to `BrokerSamples.questions`."""

    broker: BrokerInfo
    queues: Page[QueueInfo]
    topics: Page[TopicInfo]
    jobs: list[JobInfo]


@dataclass(slots=True)
class BrokerSamples:
    """One broker's.

    Attributes:
        number: counts samples, failed ones too.
        asked_s: when the last one was taken.
        broker: the last that came; None: none has.
        jobs: those that run, and those that are over, as far as they were asked for.
        error: why the last one failed; None: it has not.
        is_asked: the next one is on its way.
        answers: to further questions, asked once for each sample; see `Sampler.once`.
    """

    number: int = 0
    asked_s: float = -math.inf
    broker: BrokerInfo | None = None
    jobs: list[JobInfo] = field(default_factory=list)
    error: FabricError | None = None
    is_asked: bool = False
    answers: dict[Hashable, Shared[object]] = field(default_factory=dict)
    flow: Flow = field(default_factory=Flow)
    queues: Listing[QueueInfo] = field(default_factory=lambda: Listing(lambda queue: queue.size))
    topics: Listing[TopicInfo] = field(default_factory=lambda: Listing(lambda topic: topic.in_flight))
    _rendered: dict[Hashable, Answer] = field(default_factory=dict)

    def questions(self) -> list[Question]:
        """What to ask the broker for the next sample."""
        return [
            ("broker", {}),
            ("queues", {"limit": PAGE, "after": self.queues.after}),
            ("topics", {"limit": PAGE, "after": self.topics.after}),
            ("jobs", {}),
        ]

    def add(self, now_s: float, sample: Sample) -> None:
        """A sample has come."""
        self._next(now_s, None)
        self.broker, self.jobs = sample.broker, sample.jobs
        self.queues.add(now_s, sample.queues)
        self.topics.add(now_s, sample.topics)
        self.flow.add(now_s, self._lasting(sample.broker.counters), sample.broker.messages)

    def fail(self, now_s: float, error: FabricError) -> None:
        """None has come; what is known stays."""
        self._next(now_s, error)
        self.queues.begin_again()
        self.topics.begin_again()

    def rendered(self, key: Hashable, render: Callable[[], Answer]) -> Answer:
        """A part of a page, rendered once for each sample however many look at it."""
        found = self._rendered.get(key)
        if found is None:
            found = render()
            if len(self._rendered) < RENDERED_MAX:
                self._rendered[key] = found
        return found

    def _lasting(self, counters: CounterInfo) -> CounterInfo:
        """The broker's counters without temporary destinations, which take answers to the console, too."""
        if not (self.queues.is_complete and self.topics.is_complete):
            return counters
        listed: list[QueueInfo | TopicInfo] = [*self.queues.by_name.values(), *self.topics.by_name.values()]
        lasting = [each.counters for each in listed if not each.temporary]
        return replace(
            counters,
            enqueued=sum(each.enqueued for each in lasting),
            dequeued=sum(each.dequeued for each in lasting),
        )

    def _next(self, now_s: float, error: FabricError | None) -> None:
        self.number += 1
        self.asked_s, self.error = now_s, error
        self._rendered.clear()
        self.answers.clear()

"""Keeps what is wrong in the fabric current while somebody looks: for the page, the API and the badge.

Masters and ZooKeeper are asked every few seconds for all who look together, and not at all while nobody does.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from twisted.internet.defer import Deferred, DeferredList

from broker.management.model import ConsumerInfo, Page
from fabric.clusters import ClusterRow
from fabric.ensemble_health import ServerHealth, look_at
from fabric.errors import FabricError
from fabric.facts import INTERVAL_S, read_facts
from fabric.health import PROBLEM, BrokerFigures, BrokerKey, Finding, Snapshot, counted, findings
from fabric.web.brokers_view import groups_of, key_of, versions_in_use
from fabric.web.errors import Refused
from registry import paths
from registry.channel import ChannelSettings
from registry.errors import RegistryError
from registry.session import SessionState

if TYPE_CHECKING:
    from fabric.reactor import DelayedCall
    from fabric.web.console import Console

log = logging.getLogger(__name__)

TOPIC: Final = "health"
"""Something else is wrong than before. Every page listens to it."""
SAMPLE_S: Final = 5.0
FIRST_S: Final = 1.0
"""After the first page: that one is not to wait for it."""
TOGETHER_S: Final = 0.1
"""Changes of the registry within it are looked at once."""
LOOKED_S_MAX: Final = 15.0
"""So long somebody counts as looking after he has asked."""
GROWTH_S: Final = 60.0
"""How far back figures are compared."""
LISTED_MAX: Final = 1000
"""Consumers of one broker that are looked at: one page of its management."""


class HealthWatch:
    """What is wrong now. Lives in the reactor's thread.

    Attributes:
        servers: what ZooKeeper's servers said last.
        ask_servers: asks them; blocks.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._looked_s = float("-inf")
        self._sampled_s = float("-inf")
        self._next: DelayedCall | None = None
        self._soon: DelayedCall | None = None
        self._waiting: list[Deferred[None]] = []
        self._sampling = False
        self._closed = False
        self._figures: deque[dict[BrokerKey, BrokerFigures]] = deque()
        self.servers: tuple[ServerHealth, ...] = ()
        self._round_trip_ms: float | None = None
        self._clocks_s: dict[str, float] = {}
        self._clocks_read_s = float("-inf")
        self._found: list[Finding] = []
        self.ask_servers: Callable[[str, ChannelSettings], Sequence[ServerHealth]] = look_at

    @property
    def count(self) -> int:
        """How many findings ask for something to be done, as of the last look."""
        return counted(self._found)

    @property
    def severe(self) -> bool:
        """Whether one of them is a problem."""
        return any(finding.severity == PROBLEM for finding in self._found)

    def look(self) -> None:
        """Somebody looks: go on sampling for a while."""
        self._looked_s = self._console.reactor.seconds()
        if self._next is None and not self._sampling and not self._closed:
            self._next = self._console.reactor.callLater(FIRST_S, self._tick)

    async def now(self) -> list[Finding]:
        """What is wrong, with figures that are no older than a few seconds."""
        if self._closed:
            raise _stopping()
        self.look()
        await self._console.view.ready()
        if self._console.reactor.seconds() - self._sampled_s > SAMPLE_S:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            if not self._sampling:
                self._begin()
            await waiting
        self._judge()
        return self._found

    def registry_changed(self) -> None:
        """The registry has changed: what is wrong may be different."""
        if self._soon is None and self._is_looked_at() and not self._closed:
            self._soon = self._console.reactor.callLater(TOGETHER_S, self._judge_soon)

    def close(self) -> None:
        """Ask no more."""
        self._closed = True
        for call in (self._next, self._soon):
            if call is not None and call.active():
                call.cancel()
        self._next = self._soon = None
        self._wake(_stopping())

    # ---- sampling

    def _is_looked_at(self) -> bool:
        recently = self._console.reactor.seconds() - self._looked_s < LOOKED_S_MAX
        return recently or TOPIC in self._console.events.topics

    def _tick(self) -> None:
        self._next = None
        if self._is_looked_at():
            self._begin()
        else:
            self._figures.clear()

    def _begin(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._sampling = True
        Deferred.fromCoroutine(self._sample()).addErrback(self._failed).addBoth(self._sampled)

    def _sampled(self, _: object) -> None:
        self._sampling = False
        if self._closed:
            return
        self._sampled_s = self._console.reactor.seconds()
        self._next = self._console.reactor.callLater(SAMPLE_S, self._tick)
        self._wake(None)

    def _failed(self, failure: Any) -> None:  # noqa: ANN401 - Twisted's Failure
        log.error(
            "What is wrong in the fabric cannot be found out:",
            exc_info=(failure.type, failure.value, failure.getTracebackObject()),
        )

    def _wake(self, error: Exception | None) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None) if error is None else each.errback(error)

    async def _sample(self) -> None:
        await self._console.view.ready()
        rows = [row for row in self._console.view.brokers() if row.masters]
        asked = [Deferred.fromCoroutine(self._figures_of(row)) for row in rows]
        zookeeper = Deferred.fromCoroutine(self._ask_zookeeper())
        answers = await DeferredList(asked, consumeErrors=True)
        await zookeeper
        sample = {key_of(row): answer for row, (ok, answer) in zip(rows, answers, strict=True) if ok}
        self._figures.append(sample)
        oldest_s = self._console.reactor.seconds() - GROWTH_S
        while len(self._figures) > 2 and _time_of(self._figures[1]) <= oldest_s:
            self._figures.popleft()
        self._judge()

    async def _figures_of(self, row: ClusterRow) -> BrokerFigures:
        """What a master says, to all who ask just now."""
        group, name = key_of(row)
        now_s = self._console.reactor.seconds()
        try:
            samples = await self._console.samples.fresh(group, name)
            if samples.error is not None or samples.broker is None:
                raise samples.error or Refused(503, "It has said nothing yet.")
            listed = await self._console.samples.once(group, name, "consumers", limit=LISTED_MAX)
            consumers = msgspec.convert(listed, Page[ConsumerInfo]).items
        except (FabricError, RegistryError, msgspec.ValidationError) as error:
            return BrokerFigures(now_s, problem=error.what if isinstance(error, FabricError) else str(error))
        queues, topics = samples.queues.by_name, samples.topics.by_name
        return BrokerFigures(now_s, samples.broker.usage, dict(queues), dict(topics), tuple(consumers))

    async def _ask_zookeeper(self) -> None:
        session = self._console.session

        def round_trip_ms() -> float:
            begun_s = time.perf_counter()
            session.exists(paths.ROOT)
            return (time.perf_counter() - begun_s) * 1000

        took_ms: float | None = None
        if session.state is SessionState.CONNECTED:  # what is known to be away is not waited for
            with contextlib.suppress(RegistryError):
                took_ms = await self._console.blocking(round_trip_ms)
                await self._read_clocks()
        self._round_trip_ms = took_ms
        self.servers = tuple(await self._console.blocking(self.ask_servers, session.url, session.channel))

    async def _read_clocks(self) -> None:
        """How far the hosts' clocks are ahead of ZooKeeper's, as containers that run have said."""
        now_s = self._console.reactor.seconds()
        if now_s - self._clocks_read_s < INTERVAL_S:
            return
        self._clocks_read_s = now_s
        found = await self._console.blocking(read_facts, self._console.session)
        running = {record.id for record in self._console.view.all_containers() if record.connected}
        self._clocks_s = {facts.host: facts.ahead_s for name, facts in found.items() if name in running}

    # ---- judging

    def _judge_soon(self) -> None:
        self._soon = None
        if self._console.view.complete:
            self._judge()

    def _judge(self) -> None:
        try:
            found = findings(self._snapshot())
        except (FabricError, RegistryError) as error:
            found = [
                Finding(
                    "registry", PROBLEM, str(error), "Correct it in the registry.", "/registry", "Registry"
                )
            ]
        if found != self._found:
            self._found = found
            self._console.events.publish(TOPIC)

    def _snapshot(self) -> Snapshot:
        view = self._console.view
        figures = self._figures[-1] if self._figures else {}
        return Snapshot(
            containers=tuple(view.all_containers()),
            requirements=view.profiles.requirements(),
            groups=tuple(group for version in versions_in_use(view) for group in groups_of(view, version)),
            figures=figures,
            before={key: self._before(key) for key in figures if len(self._figures) > 1},
            servers=self.servers,
            connected=self._console.session.state is SessionState.CONNECTED,
            round_trip_ms=self._round_trip_ms,
            clocks_s=self._clocks_s,
        )

    def _before(self, key: BrokerKey) -> BrokerFigures:
        """The oldest figures of the same mastership."""
        return next(sample[key] for sample in self._figures if key in sample)


def _time_of(sample: dict[BrokerKey, BrokerFigures]) -> float:
    return max((figures.at_s for figures in sample.values()), default=float("inf"))


def _stopping() -> Refused:
    return Refused(503, "The console is being stopped.")

"""Asks brokers for their figures: once a second whom somebody looks at, for all consoles together.

Pages listen to the topic of a broker and fetch themselves anew when a sample has come.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

import msgspec
from twisted.internet.defer import Deferred

from broker.management.model import BrokerInfo, JobInfo, Page, QueueInfo, TopicInfo
from fabric.errors import FabricError
from fabric.web.errors import Refused
from fabric.web.samples import SPAN_S, BrokerSamples, Sample
from fabric.web.shared import Shared
from registry import paths
from registry.errors import RegistryError

if TYPE_CHECKING:
    from fabric.reactor import DelayedCall
    from fabric.web.broker_links import Key
    from fabric.web.console import Console

TOPIC: Final = "broker:"
"""Begins the topics of brokers."""
WATCHED_S: Final = 1.0
"""Between two samples of a broker that somebody looks at."""
SLOW_S: Final = 10.0
"""Between two samples of any broker while anybody is logged in, so that charts have something to show."""
FRESH_S: Final = 1.5
"""A sample as old as that is shown without taking another one."""


def topic_of(group: str, broker: str) -> str:
    """The topic that is told of a broker's samples; a slash would begin a text in a trigger of htmx."""
    return f"{TOPIC}{quote(group, safe='')}:{quote(broker, safe='')}"


def key_of(topic: str) -> Key | None:
    """The broker a topic is about, None if it is about something else."""
    if not topic.startswith(TOPIC):
        return None
    group, colon, broker = topic.removeprefix(TOPIC).partition(":")
    return (unquote(group), unquote(broker)) if colon else None


class Sampler:
    """Takes samples of brokers. Lives in the reactor's thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._reactor = console.reactor
        self._samples: dict[Key, BrokerSamples] = {}
        self._waiting: dict[Key, list[Deferred[None]]] = {}
        self._next: DelayedCall | None = None
        self._is_slow = False
        self._slow_s = 0.0
        self._closed = False
        console.events.on_topics = self._topics_changed

    async def fresh(self, group: str, broker: str) -> BrokerSamples:
        """A broker's samples with a recent one, even if that failed. Raises `BrokerNotFound`."""
        await self._console.view.ready()
        self._console.links.row(group, broker)
        key = (group, broker)
        samples = self._of(key)
        if self._reactor.seconds() - samples.asked_s >= FRESH_S:
            waiting: Deferred[None] = Deferred()
            self._waiting.setdefault(key, []).append(waiting)
            self._take(key)
            await waiting
        self._plan()
        return samples

    async def once(self, group: str, broker: str, operation: str, **arguments: Hashable) -> object:
        """An answer of a broker, asked for once for each of its samples however many want it; see `ask`."""
        answers = self._of((group, broker)).answers
        key = (operation, *sorted(arguments.items()))
        shared = answers.get(key)
        if shared is None:
            shared = answers[key] = Shared(self._console.links.ask(group, broker, operation, **arguments))
        return await shared.result()

    def look(self, group: str, broker: str) -> None:
        """Something was changed there: take a sample soon, for those who look at it."""
        if (group, broker) in self._watched():
            self._take((group, broker))

    def close(self) -> None:
        """Ask nobody any more."""
        self._closed = True
        self._cancel()

    # ---- when

    def _topics_changed(self) -> None:
        if self._is_slow and self._watched():
            self._cancel()
        self._plan()

    def _watched(self) -> set[Key]:
        """Brokers somebody looks at."""
        found = {key_of(topic) for topic in self._console.events.topics}
        known = self._known()
        return {key for key in found if key is not None and key in known}

    def _known(self) -> dict[Key, bool]:
        """All brokers there are, and whether each has a master."""
        return {
            (row.cluster.removeprefix(paths.amq_groups()).lstrip("/"), row.id): bool(row.masters)
            for row in self._console.view.brokers()
        }

    def _plan(self) -> None:
        """The next round, soon if somebody looks; none while nobody is logged in."""
        if self._next is not None or self._closed:
            return
        self._is_slow = not self._watched()
        if not self._is_slow or self._console.gate.sessions.any(self._reactor.seconds()):
            self._next = self._reactor.callLater(SLOW_S if self._is_slow else WATCHED_S, self._round)

    def _cancel(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None

    def _round(self) -> None:
        self._next = None
        now_s, known = self._reactor.seconds(), self._known()
        wanted = self._watched()
        if now_s - self._slow_s >= SLOW_S - WATCHED_S / 2:
            self._slow_s = now_s
            wanted |= {key for key, has_master in known.items() if has_master}
            self._forget(known)
        for key in wanted:
            self._take(key)
        self._plan()

    def _forget(self, known: dict[Key, bool]) -> None:
        """Drop what is gone for as long as charts go back."""
        end_s = self._reactor.seconds() - SPAN_S
        for key in [key for key, each in self._samples.items() if key not in known and each.asked_s < end_s]:
            del self._samples[key]

    # ---- one sample

    def _of(self, key: Key) -> BrokerSamples:
        return self._samples.setdefault(key, BrokerSamples())

    def _take(self, key: Key) -> None:
        """Take a sample, unless one is on its way."""
        samples = self._of(key)
        if not samples.is_asked:
            samples.is_asked = True
            Deferred.fromCoroutine(self._sample(key, samples))

    async def _sample(self, key: Key, samples: BrokerSamples) -> None:
        group, broker = key
        try:
            answers = await self._console.links.ask_all(group, broker, samples.questions())
            samples.add(self._reactor.seconds(), read_sample(answers))
        except (FabricError, RegistryError) as error:
            shown = error if isinstance(error, FabricError) else Refused(503, str(error))
            samples.fail(self._reactor.seconds(), shown)
        finally:
            samples.is_asked = False
            for waiting in self._waiting.pop(key, []):
                waiting.callback(None)
        self._console.events.publish(topic_of(group, broker))


def read_sample(answers: list[object]) -> Sample:
    """What a broker has answered to `BrokerSamples.questions`. Raises `Refused` if it is something else."""
    try:
        broker, queues, topics, jobs = answers
        return Sample(
            msgspec.convert(broker, BrokerInfo),
            msgspec.convert(queues, Page[QueueInfo]),
            msgspec.convert(topics, Page[TopicInfo]),
            msgspec.convert(jobs, list[JobInfo]),
        )
    except (msgspec.ValidationError, ValueError) as error:
        raise Refused(502, f"The broker's answer cannot be understood: {error}.") from None

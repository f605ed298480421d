"""Statistics for clients: messages to `ActiveMQ.Statistics.…` are answered with maps of figures.

::

    ActiveMQ.Statistics.Broker                    of the whole broker
    ActiveMQ.Statistics.Destination.NAME          of a destination, of the kind that is asked; a wildcard: of
                                                  each that matches, one answer each
    ActiveMQ.Statistics.Subscription              of each consumer, one answer each

    properties of the request
    ActiveMQ.Statistics.Broker.Reset                                 count the broker anew
    ActiveMQ.Statistics.Destination.List.End.With.Null               an empty map comes last; may also stand
                                                                     in the destination's name
    ActiveMQ.Statistics.Destination.Include.First.Message.Timestamp  since when the oldest message waits

Long lists are answered a part per turn. Source: ActiveMQ's `StatisticsBroker`, for names, keys and types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from broker.destination import Destination
from broker.errors import RequestInvalid, ResourceExhausted
from broker.message import BodyKind
from broker.policies import matches
from broker.primitive_map import Long, Value, encode_map
from broker.properties import properties_of
from broker.region.advisories import consumer_numbers
from broker.region.queue import Queue
from broker.region.statistics import Statistics, reset_total, total
from broker.region.usage import Level

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.region import Region
    from broker.region.topic import Topic

PREFIX: Final = "ActiveMQ.Statistics"
OF_BROKER: Final = f"{PREFIX}.Broker"
OF_DESTINATIONS: Final = f"{PREFIX}.Destination"
OF_SUBSCRIPTIONS: Final = f"{PREFIX}.Subscription"
RESET: Final = f"{OF_BROKER}.Reset"
END_WITH_NULL: Final = f"{OF_DESTINATIONS}.List.End.With.Null"
FIRST_MESSAGE: Final = f"{OF_DESTINATIONS}.Include.First.Message.Timestamp"
ANSWERS_MAX: Final = 200
"""Answers in one turn: about 10 ms."""
LISTS_MAX: Final = 100
"""Long lists that are being answered at the same time; a further request for one is refused."""

Figures = dict[str, Value]


class StatisticsRequests:
    """Answers them for one region."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._lists = 0
        for name in (OF_BROKER, OF_DESTINATIONS, OF_SUBSCRIPTIONS):
            region.endpoints.add_prefix(name, self.take)

    def take(self, request: Message, connection: RegionConnection) -> int:
        """Answer a request; nothing of it is stored.

        Raises:
            RequestInvalid: it has no JMSReplyTo.
            ResourceExhausted: too many long lists are being answered.
        """
        if request.reply_to is None:
            raise RequestInvalid(f"A request to {request.destination.name} needs a JMSReplyTo.")
        name = request.destination.name
        properties = properties_of(request)
        if name.startswith(OF_BROKER):
            if RESET in properties:
                reset_total(self._region)
            self._answer(request, connection, of_broker(self._region))
            return 0
        figures: Iterator[Figures]
        if name.startswith(OF_SUBSCRIPTIONS):
            consumers = [
                each for other in self._region.connections.values() for each in other.consumers.values()
            ]
            figures = (of_consumer(self._region, each) for each in consumers)
            count = len(consumers)
        else:
            asked = name.removeprefix(OF_DESTINATIONS).removeprefix(".")
            wanted = asked.replace(END_WITH_NULL, "")
            targets = self._targets(Destination(request.destination.kind, wanted))
            figures = self._of_targets(targets, FIRST_MESSAGE in properties)
            if asked != wanted or END_WITH_NULL in properties:
                figures = _with_end(figures)
            count = len(targets)
        if count > ANSWERS_MAX and self._lists >= LISTS_MAX:
            raise ResourceExhausted(f"{LISTS_MAX} long lists of statistics are being answered; ask later.")
        task = self._answer_all(request, connection, figures)
        for _ in task:  # more than fits this turn
            self._region.schedule.begin(task)
            break
        return 0

    def _targets(self, wanted: Destination) -> list[Queue | Topic]:
        """The destinations that are asked for; none is made."""
        region = self._region
        if not wanted.is_pattern:
            target = region.targets.get(wanted)
            return [] if target is None else [target]
        pattern = wanted.name.split(".")
        return [
            target
            for target in region.targets.values()
            if target.destination.kind is wanted.kind and matches(pattern, target.destination.name.split("."))
        ]

    def _of_targets(self, targets: Iterable[Queue | Topic], first_message: bool) -> Iterator[Figures]:
        for target in targets:
            if target.destination in self._region.targets:
                yield of_destination(self._region, target, first_message=first_message)

    def _answer_all(
        self, request: Message, connection: RegionConnection, figures: Iterator[Figures]
    ) -> Iterator[None]:
        """Answer one after the other, as long as there is somebody to answer to."""
        self._lists += 1
        try:
            for number, each in enumerate(figures, 1):
                if not self._answer(request, connection, each):
                    return
                if number % ANSWERS_MAX == 0:
                    yield
        finally:
            self._lists -= 1

    def _answer(self, request: Message, connection: RegionConnection, figures: Figures) -> bool:
        return self._region.endpoints.answer(
            request, connection, body_kind=BodyKind.MAP, body=encode_map(figures), type_="Advisory"
        )


def _with_end(figures: Iterator[Figures]) -> Iterator[Figures]:
    yield from figures
    yield {}


# ---- the figures


def of_broker(region: Region) -> Figures:
    """Of all destinations together, those that are gone included, and of the broker itself."""
    targets, usage, identity = region.targets.values(), region.usage, region.identity
    queues = [target for target in targets if isinstance(target, Queue)]
    temporary = Level(usage.spool.bytes_used, usage.spool.bytes_max)
    return {
        **_identity(region),
        "size": Long(sum(queue.size for queue in queues)),
        **_counters(total(region)),
        "inflightCount": Long(sum(target.in_flight for target in targets)),
        "messagesCached": Long(sum(queue.at_hand for queue in queues)),
        **_usage("memory", usage.memory_level),
        **_usage("store", usage.store_level),
        **_usage("temp", temporary),
        "consumerCount": Long(sum(target.consumer_count for target in targets)),
        "producerCount": Long(sum(region.producers.values())),
        "openwire": identity.urls.get("tcp", ""),
        "stomp": identity.urls.get("stomp", ""),
        "ssl": identity.urls.get("ssl", ""),
        "stomp+ssl": identity.urls.get("stomp+ssl", ""),
        "vm": "",
        "dataDirectory": identity.data_directory,
    }


def of_destination(region: Region, target: Queue | Topic, *, first_message: bool = False) -> Figures:
    """Of one destination.

    Args:
        region: of the destination.
        target: it.
        first_message: tell since when its oldest message waits, if it has one.
    """
    size = at_hand = 0
    ref = None
    if isinstance(target, Queue):
        size, at_hand = target.size, target.at_hand
        ref = target.first_ref if first_message else None
    found: Figures = {
        **_identity(region),
        "destinationName": target.uri,
        "size": Long(size),
        **_counters(target.statistics),
        "inflightCount": Long(target.in_flight),
        "messagesCached": Long(at_hand),
        **_usage("memory", _memory(region, target, at_hand)),
        "consumerCount": Long(target.consumer_count),
        "producerCount": Long(region.producers.get(target.destination, 0)),
    }
    if ref is not None:
        found["firstMessageTimestamp"] = Long(region.now_ms - region.arrivals.waited_ms(ref, region.now_ms))
    return found


def of_consumer(region: Region, consumer: Consumer) -> Figures:
    """Of one consumer."""
    in_flight, options = len(consumer.dispatched), consumer.options
    dispatched = Long(consumer.acknowledged_count + in_flight)
    source = consumer.source
    waiting = source.waiting if isinstance(source, Queue) else 0
    return {
        **_identity(region),
        "destinationName": consumer.destination.name,
        "clientId": consumer.connection.client_id,
        "connectionId": consumer.connection.connection_id,
        "sessionId": Long(consumer_numbers(consumer)[0]),
        "selector": options.selector,
        "enqueueCounter": dispatched,
        "dequeueCounter": Long(consumer.acknowledged_count),
        "dispatchedCounter": dispatched,
        "dispatchedQueueSize": Long(in_flight),
        "prefetchSize": consumer.prefetch_size,
        "maximumPendingMessageLimit": options.pending_limit,
        "exclusive": options.exclusive,
        "retroactive": options.retroactive,
        "slowConsumer": consumer.slow or (waiting > 0 and consumer.window_free() <= 0),
    }


def _identity(region: Region) -> Figures:
    return {"brokerName": region.identity.name, "brokerId": region.identity.broker_id}


def _counters(statistics: Statistics) -> Figures:
    return {
        "enqueueCount": Long(statistics.enqueued),
        "dequeueCount": Long(statistics.dequeued),
        "dispatchCount": Long(statistics.dispatched),
        "expiredCount": Long(statistics.expired),
        "averageMessageSize": Long(round(statistics.enqueued_bytes_average)),
        "averageEnqueueTime": statistics.wait_ms_average,
        "maxEnqueueTime": float(statistics.wait_ms_max),
        "minEnqueueTime": float(statistics.wait_ms_min),
    }


def _usage(name: str, level: Level) -> Figures:
    return {
        f"{name}PercentUsage": level.percent,
        f"{name}Usage": Long(level.used_bytes),
        f"{name}Limit": Long(level.bytes_max),
    }


def _memory(region: Region, target: Queue | Topic, at_hand: int) -> Level:
    """What a destination's messages take: known if it has a limit of its own, otherwise about."""
    level = target.usage.memory_level
    if target.usage is not region.usage:
        return level
    return Level(round(at_hand * target.statistics.enqueued_bytes_average), level.bytes_max)

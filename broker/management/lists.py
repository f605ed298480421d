"""What there is in a broker: itself, destinations, subscriptions, connections, consumers, producers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from broker.destination import Destination
from broker.management.errors import NotFound
from broker.management.model import (
    BrokerInfo,
    ConnectionInfo,
    ConsumerInfo,
    CounterInfo,
    LevelInfo,
    Page,
    ProducerInfo,
    QueueInfo,
    SubscriptionInfo,
    TopicInfo,
    UsageInfo,
)
from broker.management.paging import page_of
from broker.management.requests import ListRequest
from broker.region.queue import Queue
from broker.region.statistics import Statistics, total
from broker.region.topic import Topic
from broker.region.usage import Level

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.durable import DurableSubscription
    from broker.region.region import Region


class Lists:
    """Looks at one region; changes nothing."""

    def __init__(self, region: Region) -> None:
        self._region = region

    # ---- the broker

    def broker(self, jobs: int) -> BrokerInfo:
        """The broker as a whole; `jobs` are running."""
        region = self._region
        identity = region.identity
        lasting = [each for each in region.targets.values() if not each.destination.is_temporary]
        queues = [each for each in region.targets.values() if isinstance(each, Queue)]
        return BrokerInfo(
            name=identity.name,
            group=identity.group,
            version=identity.version,
            started=identity.started,
            services=list(identity.services),
            connections=len(region.connections),
            consumers=sum(len(each.consumers) for each in region.connections.values()),
            producers=sum(len(each.producers) for each in region.connections.values()),
            queues=sum(isinstance(each, Queue) for each in lasting),
            topics=sum(isinstance(each, Topic) for each in lasting),
            temporary=len(region.targets) - len(lasting),
            subscriptions=len(region.subscriptions.durable),
            messages=sum(each.size for each in queues),
            counters=_counters(total(region)),
            usage=self.usage(),
            jobs=jobs,
        )

    def usage(self) -> UsageInfo:
        """What messages take."""
        usage = self._region.usage
        return UsageInfo(
            store=_level(usage.store_level),
            memory=_level(usage.memory_level),
            temp=_level(Level(usage.spool.bytes_used, usage.spool.bytes_max)),
            disk_full=usage.store.full,
            blocked_sends=sum(len(each) for each in usage.waiting),
            blocked_connections=len(usage.waiting),
            problem=usage.problem,
        )

    # ---- destinations

    def queues(self, request: ListRequest) -> Page[QueueInfo]:
        """The queues, temporary ones too, by name."""
        found = [each for each in self._region.targets.values() if isinstance(each, Queue)]
        return page_of(found, request, lambda each: each.destination.name, self.queue_info)

    def queue(self, destination: Destination) -> Queue:
        """A queue.

        Raises:
            NotFound: there is none of that name.
        """
        found = self._region.targets.get(destination)
        if not isinstance(found, Queue):
            raise NotFound(f"There is no queue {destination.name}.")
        return found

    def queue_info(self, queue: Queue) -> QueueInfo:
        """One queue."""
        waiting, in_flight = queue.waiting, queue.in_flight
        return QueueInfo(
            name=queue.destination.name,
            temporary=queue.destination.is_temporary,
            paused=queue.paused,
            size=waiting + in_flight,
            waiting=waiting,
            in_flight=in_flight,
            consumers=len(queue.consumers),
            producers=self._region.producers.get(queue.destination, 0),
            counters=_counters(queue.statistics),
        )

    def topics(self, request: ListRequest) -> Page[TopicInfo]:
        """The topics, temporary ones too, by name."""
        found = [each for each in self._region.targets.values() if isinstance(each, Topic)]
        return page_of(found, request, lambda each: each.destination.name, self.topic_info)

    def topic_info(self, topic: Topic) -> TopicInfo:
        """One topic."""
        return TopicInfo(
            name=topic.destination.name,
            temporary=topic.destination.is_temporary,
            in_flight=topic.in_flight,
            subscriptions=sum(each.durable for each in topic.subscriptions),
            consumers=len(topic.consumers),
            producers=self._region.producers.get(topic.destination, 0),
            counters=_counters(topic.statistics),
        )

    # ---- subscriptions

    def subscriptions(self, request: ListRequest) -> Page[SubscriptionInfo]:
        """The durable subscriptions, by client id and name; the filter looks at both and the topic."""
        return page_of(
            self._region.subscriptions.durable.values(),
            request,
            lambda each: "\0".join(each.key),
            _subscription_info,
            lambda each: " ".join((*each.key, each.destination.name)),
        )

    def subscription(self, client_id: str, name: str) -> DurableSubscription:
        """A durable subscription.

        Raises:
            NotFound: there is none of that name.
        """
        found = self._region.subscriptions.durable.get((client_id, name))
        if found is None:
            raise NotFound(f"There is no durable subscription {name} of the client id {client_id}.")
        return found

    # ---- connections

    def connections(self, request: ListRequest) -> Page[ConnectionInfo]:
        """The connections, by id; the filter looks at id, client id, user and address."""
        return page_of(
            self._region.connections.values(),
            request,
            lambda each: each.connection_id,
            self.connection_info,
            lambda each: f"{each.connection_id} {each.client_id or ''} {each.user} {each.remote}",
        )

    def connection(self, connection_id: str) -> RegionConnection:
        """A connection.

        Raises:
            NotFound: there is none with that id.
        """
        found = self._region.connections.get(connection_id)
        if found is None:
            raise NotFound(f"There is no connection {connection_id}.")
        return found

    def connection_info(self, connection: RegionConnection) -> ConnectionInfo:
        """One connection."""
        return ConnectionInfo(
            id=connection.connection_id,
            client_id=connection.client_id or "",
            user=connection.user,
            remote=connection.remote,
            since=connection.since_ms,
            consumers=len(connection.consumers),
            producers=len(connection.producers),
            transactions=len(connection.transactions),
            in_flight=sum(len(each.dispatched) for each in connection.consumers.values()),
            blocked_sends=len(connection.blocked),
        )

    def consumers(self, request: ListRequest) -> Page[ConsumerInfo]:
        """The consumers, by id; the filter looks at their destinations."""
        return page_of(
            self._consumers(request.connection),
            request,
            _consumer_id,
            _consumer_info,
            lambda each: each.destination.name,
        )

    def producers(self, request: ListRequest) -> Page[ProducerInfo]:
        """The producers, by id; the filter looks at their destinations."""
        return page_of(
            self._producers(request.connection),
            request,
            lambda each: each.id,
            lambda each: each,
            lambda each: each.destination.partition("://")[2],
        )

    def _consumers(self, connection_id: str) -> Iterator[Consumer]:
        for connection in self._chosen(connection_id):
            yield from connection.consumers.values()

    def _producers(self, connection_id: str) -> Iterator[ProducerInfo]:
        for connection in self._chosen(connection_id):
            for producer_id, destination in connection.producers.items():
                yield ProducerInfo(
                    id=producer_id,
                    connection=connection.connection_id,
                    client_id=connection.client_id or "",
                    destination="" if destination is None else destination.uri,
                )

    def _chosen(self, connection_id: str) -> list[RegionConnection]:
        return [self.connection(connection_id)] if connection_id else list(self._region.connections.values())


def _subscription_info(subscription: DurableSubscription) -> SubscriptionInfo:
    consumers = subscription.consumers
    client_id, name = subscription.key
    return SubscriptionInfo(
        client_id=client_id,
        name=name,
        topic=subscription.destination.name,
        selector=subscription.selector,
        no_local=subscription.no_local,
        shared=subscription.shared,
        active=bool(consumers),
        away_since=0 if consumers else subscription.away_since_ms,
        pending=len(subscription.pending),
        in_flight=sum(len(each.dispatched) for each in consumers),
        connections=sorted({each.connection.connection_id for each in consumers}),
    )


def _consumer_id(consumer: Consumer) -> str:
    key = consumer.key
    name = ":".join(map(str, key)) if isinstance(key, tuple) else str(key)
    return f"{consumer.connection.connection_id}:{name}"


def _consumer_info(consumer: Consumer) -> ConsumerInfo:
    options, connection = consumer.options, consumer.connection
    return ConsumerInfo(
        id=_consumer_id(consumer),
        connection=connection.connection_id,
        client_id=connection.client_id or "",
        destination=consumer.destination.uri,
        selector=options.selector or "",
        prefetch=consumer.prefetch_size,
        in_flight=len(consumer.dispatched),
        priority=options.priority,
        exclusive=options.exclusive,
        browser=options.browser,
        no_local=options.no_local,
        subscription=options.subscription_name or "",
    )


def _counters(statistics: Statistics) -> CounterInfo:
    return CounterInfo(
        since=statistics.since_ms,
        enqueued=statistics.enqueued,
        dequeued=statistics.dequeued,
        dispatched=statistics.dispatched,
        expired=statistics.expired,
        discarded=statistics.discarded,
        wait_ms_average=round(statistics.wait_ms_average, 1),
        wait_ms_max=statistics.wait_ms_max,
    )


def _level(level: Level) -> LevelInfo:
    return LevelInfo(level.used_bytes, level.bytes_max, level.percent)

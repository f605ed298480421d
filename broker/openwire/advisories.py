"""What OpenWire writes into advisories: the command that would have said the same.

Source: Apache ActiveMQ's ``AdvisoryBroker``; its clients read these in ``DestinationSource``,
``ConsumerEventSource`` and ``ProducerEventSource``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from broker.advisory import (
    AboutConnection,
    AboutConsumer,
    AboutDestination,
    AboutMessage,
    AboutProducer,
    AboutSubscription,
)
from broker.openwire import translation
from broker.openwire.commands import (
    ConnectionId,
    ConnectionInfo,
    ConsumerId,
    ConsumerInfo,
    DataStructure,
    DestinationInfo,
    ProducerId,
    ProducerInfo,
    RemoveInfo,
    RemoveSubscriptionInfo,
)
from broker.openwire.constants import DestinationOperation
from broker.region.advisories import consumer_numbers


def _connection(about: AboutConnection) -> DataStructure:
    connection = about.connection
    connection_id = ConnectionId(connection.connection_id)
    if not about.added:
        return RemoveInfo(object_id=connection_id)
    return ConnectionInfo(
        connection_id=connection_id,
        client_id=connection.client_id,
        user_name=connection.user or None,
        password="",  # nosec B106  # nobody is told one
        manageable=True,
        failover_reconnect=connection.failover_reconnect,
        client_ip=connection.remote or None,
    )


def _consumer(about: AboutConsumer) -> DataStructure:
    consumer = about.consumer
    session, value = consumer_numbers(consumer)
    consumer_id = ConsumerId(consumer.connection.connection_id, session, value)
    if not about.added:
        return RemoveInfo(object_id=consumer_id)
    options = consumer.options
    return ConsumerInfo(
        consumer_id=consumer_id,
        browser=options.browser,
        destination=translation.from_destination(consumer.destination),
        prefetch_size=consumer.prefetch_size,
        maximum_pending_message_limit=options.pending_limit,
        dispatch_async=True,
        selector=options.selector,
        client_id=consumer.connection.client_id,
        subscription_name=options.subscription_name,
        no_local=options.no_local,
        exclusive=options.exclusive,
        retroactive=options.retroactive,
        priority=options.priority,
        network_subscription=options.network,
    )


def _producer(about: AboutProducer) -> DataStructure:
    connection_id, session, value = (*about.producer_id.rsplit(":", 2), "0", "0")[:3]
    numbers = [int(each) if each.isdecimal() else 0 for each in (session, value)]
    producer_id = ProducerId(connection_id, numbers[1], numbers[0])
    if not about.added:
        return RemoveInfo(object_id=producer_id)
    destination = about.destination
    return ProducerInfo(
        producer_id=producer_id,
        destination=None if destination is None else translation.from_destination(destination),
    )


def _subscription(about: AboutSubscription) -> DataStructure:
    return RemoveSubscriptionInfo(
        connection_id=ConnectionId(about.connection_id),
        subscription_name=about.name,
        client_id=about.client_id,
    )


def _destination(about: AboutDestination) -> DataStructure:
    return DestinationInfo(
        connection_id=ConnectionId(about.connection_id) if about.connection_id else None,
        destination=translation.from_destination(about.destination),
        operation_type=DestinationOperation.ADD if about.added else DestinationOperation.REMOVE,
    )


def _message(about: AboutMessage) -> DataStructure:
    command = translation.from_message(about.message)
    if not about.with_body:
        command.content = None
    return command


STRUCTURES: Final[dict[type, Callable[[Any], DataStructure]]] = {
    AboutConnection: _connection,
    AboutConsumer: _consumer,
    AboutSubscription: _subscription,
    AboutProducer: _producer,
    AboutDestination: _destination,
    AboutMessage: _message,
}
"""By what an advisory is about."""

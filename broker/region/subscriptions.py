"""The subscriptions of a region that have names: durable ones, shared ones, and those that are both.

A durable subscription is its client's: client id and name are its identity. A shared one belongs to whoever
knows its name, unless its client has chosen a client id: then it is that client's, too. A client id that a
client library has made up (`ID:…`) is not a chosen one.

Source: JMS 2.0, §8.3; ActiveMQ, for what its clients expect of durable subscriptions.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from broker.authorization import Permission
from broker.destination import Destination, DestinationKind, is_storable
from broker.errors import InvalidClientId, InvalidDestination, RequestInvalid, ResourceExhausted
from broker.region.durable import DurableSubscription
from broker.region.parts import check_pattern, matching
from broker.region.shared import SharedSubscription
from broker.region.topic import Topic
from journal.index import Backlog
from journal.record import AddSubscription, Record
from journal.topics import subscription_matches

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.region import Region

Key = tuple[str, str]
"""Client id and name."""
MADE_UP: Final = "ID:"
"""What client ids begin with that nobody has chosen. Source: ActiveMQ's clients."""

_log: Final = logging.getLogger("broker.region")


class Subscriptions:
    """All subscriptions with names.

    Attributes:
        durable: with or without consumers.
        shared: those that are not durable; they have consumers.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self.durable: dict[Key, DurableSubscription] = {}
        self.shared: dict[Key, SharedSubscription] = {}
        self._open: dict[DurableSubscription | SharedSubscription, None] = {}
        """Wildcards: they take from topics that are made later, too."""
        self._changed: dict[DurableSubscription, None] = {}
        """Those of which the journal does not know yet since when they are away, or that they are not."""
        limits = region.limits
        self._looks = limits.offline_timeout_ms > 0 and limits.offline_period_ms > 0
        self._sweep_ms = region.now_ms + limits.offline_period_ms

    def recover(self) -> None:
        """Take over what the journal holds."""
        state = self._region.store.state
        for key, found in state.subscriptions.items():
            destination = Destination.topic(found.destination.removeprefix("topic://"))
            record = AddSubscription(
                *key, found.destination, found.selector, found.no_local, found.shared, found.away_since_ms
            )
            subscription = DurableSubscription(self._region, record, destination, Backlog(found.pending))
            self.durable[key] = subscription
            if not found.away_since_ms:
                self.changed(subscription)
            for uri in state.topics_of(found):
                self._region.restore_topic(Destination.parse(uri))
            for member in destination.members():
                if not member.is_pattern:
                    self._region.restore_topic(member)
            self._join(subscription, destination)

    # ---- topics

    def made(self, topic: Topic) -> None:
        """There is a new topic: wildcards take from it."""
        if topic.owner is not None:
            return
        for subscription in self._open:
            if topic not in subscription.topics and subscription_matches(
                subscription.destination.uri, topic.uri
            ):
                subscription.join(topic)

    def _join(self, subscription: DurableSubscription | SharedSubscription, destination: Destination) -> None:
        """Take from all topics that a destination names; they are made if they do not exist."""
        region = self._region
        members = destination.members()
        patterns = [member for member in members if member.is_pattern]
        for pattern in patterns:
            region.retained.restore(pattern)
        found = [region.target(member) for member in members if not member.is_pattern]
        found += [target for pattern in patterns for target in matching(region, pattern)]
        for target in dict.fromkeys(found):
            assert isinstance(target, Topic)
            if target not in subscription.topics:
                subscription.join(target)
        if patterns:
            self._open[subscription] = None

    # ---- consumers come

    def attach(self, consumer: Consumer) -> int:
        """Let a consumer take from the subscription that it names; returns the batch to wait for.

        Raises:
            InvalidDestination: it cannot subscribe to that.
            InvalidClientId: it is durable, not shared, and its connection has no client id.
            RequestInvalid: the subscription is in use, or is another one.
            ResourceExhausted: there are too many of something.
        """
        options, connection = consumer.options, consumer.connection
        name = options.subscription_name or ""
        if not is_storable(name):
            raise RequestInvalid("The subscription's name is too long, or not valid Unicode.")
        destination = _topics(consumer.destination, connection, durable=options.durable)
        if not options.durable:
            scope = "" if options.common else _scope(connection.client_id)
            self._attach_shared(consumer, scope, name, destination)
            return self._region.last_batch
        if options.shared:
            client_id = "" if options.common else _scope(connection.client_id)
        elif not connection.client_id:
            raise InvalidClientId("A durable subscriber needs a connection with a client id.")
        else:
            client_id = connection.client_id
        record = AddSubscription(
            client_id, name, destination.uri, consumer.selector, options.no_local, options.shared
        )
        return self._attach_durable(consumer, record, destination)

    def _attach_shared(self, consumer: Consumer, client_id: str, name: str, destination: Destination) -> None:
        key = client_id, name
        subscription = self.shared.get(key)
        is_new = False
        if subscription is None:
            subscription = SharedSubscription(self._region, consumer, key, destination)
            self._join(subscription, destination)
            self.shared[key] = subscription
            is_new = True
        elif (subscription.destination, subscription.selector, subscription.no_local) != (
            destination,
            consumer.selector,
            consumer.options.no_local,
        ):
            raise RequestInvalid(_other_one(name))
        subscription.attach(consumer, self._region.policies.of(destination))
        for topic in subscription.topics if is_new else ():
            if consumer.options.retroactive or topic.policy.always_retroactive:
                subscription.recover(topic.remembered())

    def _attach_durable(self, consumer: Consumer, record: AddSubscription, destination: Destination) -> int:
        """Activate the subscription of that name; make it, or make it anew if it is now another one."""
        region = self._region
        key = record.client_id, record.name
        subscription = self.durable.get(key)
        if subscription is not None:
            same = (subscription.destination, subscription.selector, subscription.no_local) == (
                destination,
                record.selector,
                record.no_local,
            )
            self._check_free(subscription, record, same=same)
            if same:
                if not subscription.consumers:
                    self.changed(subscription)
                subscription.attach(consumer)
                return region.last_batch
        elif len(self.durable) >= region.limits.durable_subscriptions_max:
            raise ResourceExhausted(
                f"A broker has at most {region.limits.durable_subscriptions_max} durable subscriptions."
            )
        made = DurableSubscription(region, record, destination)
        self._join(made, destination)
        records: list[Record] = [] if subscription is None else [self._drop(subscription)]
        batch = region.append([*records, record])
        self.durable[key] = made
        made.attach(consumer)
        return batch

    @staticmethod
    def _check_free(subscription: DurableSubscription, record: AddSubscription, *, same: bool) -> None:
        """Whether one more consumer can take from it, or make it anew."""
        name = record.name
        if subscription.shared is not record.shared:
            kind = "a shared" if subscription.shared else "an unshared"
            raise RequestInvalid(f"There is {kind} durable subscription of the name {name}.")
        if not subscription.consumers or (record.shared and same):
            return
        if record.shared:
            raise RequestInvalid(_other_one(name))
        raise RequestInvalid(
            f"Durable consumer is in use for client: {record.client_id} and subscriptionName: {name}"
        )

    # ---- subscriptions end

    def forget(self, subscription: SharedSubscription) -> None:
        """Its last consumer is gone."""
        del self.shared[subscription.key]
        self._open.pop(subscription, None)

    def remove(self, connection: RegionConnection, name: str, *, common: bool = False) -> int:
        """End a durable subscription, as its client asks; returns the batch to wait for.

        Raises:
            InvalidDestination: there is none of that name.
            RequestInvalid: it has a consumer.
            AccessDenied: it is shared, and the user may not read from its topics.
        """
        client_id = "" if common else connection.client_id or ""
        subscription = self.durable.get((client_id, name)) or self.durable.get((_scope(client_id), name))
        if subscription is None:
            raise InvalidDestination(
                f"No durable subscription exists for clientID: {client_id} and subscriptionName: {name}"
            )
        if subscription.consumers:
            raise RequestInvalid("Durable consumer is in use")
        if subscription.shared:
            self._region.permit(connection.user, Permission.READ, subscription.destination)
        record = self._drop(subscription)
        self._region.advisories.subscription_removed(connection.connection_id, subscription)
        return self._region.append((record,))

    def end(self, subscription: DurableSubscription) -> Record:
        """End a durable subscription that has no consumer, with what waits for it; returns what to record."""
        return self._drop(subscription)

    def _drop(self, subscription: DurableSubscription) -> Record:
        del self.durable[subscription.key]
        self._open.pop(subscription, None)
        self._changed.pop(subscription, None)
        return subscription.drop()

    # ---- how long they are away

    def changed(self, subscription: DurableSubscription) -> None:
        """It has a consumer again, or none any more: the journal is to know it, if it matters."""
        if self._looks:
            self._changed[subscription] = None

    @property
    def due_ms(self) -> int | None:
        """When `run` is to be called; None: never."""
        if not self._looks:
            return None
        return self._region.now_ms if self._changed else self._sweep_ms

    def run(self) -> None:
        """Tell the journal who has come and gone; remove those that were away for too long.

        Not told at once: what ends with a mastership's connections must not be written after its journal.
        """
        region, limits = self._region, self._region.limits
        records: list[Record] = [each.record() for each in self._changed]
        self._changed.clear()
        if self._sweep_ms <= region.now_ms:
            self._sweep_ms = region.now_ms + limits.offline_period_ms
            latest_ms = region.now_ms - limits.offline_timeout_ms
            for subscription in list(self.durable.values()):
                if not subscription.consumers and subscription.away_since_ms <= latest_ms:
                    client_id, name = subscription.key
                    _log.info("Subscription %s of client %r was away too long: removed", name, client_id)
                    region.advisories.subscription_removed("", subscription)
                    records.append(self._drop(subscription))
        if records:
            region.append(records)


def _scope(client_id: str | None) -> str:
    """Whose a shared subscription is; "": everybody's."""
    return "" if client_id is None or client_id.startswith(MADE_UP) else client_id


def _other_one(name: str) -> str:
    return (
        f"The shared subscription {name} has consumers, and another topic, selector or noLocal; "
        "all its consumers must ask for the same."
    )


def _topics(destination: Destination, connection: RegionConnection, *, durable: bool) -> Destination:
    """The topics of a subscription, in the form in which it is known.

    Raises:
        InvalidDestination: it is none of topics, or temporary.
    """
    members = destination.members()
    for member in members:
        if member.kind is DestinationKind.TEMP_TOPIC and not durable and member is destination:
            target = connection.region.target(member, consuming=connection)
            if target.owner is not connection:
                raise InvalidDestination(f"{destination} belongs to another connection.")
            return destination
        if member.kind is not DestinationKind.TOPIC:
            raise InvalidDestination(f"Only topics can be subscribed to, not {member}.")
        if member.is_pattern:
            check_pattern(member)
    return destination if len(members) == 1 else Destination.topic(",".join(each.name for each in members))

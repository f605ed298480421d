"""The subscriptions of one connection: what SUBSCRIBE asks for, and which message ACK and NACK mean.

======================  =========================================================================
mode                    a message is acknowledged
======================  =========================================================================
`auto`                  when it is sent
`client`                by an ACK of it or of a later one of its subscription
`client-individual`     by its own ACK
======================  =========================================================================

In 1.2 an ACK names the `ack` of the MESSAGE: the subscription's number and the message's. In the versions
before it names the message-id.

Source: ActiveMQ's `StompSubscription` and `ProtocolConverter`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broker.destination import Destination
from broker.errors import ClientError
from broker.region.consumer import (
    BROWSER_PREFETCH,
    DURABLE_TOPIC_PREFETCH,
    QUEUE_PREFETCH,
    TOPIC_PREFETCH,
    AckKind,
    Consumer,
    ConsumerOptions,
)
from broker.selector import CONVERTING
from broker.stomp.errors import FrameInvalid
from broker.stomp.headers import Version, lines, plain_lines

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection

AUTO: Final = "auto"
CLIENT: Final = "client"
INDIVIDUAL: Final = "client-individual"

_INT_MAX: Final = 2**31 - 1
_KEPT_IDS_MIN: Final = 64
REF_DIGITS_MAX: Final = 18
"""Digits of a message's number; no broker comes so far."""

ConsumerKey = Hashable
"""How the region names the consumer: the session, -1 as in ActiveMQ, and the subscription's number."""


@dataclass(slots=True)
class Subscription:
    """One of them.

    Attributes:
        key: the consumer's, in the region.
        number: its own, which begins the `ack` of its messages.
        id: as the client named it; None: it did not.
        destination: it.
        ack_mode: `AUTO`, `CLIENT` or `INDIVIDUAL`.
        browses: it looks, and takes nothing.
        head: what stands before a message in its frames.
        needs_ack_id: behind that comes the message's number, which ends the `ack` header.
        refs: by message-id as it is kept, where the client acknowledges by these.
    """

    key: ConsumerKey
    number: bytes
    id: str | None
    destination: Destination
    ack_mode: str
    browses: bool
    durable_name: str | None
    head: bytes
    needs_ack_id: bool
    refs: dict[bytes, int] | None
    consumer: Consumer | None = field(default=None, repr=False)

    @property
    def is_cumulative(self) -> bool:
        """Whether an acknowledgement is also for the messages before."""
        return self.ack_mode != INDIVIDUAL

    def note(self, message_id: bytes, ref: int) -> None:
        """A message was dispatched that will be acknowledged by its id."""
        refs = self.refs
        assert refs is not None
        refs[message_id] = ref
        if len(refs) > _KEPT_IDS_MIN and self.consumer is not None:
            dispatched = self.consumer.dispatched
            if len(refs) > 2 * len(dispatched) + _KEPT_IDS_MIN:
                self.refs = {each: ref for each, ref in refs.items() if ref in dispatched}


def ack_mode_of(headers: Mapping[str, str]) -> str:
    """How messages are acknowledged; what is none of the modes means `AUTO`, as in ActiveMQ."""
    mode = headers.get("ack", AUTO)
    return mode if mode in (CLIENT, INDIVIDUAL) else AUTO


def options_of(headers: Mapping[str, str], destination: Destination) -> ConsumerOptions:
    """What a SUBSCRIBE frame asks for.

    Raises:
        FrameInvalid: a header has a value that means nothing.
    """
    browser = headers.get("browser") == "true"
    name = subscription_name(headers)
    prefetch = _default_prefetch(destination, browser=browser, durable=bool(name))
    selector = headers.get("selector")
    return ConsumerOptions(
        prefetch_size=max(_number(headers, "activemq.prefetchSize", prefetch, 0), 1),
        browser=browser,
        selector=f"{CONVERTING}{selector}" if selector else None,
        no_local=_flag(headers, "activemq.noLocal"),
        subscription_name=name,
        exclusive=_flag(headers, "activemq.exclusive"),
        priority=_number(headers, "activemq.priority", 0, -128),
        retroactive=_flag(headers, "activemq.retroactive"),
        pending_limit=_number(headers, "activemq.maximumPendingMessageLimit", 0, -1),
    )


def subscription_name(headers: Mapping[str, str]) -> str | None:
    """Names a durable subscription; ActiveMQ understands the misspelt header, too."""
    return headers.get("activemq.subscriptionName") or headers.get("activemq.subcriptionName") or None


def _default_prefetch(destination: Destination, *, browser: bool, durable: bool) -> int:
    if browser:
        return BROWSER_PREFETCH
    if destination.is_queue:
        return QUEUE_PREFETCH
    return DURABLE_TOPIC_PREFETCH if durable else TOPIC_PREFETCH


def _number(headers: Mapping[str, str], name: str, default: int, low: int) -> int:
    text = headers.get(name)
    if text is None:
        return default
    number = text.strip()  # of more than int() forgives
    digits = number.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 11 and low <= int(number) <= _INT_MAX):
        raise FrameInvalid(
            f"The header {name} {text[:100]!r} is not a whole number from {low} to {_INT_MAX}."
        )
    return int(number)


def _flag(headers: Mapping[str, str], name: str) -> bool:
    return headers.get(name, "").strip().lower() == "true"


class Subscriptions:
    """Those of one connection.

    Attributes:
        by_key: all of them.
        by_number: those whose messages are acknowledged by the `ack` header, by what it begins with.

    Args:
        connection: of the region.
        version: what is spoken.
    """

    def __init__(self, connection: RegionConnection, version: Version) -> None:
        self.by_key: dict[ConsumerKey, Subscription] = {}
        self._by_id: dict[str, Subscription] = {}
        self.by_number: dict[bytes, Subscription] = {}
        self._connection = connection
        self._version = version
        self._last = 0

    def add(self, id_: str | None, destination: Destination, headers: Mapping[str, str]) -> int:
        """Opens one; returns the batch that makes it durable.

        Raises:
            ClientError: it cannot be opened.
        """
        if id_ is not None and id_ in self._by_id:
            raise FrameInvalid(f"There is already a subscription with the id {id_[:100]!r}.")
        options = options_of(headers, destination)
        if options.subscription_name and destination.is_queue:
            raise FrameInvalid("Invalid Subscription: cannot durably subscribe to a Queue destination!")
        if options.browser and self._version is Version.V1_0:
            raise FrameInvalid("Queue Browser feature only valid for Stomp v1.1+ clients!")
        self._last += 1
        subscription = self._made(id_, destination, ack_mode_of(headers), options)
        self.by_key[subscription.key] = subscription
        if subscription.needs_ack_id:
            self.by_number[subscription.number] = subscription
        try:
            batch = self._connection.add_consumer(subscription.key, destination, options)
        except ClientError:
            self.forget(subscription.key)
            raise
        subscription.consumer = self._connection.consumers[subscription.key]
        if id_ is not None:
            self._by_id[id_] = subscription
        return batch

    def _made(
        self, id_: str | None, destination: Destination, ack_mode: str, options: ConsumerOptions
    ) -> Subscription:
        head = b"MESSAGE\n"
        if id_ is not None:
            head += subscription_line(id_, self._version)
        acknowledged = ack_mode != AUTO
        needs_ack_id = acknowledged and self._version is Version.V1_2
        if needs_ack_id:
            head += b"ack:%d-" % self._last
        return Subscription(
            key=(-1, self._last),
            number=b"%d" % self._last,
            id=id_,
            destination=destination,
            ack_mode=ack_mode,
            browses=options.browser,
            durable_name=options.subscription_name,
            head=head,
            needs_ack_id=needs_ack_id,
            refs={} if acknowledged and not needs_ack_id else None,
        )

    def remove(self, id_: str | None, destination: Destination | None) -> None:
        """Closes one, by its id or else by its destination.

        Raises:
            FrameInvalid: there is none.
        """
        found = self._by_id.get(id_) if id_ is not None else None
        if id_ is None:
            found = next((each for each in self.by_key.values() if each.destination == destination), None)
        if found is None:
            raise FrameInvalid("No subscription matched.")
        self._connection.remove_consumer(found.key)
        self.forget(found.key)

    def close_durable(self, name: str) -> None:
        """Closes the subscription that takes from a durable one, if it is this connection's."""
        for each in [each for each in self.by_key.values() if each.durable_name == name]:
            self._connection.remove_consumer(each.key)
            self.forget(each.key)

    def forget(self, key: ConsumerKey) -> None:
        """One is closed."""
        subscription = self.by_key.pop(key, None)
        if subscription is not None:
            self.by_number.pop(subscription.number, None)
            if subscription.id is not None and self._by_id.get(subscription.id) is subscription:
                del self._by_id[subscription.id]

    # ---- acknowledgements

    def acknowledge(self, subscription: Subscription, ref: int) -> None:
        """A message, and but for `INDIVIDUAL` those before it, are done with; see `gather` of the region."""
        self._connection.gather(subscription.key, ref, cumulative=subscription.is_cumulative)

    def acknowledge_in(self, transaction: str, subscription: Subscription, ref: int) -> None:
        """They will be done with when a transaction is committed."""
        cumulative = subscription.is_cumulative
        kind = AckKind.STANDARD if cumulative else AckKind.INDIVIDUAL
        first = 0 if cumulative else ref
        self._connection.acknowledge(subscription.key, kind, first, ref, transaction=transaction)

    def refuse(self, subscription: Subscription, ref: int, transaction: str | None) -> int:
        """A message goes to the dead letters at once; returns the batch that says so.

        Raises:
            FrameInvalid: the subscription only looks.
        """
        if subscription.browses:
            raise FrameInvalid("Cannot Nack a message on a Queue Browser Subscription.")
        return self._connection.acknowledge(
            subscription.key,
            AckKind.POISON,
            ref,
            ref,
            transaction=transaction,
            cause="NACK of a STOMP client",
        )

    def by_ack_id(self, ack_id: bytes) -> tuple[Subscription, int] | None:
        """What an `ack` header of a MESSAGE means, if it is not acknowledged yet."""
        number, _, ref = ack_id.partition(b"-")
        if not ref.isdigit() or len(ref) > REF_DIGITS_MAX:
            return None
        return self._waiting(self.by_number.get(number), int(ref))

    def by_message_id(self, message_id: bytes, id_: str | None) -> tuple[Subscription, int] | None:
        """What a message-id means, if it is not acknowledged yet; in 1.0 no subscription need be named."""
        wanted = self.by_key.values() if id_ is None else (self._by_id.get(id_),)
        for subscription in wanted:
            if subscription is not None and subscription.refs is not None:
                found = self._waiting(subscription, subscription.refs.get(message_id, 0))
                if found is not None:
                    return found
        return None

    def _waiting(self, subscription: Subscription | None, ref: int) -> tuple[Subscription, int] | None:
        if subscription is None or subscription.consumer is None or subscription.ack_mode == AUTO:
            return None
        return (subscription, ref) if ref in subscription.consumer.dispatched else None


def subscription_line(id_: str, version: Version) -> bytes:
    """The header that names the subscription in MESSAGE frames."""
    headers = {"subscription": id_}
    return (plain_lines(headers) if version is Version.V1_0 else lines(headers, version)).encode("utf-8")

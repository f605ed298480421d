"""What the two kinds of links are to the region: producers and consumers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broker.amqp.addresses import check_own, destination_of, kind_of
from broker.amqp.errors import INVALID_FIELD, LinkRefused
from broker.amqp.events import Terminus
from broker.amqp.types import Described, ULong
from broker.destination import Destination, DestinationKind
from broker.errors import ClientError
from broker.region.consumer import ConsumerOptions

if TYPE_CHECKING:
    from broker.amqp.events import Link, Pointer
    from broker.amqp.inbound import Template
    from broker.region.connection import RegionConnection

NO_LOCAL: Final = (0x0000468C00000003, "apache.org:no-local-filter:list")
SELECTOR: Final = (0x0000468C00000004, "apache.org:selector-filter:string")
"""What describes these filters. Source: the Apache filters of the AMQP JMS mapping."""
SELECTOR_NAMES: Final = ("jms-selector", "apache.org:selector-filter:string", "selector")
NO_LOCAL_NAMES: Final = ("no-local", "apache.org:no-local-filter:list")
"""What they are called if nothing describes them."""
SHARED: Final = "shared"
GLOBAL: Final = "global"
NAME_END: Final = "|"
"""Behind a shared subscription's name, before what tells its links apart. Source: Qpid JMS."""
NEVER: Final = 3
"""Expiry policy: the terminus stays."""

Key = tuple[int, int]
"""1, and a number: what tells the consumers of one connection apart, in the form of OpenWire's."""


@dataclass(slots=True, eq=False)
class Receiving:
    """A link on which a client sends.

    Attributes:
        link: it.
        producer_id: what the region calls it.
        destination: None: each message says where it goes.
        temporary: the link has made its destination.
        answered: messages answered since it got credit.
        template: what its next message may have in common with its last one.
    """

    link: Link
    producer_id: str
    destination: Destination | None
    temporary: bool = False
    answered: int = 0
    template: Template | None = None


@dataclass(slots=True, eq=False)
class Sending:
    """A link on which a client receives.

    Attributes:
        link: it.
        key: of its consumer.
        destination: what it takes from.
        subscription: the name of its durable subscription; empty: it has none.
        common: that is everybody's.
        temporary: the link has made its destination.
        unsettled: what has been sent and not been settled, with the region's numbers.
    """

    link: Link
    key: Key
    destination: Destination
    subscription: str = ""
    common: bool = False
    temporary: bool = False
    unsettled: dict[Pointer, int] = field(default_factory=dict)


def make_temporary(connection: RegionConnection, terminus: Terminus, number: int) -> Destination:
    """A node for a dynamic terminus.

    Raises:
        ClientError: it cannot be made.
    """
    kind = kind_of(terminus.capabilities)
    is_topic = kind in (DestinationKind.TOPIC, DestinationKind.TEMP_TOPIC)
    destination = Destination(
        DestinationKind.TEMP_TOPIC if is_topic else DestinationKind.TEMP_QUEUE,
        f"{connection.connection_id}:{number}",
    )
    connection.add_destination(destination)
    return destination


def open_receiving(connection: RegionConnection, link: Link, number: int) -> tuple[Receiving, Terminus]:
    """Make the producer of a link; returns it and the target as it is.

    Raises:
        BrokerError: it cannot be had.
    """
    target = link.target
    destination = None
    if target.dynamic:
        destination = make_temporary(connection, target, number)
    elif target.address:
        destination = destination_of(target.address, kind_of(target.capabilities))
    producer_id = f"{connection.connection_id}:1:{number}"
    connection.add_producer(producer_id, destination)
    actual = target
    if target.dynamic and destination is not None:
        actual = Terminus("target", destination.uri, dynamic=True, capabilities=target.capabilities)
    return Receiving(link, producer_id, destination, temporary=target.dynamic), actual


def open_sending(connection: RegionConnection, link: Link, number: int) -> tuple[Sending, Terminus, int]:
    """Make the consumer of a link; returns it, the source as it is, and the batch to wait for.

    Raises:
        BrokerError: it cannot be had.
    """
    source = link.source
    if source.dynamic:
        destination = make_temporary(connection, source, number)
    elif source.address:
        destination = destination_of(source.address, kind_of(source.capabilities))
        check_own(destination, connection)
    else:
        raise LinkRefused(INVALID_FIELD, "A source needs an address.")
    filters, selector, no_local = _filters(source)
    sending = Sending(link, (1, number), destination, temporary=source.dynamic)
    is_shared = SHARED in source.capabilities
    durable = source.durability > 0 and not destination.is_queue
    name = link.name.partition(NAME_END)[0] if is_shared else link.name
    if durable:
        sending.subscription = name
        sending.common = is_shared and GLOBAL in source.capabilities
    options = ConsumerOptions(
        prefetch_size=0,
        browser=source.copy and destination.is_queue,
        selector=selector,
        no_local=no_local,
        subscription_name=name if (durable or is_shared) and not destination.is_queue else None,
        durable=durable,
        shared=is_shared,
        common=is_shared and GLOBAL in source.capabilities,
    )
    try:
        batch = connection.add_consumer(sending.key, destination, options)
    except ClientError:
        if sending.temporary:
            connection.remove_destination(destination)
        raise
    actual = Terminus(
        "source",
        destination.uri if source.dynamic else source.address,
        source.durability,
        source.expiry,
        source.dynamic,
        source.copy,
        source.capabilities,
        filters,
    )
    return sending, actual, batch


def find_subscription(connection: RegionConnection, link: Link, number: int) -> tuple[Sending, Terminus]:
    """A durable subscription that a link without a source asks for by its name, as Qpid JMS does to end it.

    Raises:
        LinkRefused: there is none.
    """
    name = link.name.partition(NAME_END)[0]
    durable = connection.region.subscriptions.durable
    own = durable.get((connection.client_id or "", name))
    found = own or durable.get(("", name))
    if found is None:
        raise LinkRefused("amqp:not-found", f"Unknown subscription link: {name}")
    sending = Sending(link, (1, number), found.destination, subscription=name, common=own is None)
    return sending, Terminus("source", found.destination.uri, durability=2, expiry=NEVER, copy=True)


def _filters(source: Terminus) -> tuple[dict[object, object], str | None, bool]:
    """The filters that are understood, the selector, and whether its own messages are left out."""
    known: dict[object, object] = {}
    selector, no_local = None, False
    for name, value in source.filters.items():
        descriptor = value.descriptor if isinstance(value, Described) else None
        if descriptor in SELECTOR or (descriptor is None and name in SELECTOR_NAMES):
            content = value.value if isinstance(value, Described) else value
            if not isinstance(content, str):
                raise LinkRefused(INVALID_FIELD, "A selector is a string.")
            selector = str(content)
        elif descriptor in NO_LOCAL or (descriptor is None and name in NO_LOCAL_NAMES):
            no_local = True
        else:
            continue
        known[name] = value
    return known, selector, no_local


def accepted() -> Described:
    """The outcome, as a field of a transactional state."""
    return Described(ULong(0x24), [])

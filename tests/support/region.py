"""A region over a journal in memory, and clients that write down what they are given."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from broker.advisory import About, AdvisoryMessage
from broker.destination import Destination
from broker.errors import ClientError, SendBlocked
from broker.forwarding import Forwarding
from broker.message import BodyKind, Message
from broker.policies import PolicyMap
from broker.region.connection import RegionConnection
from broker.region.consumer import AckKind, Consumer, ConsumerOptions
from broker.region.limits import RegionLimits
from broker.region.region import Region
from broker.region.usage import UsageLimits
from journal.record import Record, Stored
from journal.state import State

QUEUE = Destination.queue("workshop.test")
TOPIC = Destination.topic("prices")


class MemoryStore:
    """A journal in memory: the shipped index over a list of records; durable when told."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self.state = State()
        self.batches: list[list[Record]] = []
        self.durable_batch = 0
        self.full = False
        self.is_behind = False
        self.room_bytes = 1 << 60
        self._before = list(records)
        self.bodies: dict[int, bytes] = {}
        self._apply(records)

    def _apply(self, records: Sequence[Record]) -> None:
        for record in records:
            self.state.apply(record, 0, 1)
            if isinstance(record, Stored):
                self.bodies[record.ref] = record.body

    @property
    def live_bytes(self) -> int:
        """Bytes of the records of live messages; a record here has one."""
        return self.state.live_bytes

    def has_room(self, size_bytes: int) -> bool:
        """Whether a record so long fits."""
        return not self.full and size_bytes <= self.room_bytes

    def append(self, records: Sequence[Record]) -> int:
        """One batch per append: the strictest case."""
        assert records
        self.batches.append(list(records))
        self._apply(records)
        return len(self.batches)

    def read(self, ref: int, destination: str) -> bytes:
        """The body of a live message."""
        self.state.place(ref, destination)
        return self.bodies[ref]

    def records(self, batches: int | None = None) -> list[Record]:
        """What it began with, and all records of the first so many batches, in order."""
        return self._before + [record for batch in self.batches[:batches] for record in batch]


class RecordingClient:
    """A client that keeps what it is given.

    Attributes:
        got: (consumer key, message id, ref, redelivery counter) per dispatch.
        none: consumer keys told that there is no message.
        closed: consumer keys told that they are closed.
        prefetch_sizes: by consumer key, of those that were told another than they asked for.
    """

    def __init__(self) -> None:
        self.got: list[tuple[Hashable, str, int, int]] = []
        self.none: list[Hashable] = []
        self.closed: list[Hashable] = []
        self.prefetch_sizes: dict[Hashable, int] = {}
        self.disconnected: str | None = None
        self.messages: list[Message] = []

    def dispatch(self, consumer: Consumer, message: Message, ref: int, redelivery_counter: int) -> None:
        """Keep a dispatch."""
        self.got.append((consumer.key, message.message_id, ref, redelivery_counter))
        self.messages.append(message)

    def dispatch_none(self, consumer: Consumer) -> None:
        """Keep that there is none."""
        self.none.append(consumer.key)

    def set_prefetch(self, consumer: Consumer, prefetch_size: int) -> None:
        """Keep what it was told."""
        self.prefetch_sizes[consumer.key] = prefetch_size

    @property
    def advised(self) -> list[About | None]:
        """What the advisories dispatched were about."""
        return [each.about for each in self.messages if isinstance(each, AdvisoryMessage)]

    def close_consumer(self, consumer: Consumer) -> None:
        """Keep whose."""
        self.closed.append(consumer.key)

    def disconnect(self, reason: str) -> None:
        """Keep the reason."""
        self.disconnected = reason

    def ids(self, key: Hashable | None = None) -> list[str]:
        """The message ids dispatched, of one consumer or all."""
        return [message_id for each, message_id, _, _ in self.got if key in (None, each)]

    def refs(self, key: Hashable | None = None) -> list[int]:
        """The refs dispatched, of one consumer or all."""
        return [ref for each, _, ref, _ in self.got if key in (None, each)]


class Peer:
    """One connection to a region, with short names for what tests do."""

    def __init__(
        self,
        region: Region,
        connection_id: str = "c1",
        client_id: str | None = None,
        *,
        failover_reconnect: bool = False,
    ) -> None:
        self.client = RecordingClient()
        self.region = region
        self.connection: RegionConnection = region.connect(
            self.client, connection_id, client_id, failover_reconnect=failover_reconnect
        )
        self._sequence = 0
        self.outcomes: list[tuple[str, int | ClientError]] = []
        """How sends and commits went that went through `submit` and `submit_commit`, in that order."""

    def consume(
        self,
        key: str = "k",
        destination: Destination = QUEUE,
        prefetch_size: int = 1000,
        *,
        browser: bool = False,
        subscription_name: str | None = None,
        shared: bool = False,
        durable: bool = True,
        no_local: bool = False,
        selector: str | None = None,
        exclusive: bool = False,
        priority: int = 0,
        **options: Any,
    ) -> int:
        """Open a consumer; with any other options of it."""
        return self.connection.add_consumer(
            key,
            destination,
            ConsumerOptions(
                prefetch_size=prefetch_size,
                browser=browser,
                subscription_name=subscription_name,
                shared=shared,
                durable=durable,
                no_local=no_local,
                selector=selector,
                exclusive=exclusive,
                priority=priority,
                **options,
            ),
        )

    def send(
        self,
        message_id: str,
        destination: Destination = QUEUE,
        *,
        transaction: str | None = None,
        persistent: bool = True,
        expiration: int = 0,
        sequence: int | None = None,
        body_bytes: int = 0,
        **fields: Any,
    ) -> int:
        """Send a message whose body is its id, repeated if it is to be longer."""
        message = self.message(
            message_id,
            destination,
            persistent=persistent,
            expiration=expiration,
            sequence=sequence,
            body_bytes=body_bytes,
            **fields,
        )
        return self.connection.send(message, transaction)

    def message(
        self,
        message_id: str,
        destination: Destination = QUEUE,
        *,
        persistent: bool = True,
        expiration: int = 0,
        sequence: int | None = None,
        body_bytes: int = 0,
        **fields: Any,
    ) -> Message:
        """The next message of its producer; any other fields of it, such as `priority` or `group_id`."""
        self._sequence = self._sequence + 1 if sequence is None else sequence
        body = message_id.encode()
        return Message(
            message_id=message_id,
            destination=destination,
            producer_id=f"{self.connection.connection_id}:1:1",
            producer_sequence_id=self._sequence,
            persistent=persistent,
            expiration=expiration,
            body_kind=BodyKind.BYTES,
            body=(body * (body_bytes // len(body) + 1))[:body_bytes] if body_bytes else body,
            **fields,
        )

    def submit(
        self,
        message_id: str,
        destination: Destination = QUEUE,
        *,
        persistent: bool = True,
        transaction: str | None = None,
        body_bytes: int = 0,
    ) -> None:
        """Send as a protocol's server does: what has to wait for space waits."""
        message = self.message(message_id, destination, persistent=persistent, body_bytes=body_bytes)
        send = functools.partial(self.connection.send, message, transaction)
        answer = functools.partial(self._answer, message_id)
        try:
            answer(send())
        except ClientError as error:
            answer(error)
        except SendBlocked:
            self.connection.block(message, send, answer, transaction)

    def submit_commit(self, transaction: str) -> None:
        """Commit as a protocol's server does."""
        commit = functools.partial(self.connection.commit, transaction)
        answer = functools.partial(self._answer, f"commit {transaction}")
        try:
            answer(commit())
        except ClientError as error:
            answer(error)
        except SendBlocked:
            self.connection.block_commit(transaction, commit, answer)

    def _answer(self, what: str, outcome: int | ClientError) -> None:
        self.outcomes.append((what, outcome))

    def answered(self) -> list[str]:
        """What was submitted and taken so far, in the order of the answers."""
        return [what for what, outcome in self.outcomes if isinstance(outcome, int)]

    def refused(self) -> list[str]:
        """What was submitted and refused so far, with the error's class."""
        return [
            f"{what}: {type(outcome).__name__}"
            for what, outcome in self.outcomes
            if isinstance(outcome, ClientError)
        ]

    def acknowledge(
        self,
        *refs: int,
        key: str = "k",
        kind: AckKind = AckKind.STANDARD,
        transaction: str | None = None,
    ) -> int:
        """Acknowledge from the first to the last ref."""
        return self.connection.acknowledge(key, kind, refs[0], refs[-1], transaction=transaction)


def settle(region: Region) -> None:
    """The journal makes everything durable, and what can be dispatched is."""
    store = region.store
    assert isinstance(store, MemoryStore)
    store.durable_batch = len(store.batches)
    region.durable(store.durable_batch)
    region.dispatch()


def take(region: Region, peer: Peer, key: str = "k") -> None:
    """A consumer acknowledges the oldest message that it has."""
    peer.acknowledge(next(iter(peer.connection.consumers[key].dispatched)), key=key)
    settle(region)


def new_region(
    records: Sequence[Record] = (),
    *,
    limits: RegionLimits | None = None,
    usage: UsageLimits | None = None,
    temporary: Path | None = None,
    policies: Mapping[str, str] | None = None,
) -> Region:
    """A region over a memory store that begins with these records, at time 1000.

    Args:
        records: what the store holds.
        limits: of the region.
        usage: likewise.
        temporary: folder of its temporary files.
        policies: properties as in a PID, such as `{"policy.queue.>.gcInactiveDestinations": "true"}`;
            also those about forwarding, and `schedulerSupport`.
    """
    return Region(
        MemoryStore(records),
        limits,
        now_ms=1000,
        usage=usage,
        temporary=temporary,
        policies=PolicyMap.parse(policies or {}),
        forwarding=Forwarding.parse(policies or {}),
        scheduling=(policies or {}).get("schedulerSupport") != "false",
    )


def restarted(
    region: Region,
    *,
    limits: RegionLimits | None = None,
    usage: UsageLimits | None = None,
    temporary: Path | None = None,
    policies: Mapping[str, str] | None = None,
) -> Region:
    """A new broker over what the old one's journal has made durable."""
    store = region.store
    assert isinstance(store, MemoryStore)
    return new_region(
        store.records(store.durable_batch),
        limits=limits,
        usage=usage,
        temporary=temporary,
        policies=policies,
    )

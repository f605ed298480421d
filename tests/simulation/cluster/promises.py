"""What was promised, to whom, and whether it is kept. Knows nothing of how the product works.

A message is known by its name, such as ``p0/17``: producer and number. Every body carries its name, so that
it is recognised wherever it lies. What is sent to a topic waits for each durable subscriber by itself:
``p0/17@c1`` is what c1 is to get.

=====  =====================================================================================================
P1     what a journal has reported as durable, or a producer was told, is in the store of every later master,
       until its removal was at least asked for; and at the end it has been consumed
P2     what is reported as durable after a successor has begun to serve is known to that successor
P3     no message is stored a second time; none is delivered to a consumer that has acknowledged it
P4     one producer's messages reach the only consumer of a queue in the order sent, after a failover, too
P9     the files of a store that is at rest stay within their bound
also   transactions are stored whole or not at all; what was consumed for good, or what a serving master did
       not have, does not come back; bodies are as they were sent; nothing is reported as damaged that was not
       damaged; after the last fault everybody gets on with their work
=====  =====================================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from journal.record import AcknowledgeSubscription, AddMessage, AddSubscription, RemoveMessage

NAME = re.compile(rb"<(p\d+/\d+):(\d+)>")
"""How a body says its name, and how long it is in all."""


@cache
def body_of(name: str, length: int) -> bytes:
    """A body that says its name; whoever reads it can tell whether it is whole."""
    head = f"<{name}:{length}>".encode()
    return head + bytes((index * 7 + length) % 251 for index in range(max(length - len(head), 0)))


def name_in(data: bytes) -> str:
    """The name of the message in some bytes, empty if it is not whole."""
    found = NAME.search(data)
    if found is None:
        return ""
    body = body_of(found[1].decode(), int(found[2]))
    return found[1].decode() if data[found.start() : found.start() + len(body)] == body else ""


def waiting(name: str, subscriber: str) -> str:
    """What a message is to a durable subscriber; in a queue there is none."""
    return f"{name}@{subscriber}" if subscriber else name


class PromiseBroken(Exception):
    """A promise is not kept; says which."""


@dataclass
class Reign:
    """One epoch that served.

    Attributes:
        epoch: its number.
        known: names of the messages in its store when it began to serve.
        names: of messages by their number in the store and the subscriber they wait for, if they do; those it
            added included.
        subscribers: the destinations of durable subscriptions.
        pending: what it has appended and not yet reported as durable: batch, whether added, name.
    """

    epoch: int
    known: frozenset[str]
    names: dict[tuple[int, str], str]
    subscribers: dict[str, str]
    pending: list[tuple[int, bool, str]] = field(default_factory=list)
    added: set[tuple[str, int]] = field(default_factory=set)


class Promises:
    """Everything that was promised in one history.

    Attributes:
        broken: the first promise that was not kept.
    """

    def __init__(self) -> None:
        self.broken = ""
        self.sent: dict[str, str] = {}
        """Every message whose sending was begun, and its queue."""
        self.answered: set[str] = set()
        self.stored: set[str] = set()
        self.removing: set[str] = set()
        self.removed: set[str] = set()
        self.consumed: set[str] = set()
        self.excused: set[str] = set()
        """Messages that damage may cost, or bring back."""
        self.forgetful = False
        """Whether damage may have cost what was known of producers."""
        self.transactions: list[frozenset[str]] = []
        """Messages that are all stored or none of them."""
        self.subscribers: dict[str, str] = {}
        """Those who were told that they have a durable subscription, and its topic."""
        self._expected: dict[str, frozenset[str]] = {}
        self.reigns: list[Reign] = []
        self._views: list[tuple[int, frozenset[tuple[str, int]]]] = []

    def break_(self, text: str) -> None:
        """Note that a promise is not kept."""
        if not self.broken:
            self.broken = text

    # ---- the store

    def serving(self, epoch: int, live: Iterable[tuple[int, str, str]], subscribers: dict[str, str]) -> Reign:
        """A master begins to serve.

        Args:
            epoch: its.
            live: the messages in its store: number, subscriber it waits for, name.
            subscribers: destinations of the durable subscriptions in its store.
        """
        names = {(ref, subscriber): waiting(name, subscriber) for ref, subscriber, name in live}
        known = frozenset(names.values())
        pairs = frozenset((name, ref) for (ref, _), name in names.items())
        if gone := set(self.subscribers) - set(subscribers):
            self.break_(f"P1: epoch {epoch} serves without the subscription of {_some(gone)}")
        if len(known) < len(names) and not self.forgetful:
            twice = sorted(name for name in known if list(names.values()).count(name) > 1)
            self.break_(f"P3: epoch {epoch} has stored {twice[0]} twice")
        lost = (self.stored | self.answered) - self.removing - known - self.excused
        if lost:
            self.break_(f"P1: epoch {epoch} serves without {_some(lost)}, which was acknowledged")
        back = (self.removed & known) - self.excused
        if back:
            self.break_(f"P1: epoch {epoch} has {_some(back)} again, which was consumed")
        for earlier, view in self._views:
            if earlier > epoch:
                continue
            added = {pair for reign in self.reigns if reign.epoch >= earlier for pair in reign.added}
            gone = {name for name, _ in pairs - view - added} - self.excused
            if gone:
                self.break_(f"P2: epoch {epoch} has {_some(gone)}, which epoch {earlier} had not")
        if not self.excused:
            here = known | self.stored | self.removing
            for transaction in self.transactions:
                if transaction & here and transaction - here:
                    self.break_(
                        f"epoch {epoch} has {_some(transaction & here)} without {_some(transaction - here)}"
                    )
        self._views.append((epoch, pairs))
        reign = Reign(epoch, known, names, subscribers)
        self.reigns.append(reign)
        return reign

    def appended(self, reign: Reign, batch: int, records: Sequence[Any]) -> None:
        """A master has put records into a batch."""
        for record in records:
            match record:
                case AddMessage():
                    for subscriber in _subscribers(reign, record.destination):
                        name = waiting(name_in(record.body), subscriber)
                        reign.names[record.ref, subscriber] = name
                        reign.added.add((name, record.ref))
                        reign.pending.append((batch, True, name))
                case RemoveMessage():
                    for subscriber in _subscribers(reign, record.destination):
                        self._removed(reign, batch, record.ref, subscriber)
                case AcknowledgeSubscription():
                    self._removed(reign, batch, record.ref, record.client_id)
                case AddSubscription():
                    reign.subscribers[record.client_id] = record.destination
                case _:
                    pass

    def _removed(self, reign: Reign, batch: int, ref: int, subscriber: str) -> None:
        name = reign.names.get((ref, subscriber), "")
        self.removing.add(name)
        reign.pending.append((batch, False, name))

    def durable(self, reign: Reign, batch: int) -> None:
        """A master's journal reports batches up to this one as safe."""
        pending = reign.pending
        while pending and pending[0][0] <= batch:
            _, is_added, name = pending.pop(0)
            if not is_added:
                self._removed_for_good(reign, name)
                continue
            if (name in self.stored or name in reign.known) and not self.may_repeat(name):
                self.break_(f"P3: epoch {reign.epoch} stores {name} again")
            self.stored.add(name)
            for later in self.reigns:
                if later.epoch > reign.epoch and name not in later.known | self.removing | self.excused:
                    self.break_(
                        f"P2: epoch {reign.epoch} acknowledges {name}, serving epoch {later.epoch} lacks"
                    )

    def _removed_for_good(self, reign: Reign, name: str) -> None:
        self.removed.add(name)
        for later in self.reigns:
            if later.epoch > reign.epoch and name in later.known - self.excused:
                self.break_(
                    f"P2: epoch {reign.epoch} is done with {name}, serving epoch {later.epoch} has it"
                )

    def excuse(self, names: Iterable[str], subscribers: Iterable[str]) -> None:
        """Damage may cost these messages, or bring them back, for all who wait for them."""
        everybody = ("", *subscribers)
        self.excused |= {waiting(name, subscriber) for name in names for subscriber in everybody}

    def may_repeat(self, name: str) -> bool:
        """Whether damage is to blame for a repetition."""
        return self.forgetful or name in self.excused

    # ---- clients

    def sending(self, name: str, queue: str) -> None:
        """A producer begins to send."""
        self.sent[name] = queue
        if is_topic(queue):
            self._expected[name] = frozenset(who for who, topic in self.subscribers.items() if topic == queue)

    def subscribed(self, subscriber: str, topic: str) -> None:
        """A consumer was told that it has a durable subscription: it gets all that is sent from now on."""
        self.subscribers[subscriber] = topic

    def told(self, name: str) -> None:
        """A producer was told that its message is safe: in a queue, or for all who had subscribed before."""
        for subscriber in self._expected.get(name, ("",)):
            self._told(waiting(name, subscriber))

    def _told(self, name: str) -> None:
        self.answered.add(name)
        if name in self.stored | self.removing | self.excused:
            return
        # Then a successor has adopted it and dropped its repetition; so it is in every store from there on.
        knowing = [reign.epoch for reign in self.reigns if name in reign.known]
        if not knowing:
            self.break_(f"P1: {name} was acknowledged and no journal has reported it as durable")
            return
        for reign in self.reigns:
            if reign.epoch > min(knowing) and name not in reign.known:
                self.break_(f"P1: {name} was acknowledged and is not in the store of epoch {reign.epoch}")

    def is_safe(self, name: str) -> bool:
        """Whether a message is in the store for good."""
        return name in self.stored or any(name in reign.known for reign in self.reigns)

    def done(self, name: str) -> None:
        """A program has dealt with a message."""
        self.consumed.add(name)

    @property
    def left(self) -> set[str]:
        """What is in the store and was not consumed for good; a removal may count before it was told."""
        if not self.reigns:
            return set()
        newest = max(self.reigns, key=lambda reign: reign.epoch)
        left = (self.stored | newest.known) - self.removed - self.excused
        if left:
            here = newest.known | {name for name, _ in newest.added}
            left = {name for name in left if name in here or name not in self.removing}
        return left

    @property
    def lost_to_damage(self) -> list[str]:
        """What was acknowledged and never consumed, since a bit was flipped."""
        return sorted((self.answered | self.stored) & self.excused - self.consumed)

    def at_end(self) -> None:
        """Everything acknowledged has been consumed."""
        missing = (self.answered | self.stored) - self.consumed - self.excused
        if missing:
            self.break_(f"P1: {_some(missing)} was acknowledged and never consumed")
        unknown = {name.partition("@")[0] for name in self.consumed} - set(self.sent)
        if unknown:
            self.break_(f"{_some(unknown)} was consumed and never sent")


class Order:
    """What one consumer is given, and whether in order.

    Args:
        promises: to be kept.
        name: of the consumer.
        is_alone: whether the queue has no other consumer.
        subscriber: who has the durable subscription; "" if it is a queue.
    """

    def __init__(self, promises: Promises, name: str, *, is_alone: bool, subscriber: str) -> None:
        self._promises = promises
        self._name = name
        self._is_alone = is_alone
        self._subscriber = subscriber
        self._dispatched: dict[str, int] = {}
        self._first: dict[str, int] = {}
        self._acknowledged: set[str] = set()

    def connected(self) -> None:
        """A new connection: what was not acknowledged comes again, in order."""
        self._dispatched.clear()

    def dispatched(self, name: str) -> None:
        """A broker has dispatched a message."""
        producer, _, number = name.partition("/")
        if not self._promises.is_safe(waiting(name, self._subscriber)):
            self._promises.break_(f"P1: {self._name} gets {name} before it is safe")
        if not self._is_alone:
            return
        if int(number) <= self._dispatched.get(producer, 0) and not self._may_repeat(name):
            before = self._dispatched[producer]
            self._promises.break_(f"P4: {self._name} gets {name} after {producer}/{before}")
        self._dispatched[producer] = int(number)

    def delivered(self, name: str) -> None:
        """The program gets a message."""
        producer, _, number = name.partition("/")
        if name in self._acknowledged and not self._may_repeat(name):
            self._promises.break_(f"P3: {self._name} gets {name} again after acknowledging it")
        if self._is_alone and int(number) > self._first.get(producer, 0):
            self._first[producer] = int(number)

    def acknowledged(self, name: str) -> None:
        """The program is done with it."""
        self._acknowledged.add(name)
        self._promises.done(waiting(name, self._subscriber))

    def _may_repeat(self, name: str) -> bool:
        return self._promises.may_repeat(waiting(name, self._subscriber))


def is_topic(queue: str) -> bool:
    """Whether what a plan calls a queue is a topic."""
    return queue.startswith("t")


def _subscribers(reign: Reign, destination: str) -> list[str]:
    """For whom a message of a destination waits; in a queue it waits for nobody in particular."""
    if not destination.startswith("topic://"):
        return [""]
    return [who for who, theirs in reign.subscribers.items() if theirs == destination]


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:3])

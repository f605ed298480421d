"""What was promised, to whom, and whether it is kept. Knows nothing of how the product works.

A message is known by its name, such as ``p0/17``: producer and number. Every body carries its name, so that
it is recognised wherever it lies. What is sent to a topic waits for each durable subscriber by itself:
``p0/17@c1`` is what c1 is to get. What is to be delivered later is ``p0/17#later`` until then, and the dead
letter of what has expired ``p0/17#dead``: in the end one of them, or the message, is where the other was.

=====  =====================================================================================================
P1     what a journal has reported as durable, or a producer was told, is in the store of every later master,
       until its removal was at least asked for; and at the end it has been consumed
P2     what is reported as durable after a successor has begun to serve is known to that successor
P3     no message is stored a second time; none is delivered to a consumer that has acknowledged it
P4     one producer's messages of one priority reach the only consumer of a queue in the order sent, after a
       failover, too; who asks for one at a time gets none while one of a higher priority waits
P9     the files of a store that is at rest stay within their bound
times  nothing is delivered before it is due, or asked for and dispatched after it has expired; what expires
       becomes a dead letter, once and not before; what is due is taken from the schedule as it is stored
also   transactions are stored whole or not at all; what was consumed for good, or what a serving master did
       not have, does not come back; bodies are as they were sent; nothing is reported as damaged that was not
       damaged; after the last fault everybody gets on with their work
=====  =====================================================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from broker.region.dead_letters import SHARED
from journal.record import (
    NORMAL_PRIORITY,
    SCHEDULED,
    AcknowledgeSubscription,
    AddMessage,
    AddScheduled,
    AddSubscription,
    RemoveMessage,
)

NAME = re.compile(rb"<(p\d+/\d+):(\d+)>")
"""How a body says its name, and how long it is in all."""


LATER = "#later"
DEAD = "#dead"
_MARKS = {SCHEDULED: LATER, SHARED.uri: DEAD}
SLACK_S = 0.002
"""Brokers count milliseconds."""


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


def mark_of(destination: str) -> str:
    """What the names of messages in a place end with."""
    return _MARKS.get(destination, "")


def plain(name: str) -> str:
    """The name of a message, wherever it is and whoever waits for it."""
    return name.partition("@")[0].partition("#")[0]


class PromiseBroken(Exception):
    """A promise is not kept; says which."""


@dataclass(frozen=True)
class Terms:
    """What a producer wants for a message.

    Attributes:
        priority: 0 to 9.
        expires_s: when it is to be given up, in seconds of the world's clock.
        due_s: when it is to be delivered at the earliest.
    """

    priority: int = NORMAL_PRIORITY
    expires_s: float = math.inf
    due_s: float = 0.0


ORDINARY = Terms()


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
        arrived: what it has reported as durable, in that order.
    """

    epoch: int
    known: frozenset[str]
    names: dict[tuple[int, str], str]
    subscribers: dict[str, str]
    pending: list[tuple[int, bool, str]] = field(default_factory=list)
    added: set[tuple[str, int]] = field(default_factory=set)
    arrived: list[str] = field(default_factory=list)


class Promises:
    """Everything that was promised in one history.

    Attributes:
        broken: the first promise that was not kept.
    """

    def __init__(self) -> None:
        self.broken = ""
        self.sent: dict[str, str] = {}
        """Every message whose sending was begun, and its queue."""
        self.terms: dict[str, Terms] = {}
        """Of every message that has any."""
        self.moves: set[tuple[str, str]] = set()
        """What was removed in the same append in which something else became of it, and that."""
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
        self._check_moves(epoch, known)
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

    def _check_moves(self, epoch: int, known: frozenset[str]) -> None:
        """What has become something else is one of both."""
        for name in known - self.excused:
            base = plain(name)
            if name != base and "@" not in name and base in known and base not in self.excused:
                self.break_(f"times: epoch {epoch} has {name} and {base}")
        for name, made in self.moves:
            # It may have been consumed under another master, while a fenced one made something else of it.
            here = name in known or made in known or made in self.removing or name in self.consumed
            if not here and self.is_safe(name) and not {name, made} & self.excused:
                self.break_(f"times: epoch {epoch} has neither {name} nor {made}")

    def appended(self, reign: Reign, batch: int, records: Sequence[Any], now_s: float) -> None:
        """A master has put records into a batch."""
        added: set[str] = set()
        removed: set[str] = set()
        for record in records:
            if isinstance(record, AddMessage | AddScheduled):
                destination = record.destination if isinstance(record, AddMessage) else SCHEDULED
                name = name_in(record.body) + mark_of(destination)
                if reign.names.get((record.ref, "")) == name:
                    continue  # compaction has moved it
                added.add(name)
                if name.endswith(DEAD) and now_s < self.terms_of(name).expires_s - SLACK_S:
                    self.break_(f"times: epoch {reign.epoch} gives {name} up too early")
            match record:
                case AddMessage() | AddScheduled():
                    for subscriber in _subscribers(reign, destination):
                        name = waiting(name_in(record.body) + mark_of(destination), subscriber)
                        reign.names[record.ref, subscriber] = name
                        reign.added.add((name, record.ref))
                        reign.pending.append((batch, True, name))
                case RemoveMessage():
                    for subscriber in _subscribers(reign, record.destination):
                        removed.add(self._removed(reign, batch, record.ref, subscriber))
                case AcknowledgeSubscription():
                    self._removed(reign, batch, record.ref, record.client_id)
                case AddSubscription():
                    reign.subscribers[record.client_id] = record.destination
                case _:
                    pass
        for name in added:
            self.moves |= {(each, name) for each in removed if plain(each) == plain(name)}

    def terms_of(self, name: str) -> Terms:
        """What a producer wanted for a message, wherever it is."""
        return self.terms.get(plain(name), ORDINARY)

    def _removed(self, reign: Reign, batch: int, ref: int, subscriber: str) -> str:
        name = reign.names.get((ref, subscriber), "")
        self.removing.add(name)
        reign.pending.append((batch, False, name))
        return name

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
            reign.arrived.append(name)
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
        self.excused |= {
            waiting(name + mark, subscriber)
            for name in names
            for mark in ("", LATER, DEAD)
            for subscriber in everybody
        }

    def may_repeat(self, name: str) -> bool:
        """Whether damage is to blame for a repetition."""
        return self.forgetful or name in self.excused

    # ---- clients

    def sending(self, name: str, queue: str, terms: Terms) -> None:
        """A producer begins to send."""
        self.sent[name] = queue
        self.terms[name] = terms
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
        for each in (name + LATER, name + DEAD):  # a message that was not simply stored
            if each in self.stored or any(each in reign.known for reign in self.reigns):
                name = each
                break
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
        left = {name for name in left if not name.endswith(DEAD)}
        if left:
            here = newest.known | {name for name, _ in newest.added}
            left = {name for name in left if name in here or name not in self.removing}
        return left

    @property
    def lost_to_damage(self) -> list[str]:
        """What was acknowledged and never consumed, since a bit was flipped."""
        return sorted(self._unconsumed & self.excused)

    @property
    def _unconsumed(self) -> set[str]:
        """What was acknowledged, or stored, and neither consumed nor given up; by plain names in queues."""
        kept = self.stored.union(*(reign.known for reign in self.reigns))
        dead = {plain(name) for name in kept if name.endswith(DEAD)}
        names = {name.partition("#")[0] for name in self.answered | self.stored}
        return names - self.consumed - dead

    def at_end(self) -> None:
        """Everything acknowledged has been consumed, or has become a dead letter."""
        missing = self._unconsumed - self.excused
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
        queue: it takes from.
        is_alone: whether the queue has no other consumer.
        is_stepwise: whether it is given nothing before it has acknowledged what it was given before.
        subscriber: who has the durable subscription; "" if it is a queue.
    """

    def __init__(
        self,
        promises: Promises,
        name: str,
        queue: str,
        *,
        is_alone: bool,
        is_stepwise: bool,
        subscriber: str,
    ) -> None:
        self._promises = promises
        self._name = name
        self._queue = queue
        self._is_alone = is_alone
        self._is_stepwise = is_stepwise
        self._subscriber = subscriber
        self._dispatched: dict[tuple[str, int], int] = {}
        self._here: set[str] = set()
        """What it was given in this connection."""
        self._asked: tuple[float, frozenset[str]] | None = None
        """When it last asked for one more, and what the broker had then; None: not since it has connected."""
        self._first: dict[str, int] = {}
        self._acknowledged: set[str] = set()

    def connected(self) -> None:
        """A new connection: what was not acknowledged comes again, in order."""
        self._dispatched.clear()
        self._here.clear()
        self._asked = None

    def asked(self, reign: Reign | None, now_s: float) -> None:
        """It acknowledges to the broker of a reign, and so asks for one more."""
        if self._is_stepwise and self._is_alone:
            had = frozenset() if reign is None else reign.known.union(reign.arrived)
            self._asked = now_s, had

    def dispatched(self, name: str, now_s: float) -> None:
        """A broker has dispatched a message."""
        producer, _, number = name.partition("/")
        terms = self._promises.terms_of(name)
        if not self._promises.is_safe(waiting(name, self._subscriber)):
            self._promises.break_(f"P1: {self._name} gets {name} before it is safe")
        if now_s < terms.due_s - SLACK_S:
            self._promises.break_(f"times: {self._name} gets {name} before it is due")
        if not self._is_alone:
            return
        self._check_choice(name, terms)
        self._here.add(name)
        if terms.due_s:
            return
        line = producer, terms.priority
        if int(number) <= self._dispatched.get(line, 0) and not self._may_repeat(name):
            before = self._dispatched[line]
            self._promises.break_(f"P4: {self._name} gets {name} after {producer}/{before}")
        self._dispatched[line] = int(number)

    def _check_choice(self, name: str, terms: Terms) -> None:
        """Whether nothing of a higher priority waited, and it had not expired, when it asked for one."""
        promises = self._promises
        if self._asked is None or promises.excused or promises.forgetful:
            return
        asked_s, had = self._asked
        if terms.expires_s < asked_s - SLACK_S:
            promises.break_(f"times: {self._name} gets {name} after it has expired")
        for other, its in promises.terms.items():
            if (
                its.priority > terms.priority
                and its.expires_s == math.inf
                and promises.sent[other] == self._queue
                and (token := waiting(other, self._subscriber)) in had
                and token not in promises.removing
                and other not in self._here
            ):
                promises.break_(f"P4: {self._name} gets {name} while {other} waits")

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

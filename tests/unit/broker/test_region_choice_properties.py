"""Random histories of choosing consumers, held against what was promised.

After every step all of it is looked at: who got what, and whether anything waits that somebody could have.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.region import QUEUE, Peer, new_region, restarted, settle

from broker.primitive_map import encode_map
from broker.region.choice import Choice
from broker.region.region import Region
from journal.state import State

COLOURS = ("red", "blue")
SELECTORS = (None, None, None, "colour = 'red'", "colour = 'blue'", "colour = 'green'")
STEPS = 60


class Sent:
    """What the model knows of a message."""

    def __init__(self, name: str, colour: str, priority: int, group: str | None, persistent: bool) -> None:
        self.name = name
        self.colour = colour
        self.priority = priority
        self.group = group
        self.persistent = persistent
        self.order = int(name)


class Listener:
    """What the model knows of a consumer."""

    def __init__(
        self, key: str, selector: str | None, priority: int, exclusive: bool, prefetch_size: int
    ) -> None:
        self.key = key
        self.colour = None if selector is None else selector.split("'")[1]
        self.priority = priority
        self.exclusive = exclusive
        self.prefetch_size = prefetch_size
        self.holds: dict[int, Sent] = {}
        self.first_seen: list[Sent] = []

    def wants(self, message: Sent) -> bool:
        """Whether its selector does."""
        return self.colour in (None, message.colour)

    @property
    def has_room(self) -> bool:
        """Whether its prefetch has."""
        return len(self.holds) < self.prefetch_size


class History:
    """One random history."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.region: Region = new_region()
        self.mixed = self.random.random() < 0.6
        self.grouped = self.random.random() < 0.5
        self.sent: dict[str, Sent] = {}
        self.waiting: dict[str, Sent] = {}
        self.listeners: dict[str, Listener] = {}
        self.owners: dict[str, Listener] = {}
        self.counter = 0
        self.peers()

    def peers(self) -> None:
        """New connections."""
        self.producer = Peer(self.region, "producer")
        self.consumer = Peer(self.region, "consumer")
        self.seen = 0

    def step(self) -> None:
        """Something that clients do, and then the promises."""
        what = self.random.choice(
            ("send",) * 6 + ("open", "open", "close", "acknowledge", "acknowledge", "restart")
        )
        if what != "restart" or self.random.random() < 0.3:
            getattr(self, what)()
        settle(self.region)
        self.take()
        self.check()

    def send(self) -> None:
        """Some messages."""
        for _ in range(self.random.randint(1, 4)):
            self.counter += 1
            message = Sent(
                str(self.counter),
                self.random.choice(COLOURS),
                self.random.choice((4, 4, 9, 0)) if self.mixed else 4,
                self.random.choice((None, "x", "y", "z")) if self.grouped else None,
                self.random.random() < 0.7,
            )
            self.sent[message.name] = self.waiting[message.name] = message
            self.producer.send(
                message.name,
                priority=message.priority,
                group_id=message.group,
                persistent=message.persistent,
                properties=encode_map({"colour": message.colour}),
            )

    def open(self) -> None:
        """A consumer more."""
        if len(self.listeners) >= 5:
            return
        self.counter += 1
        key, selector = f"k{self.counter}", self.random.choice(SELECTORS)
        priority = self.random.choice((0, 0, 0, 5))
        exclusive = self.random.random() < 0.1
        prefetch_size = self.random.choice((1, 1, 2, 100))
        self.listeners[key] = Listener(key, selector, priority, exclusive, prefetch_size)
        self.consumer.consume(
            key, prefetch_size=prefetch_size, selector=selector, priority=priority, exclusive=exclusive
        )

    def close(self) -> None:
        """A consumer less; what it held waits again."""
        if self.listeners:
            listener = self.listeners.pop(self.random.choice(list(self.listeners)))
            self.waiting.update({message.name: message for message in listener.holds.values()})
            self.consumer.connection.remove_consumer(listener.key)

    def acknowledge(self) -> None:
        """One consumer is done with some."""
        if not self.listeners:
            return
        listener = self.listeners[self.random.choice(list(self.listeners))]
        for ref in list(listener.holds)[: self.random.randint(1, 3)]:
            del listener.holds[ref]
            self.consumer.acknowledge(ref, key=listener.key)

    def restart(self) -> None:
        """A new master: non-persistent messages are gone."""
        settle(self.region)
        self.take()
        for listener in self.listeners.values():
            self.waiting.update({message.name: message for message in listener.holds.values()})
        self.waiting = {name: each for name, each in self.waiting.items() if each.persistent}
        self.listeners.clear()
        self.region = restarted(self.region)
        self.peers()

    def take(self) -> None:
        """What was dispatched since the last look."""
        got = self.consumer.client.got[self.seen :]
        self.seen += len(got)
        for key, name, ref, redelivered in got:
            message, listener = self.waiting.pop(name), self.listeners[str(key)]
            assert listener.wants(message), "nobody gets what he does not select"
            listener.holds[ref] = message
            if message.group and not any(each.exclusive for each in self.listeners.values()):
                self.owners[message.group] = listener
            if not redelivered:
                listener.first_seen.append(message)

    def check(self) -> None:
        """The promises that hold at any time."""
        listeners = list(self.listeners.values())
        for group in "xyz":
            holders = [each.key for each in listeners if any(m.group == group for m in each.holds.values())]
            exclusive = any(each.exclusive for each in listeners)
            assert len(holders) <= 1 or exclusive, f"group {group} is at {holders}"
        target = self.region.targets.get(QUEUE)
        assert (0 if target is None else target.waiting) == len(self.waiting)
        self.check_nobody_waits(listeners)

    def check_nobody_waits(self, listeners: list[Listener]) -> None:
        """No message waits that a consumer with room wants; one of a group waits for nobody but its owner."""
        exclusive = [each for each in listeners if each.exclusive]
        if exclusive:
            best = max(each.priority for each in exclusive)
            listeners = [next(each for each in exclusive if each.priority == best)]
        for message in self.waiting.values():
            owner = None if exclusive else self.owners.get(message.group or "")
            candidates = [owner] if owner and owner.key in self.listeners else listeners
            able = [each.key for each in candidates if each.has_room and each.wants(message)]
            assert not able, f"{message.name} waits although {able} have room"

    def drain(self) -> None:
        """In the end one consumer gets all that is left, the highest priority first, each in order."""
        for key in list(self.listeners):
            listener = self.listeners.pop(key)
            self.waiting.update({message.name: message for message in listener.holds.values()})
            self.consumer.connection.remove_consumer(key)
        left = sorted(self.waiting.values(), key=lambda each: (-each.priority, each.order))
        self.listeners["last"] = Listener("last", None, 0, False, 10_000)
        self.consumer.consume("last", prefetch_size=10_000)
        settle(self.region)
        got = self.consumer.client.got[self.seen :]
        assert [name for _, name, _, _ in got] == [each.name for each in left]
        for _, _, ref, _ in got:
            self.consumer.acknowledge(ref, key="last")
        settle(self.region)
        assert self.region.usage.memory_bytes == 0
        assert not self.region.store.state.queues.get(QUEUE.uri)
        assert not self.region.store.state.ranks


@pytest.mark.parametrize("seed", range(200))
def test_random_histories_keep_the_promises(seed: int) -> None:
    """Selectors, groups, priorities and exclusive consumers hold together, over takeovers too."""
    history = History(seed)
    for _ in range(STEPS):
        history.step()
    history.drain()


def _fails() -> bool:
    for seed in range(600):
        history = History(seed)
        try:
            for _ in range(STEPS):
                history.step()
            history.drain()
        except (AssertionError, KeyError):
            return True
    return False


@pytest.mark.parametrize(
    ("method", "planted"),
    [
        ("_return", lambda self, priority, ref: None),
        ("_owner", lambda self, group, consumer, entry, message: consumer),
        ("_shut", lambda self, owner: None),
        ("_priorities_of", None),
    ],
)
def test_planted_bugs_are_found(method: str, planted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promises are checked well enough to notice that a part of the choice is missing."""
    if planted is None:
        monkeypatch.setattr(State, "_rank", lambda *_: None)
    else:
        monkeypatch.setattr(Choice, method, planted)
    assert _fails()

"""Any sequence of moves, purges and copies, with crashes between any two batches, against lists in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from support.management import ids, managed
from support.region import MemoryStore, Peer, new_region, settle

from broker.destination import Destination
from broker.management import transfers
from broker.management.jobs import Job
from broker.management.management import Operator
from broker.management.requests import MoveRequest, SelectRequest
from broker.region.limits import RegionLimits
from broker.region.region import Region

NAMES = ("a", "b", "c")
LIMITS = RegionLimits(resident_messages_max=2)
STEP = 3
"""Messages of one step here, so that few messages make many steps."""

names = st.sampled_from(NAMES)
kinds = st.sampled_from(["", "JMSType = 'odd'", "JMSPriority > 4"])


@dataclass(frozen=True)
class Send:
    """A message comes."""

    queue: str
    type: str
    priority: int
    persistent: bool


@dataclass(frozen=True)
class Consume:
    """A consumer takes so many and leaves; the oldest of them it acknowledges."""

    queue: str
    count: int
    acknowledged: int


@dataclass(frozen=True)
class Change:
    """An operator's job, cut off by a crash after so many batches of it."""

    operation: str
    queue: str
    target: str
    selector: str
    count: int
    crash_after: int | None


actions = st.one_of(
    st.builds(Send, names, st.sampled_from(["odd", "even"]), st.sampled_from([4, 9]), st.booleans()),
    st.builds(Send, names, st.just("odd"), st.just(4), st.just(True)),
    st.builds(Consume, names, st.integers(1, 4), st.integers(0, 4)),
    st.builds(
        Change,
        st.sampled_from(["purge", "move", "copy"]),
        names,
        names,
        kinds,
        st.sampled_from([0, 0, 2, 5]),
        st.one_of(st.none(), st.integers(0, 4)),
    ),
)


@dataclass
class Model:
    """Queues as lists of (id, type, priority, persistent), in the order of their arrival."""

    queues: dict[str, list[tuple[str, str, int, bool]]] = field(
        default_factory=lambda: {name: [] for name in NAMES}
    )

    def step(self, change: Change, last: list[str], done: int) -> int:
        """Do one step of a change as its definition says; returns how many messages it changed."""
        source, target = self.queues[change.queue], self.queues[change.target]
        looked_at, last[:] = last[:STEP], last[STEP:]
        changed = 0
        for name in looked_at:
            message = next(each for each in source if each[0] == name)
            if change.selector.startswith("JMSType") and message[1] != "odd":
                continue
            if change.selector.startswith("JMSPriority") and message[2] <= 4:
                continue
            if change.operation != "copy":
                source.remove(message)
            if change.operation != "purge":
                target.append(message)
            changed += 1
            if change.count and done + changed >= change.count:
                last.clear()
                break
        return changed

    def crash(self) -> None:
        """Messages that are not persistent are gone."""
        for messages in self.queues.values():
            messages[:] = [each for each in messages if each[3]]


def started(operator: Operator, change: Change) -> Job:
    """The job of a change."""
    if change.operation == "purge":
        return operator.purge(SelectRequest(change.queue, selector=change.selector, count=change.count))
    request = MoveRequest(change.queue, change.target, selector=change.selector, count=change.count)
    return operator.move(request) if change.operation == "move" else operator.copy(request)


class World:
    """A region beside its model."""

    def __init__(self, prioritized: bool) -> None:
        self.policies = {"policy.queue.>.prioritizedMessages": str(prioritized).lower()}
        self.model = Model()
        self.sent = 0
        self.open(new_region(limits=LIMITS, policies=self.policies))

    def open(self, region: Region) -> None:
        """A broker, with the queues made."""
        self.region = region
        _, self.operator = managed(region)
        self.peer = Peer(region)
        for name in NAMES:
            self.peer.connection.add_destination(Destination.queue(name))
        settle(region)

    def crash(self) -> None:
        """The broker dies; another takes over what was appended."""
        store = self.region.store
        assert isinstance(store, MemoryStore)
        self.model.crash()
        self.open(new_region(store.records(), limits=LIMITS, policies=self.policies))

    def send(self, action: Send) -> None:
        """A message comes."""
        self.sent += 1
        name = f"m{self.sent}"
        self.peer.send(
            name,
            Destination.queue(action.queue),
            type=action.type,
            priority=action.priority,
            persistent=action.persistent,
        )
        settle(self.region)
        self.model.queues[action.queue].append((name, action.type, action.priority, action.persistent))

    def consume(self, action: Consume) -> None:
        """A consumer comes and goes."""
        peer = Peer(self.region, "consumer")
        peer.consume(destination=Destination.queue(action.queue), prefetch_size=action.count)
        settle(self.region)
        taken = peer.client.got[: action.acknowledged]
        if taken:
            peer.acknowledge(taken[0][2], taken[-1][2])
        peer.connection.close()
        settle(self.region)
        queue = self.model.queues[action.queue]
        for _, message_id, _, _ in taken:  # a copy that was moved to where its original is has the same
            queue.remove(next(each for each in queue if each[0] == message_id))

    def change(self, action: Change) -> None:
        """An operator does something, as far as a crash lets him."""
        if action.operation != "purge" and action.queue == action.target:
            return
        job = started(self.operator, action)
        last = [each[0] for each in self.model.queues[action.queue]]
        done = steps = 0
        while job.state == "running":
            if steps == action.crash_after:
                self.crash()
                return
            self.region.dispatch()
            steps += 1
            if job.state == "running" or last:
                done += self.model.step(action, last, done)
            settle_durable(self.region)
        assert last == []
        assert job.changed == done

    def check(self) -> None:
        """Both have the same messages, in the same order."""
        for name in NAMES:
            assert ids(self.operator, name) == [each[0] for each in self.model.queues[name]]


def settle_durable(region: Region) -> None:
    """The disk has everything; nothing is dispatched for it."""
    store = region.store
    assert isinstance(store, MemoryStore)
    store.durable_batch = len(store.batches)
    region.durable(store.durable_batch)


@settings(max_examples=150, deadline=None)
@given(prioritized=st.booleans(), done=st.lists(actions, max_size=25))
def test_nothing_is_lost_or_doubled(prioritized: bool, done: list[object]) -> None:
    """Whenever a broker dies, each message is where the steps so far have put it, once."""
    before = transfers.UNREAD_STEP, transfers.READ_STEP
    transfers.UNREAD_STEP = transfers.READ_STEP = STEP  # type: ignore[misc]  # so that few make many steps
    try:
        world = World(prioritized)
        for action in done:
            if isinstance(action, Send):
                world.send(action)
            elif isinstance(action, Consume):
                world.consume(action)
            else:
                assert isinstance(action, Change)
                world.change(action)
            world.check()
        world.crash()
        world.check()
    finally:
        transfers.UNREAD_STEP, transfers.READ_STEP = before  # type: ignore[misc]  # as they were

"""Every message has one fate, whatever consumers, clocks and crashes do: consumed, dead, or still waiting."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.region import QUEUE, MemoryStore, Peer, new_region, restarted, settle

from broker.destination import Destination
from broker.message import decode_message
from broker.region.consumer import AckKind
from broker.region.limits import RegionLimits

DLQ = Destination.queue("ActiveMQ.DLQ")
DELAY_MS = 200
REDELIVERIES = 1
POLICIES = {
    f"policy.queue.{QUEUE.name}.redeliveryPolicy.maximumRedeliveries": str(REDELIVERIES),
    f"policy.queue.{QUEUE.name}.redeliveryPolicy.initialRedeliveryDelay": str(DELAY_MS),
    f"policy.queue.{QUEUE.name}.redeliveryPolicy.redeliveryDelay": str(DELAY_MS),
    f"policy.queue.{QUEUE.name}.expireMessagesPeriod": "300",
    f"policy.queue.{QUEUE.name}.maxExpirePageSize": "2",
}
LIMITS = RegionLimits(resident_messages_max=2)


class Fates(RuleBasedStateMachine):
    """A simple model beside a region whose broker redelivers once, after a while.

    Model: per message whether it is persistent, when it expires, how often its delivery ended without
    acknowledgement, and before when it must not be delivered again; who has what; what was consumed.
    """

    @initialize()
    def begin(self) -> None:
        """An empty broker."""
        self.region = new_region(limits=LIMITS, policies=POLICIES)
        self.life = self.number = 0
        self.persistent: dict[str, bool] = {}
        self.expiration: dict[str, int] = {}
        self.counter: dict[str, int] = {}
        self.not_before: dict[str, int] = {}
        self.ended: set[str] = set()
        self.connect()

    def connect(self) -> None:
        """A connection to the broker of now."""
        self.life += 1
        self.peer = Peer(self.region, f"c{self.life}")
        self.seen = 0
        self.held: dict[str, dict[str, int]] = {}

    def turn(self) -> None:
        """The end of a turn: check what was dispatched in it."""
        settle(self.region)
        for key, message_id, ref, counter in self.peer.client.got[self.seen :]:
            assert message_id not in self.ended
            assert all(message_id not in has for has in self.held.values()), "two have it"
            assert not 0 < self.expiration[message_id] <= self.region.now_ms, "it has expired"
            assert self.not_before.get(message_id, 0) <= self.region.now_ms, "it comes too early"
            assert counter == self.counter[message_id]
            self.held[str(key)][message_id] = ref
        self.seen = len(self.peer.client.got)

    @rule(
        persistent=st.booleans(),
        lives_ms=st.sampled_from([0, 100, 100, 600]),
        priority=st.sampled_from([4, 4, 4, 9]),
    )
    def send(self, persistent: bool, lives_ms: int, priority: int) -> None:
        """A message of any kind."""
        self.number += 1
        message_id = f"m{self.number}"
        expiration = self.region.now_ms + lives_ms if lives_ms else 0
        self.persistent[message_id] = persistent
        self.expiration[message_id] = expiration
        self.counter[message_id] = 0
        self.peer.send(
            message_id,
            sequence=self.number,
            persistent=persistent,
            expiration=expiration,
            priority=priority,
        )
        self.turn()

    @rule(ms=st.sampled_from([0, 50, 150, 400]))
    def wait(self, ms: int) -> None:
        """Time passes."""
        self.region.advance(self.region.now_ms + ms)
        self.turn()

    @precondition(lambda self: len(self.held) < 3)
    @rule(prefetch_size=st.integers(1, 3))
    def open(self, prefetch_size: int) -> None:
        """One more consumer."""
        self.number += 1
        key = f"k{self.number}"
        self.held[key] = {}
        self.peer.consume(key, prefetch_size=prefetch_size)
        self.turn()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        """A consumer has failed with all it had."""
        key = data.draw(st.sampled_from(sorted(self.held)))
        for message_id in self.held.pop(key):
            self.counter[message_id] += 1
        self.peer.connection.remove_consumer(key)
        self.turn()

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), gives_up=st.booleans())
    def end(self, data: st.DataObject, gives_up: bool) -> None:
        """A consumer acknowledges, or gives up, one of its messages."""
        key = data.draw(st.sampled_from(sorted(key for key, has in self.held.items() if has)))
        message_id = data.draw(st.sampled_from(sorted(self.held[key])))
        ref = self.held[key].pop(message_id)
        if not gives_up:
            self.ended.add(message_id)
            self.peer.acknowledge(ref, key=key, kind=AckKind.INDIVIDUAL)
        else:
            expired = 0 < self.expiration[message_id] <= self.region.now_ms
            if self.counter[message_id] < REDELIVERIES and not expired:
                self.counter[message_id] += 1
                self.not_before[message_id] = self.region.now_ms + DELAY_MS
            self.peer.acknowledge(ref, key=key, kind=AckKind.POISON)
        self.turn()

    @rule()
    def crash(self) -> None:
        """A new broker: what is not persistent is gone, and what consumers had counts as not delivered."""
        settle(self.region)
        now_ms = self.region.now_ms
        self.region = restarted(self.region, limits=LIMITS, policies=POLICIES)
        self.region.advance(now_ms)
        self.ended.update(each for each, persistent in self.persistent.items() if not persistent)
        self.connect()
        self.turn()

    def ids(self, destination: Destination) -> dict[int, str]:
        """The persistent messages that the journal has for a queue."""
        store = self.region.store
        assert isinstance(store, MemoryStore)
        live = store.state.queues.get(destination.uri, ())
        return {ref: decode_message(store.bodies[ref]).message_id for ref in live}

    @invariant()
    def each_has_one_fate(self) -> None:
        """Persistent messages are in the queue, dead or consumed: in one place, and in none twice."""
        if not hasattr(self, "region"):
            return
        waiting, dead = self.ids(QUEUE), self.ids(DLQ)
        found = sorted([*waiting.values(), *dead.values()])
        wanted = {each for each, persistent in self.persistent.items() if persistent} - self.ended
        assert found == sorted(wanted)

    @invariant()
    def the_index_notes_what_is_live(self) -> None:
        """Nothing is noted of what is gone, and the expiration of all that expire."""
        if not hasattr(self, "region"):
            return
        state = self.region.store.state
        waiting = self.ids(QUEUE)
        expires = {ref for ref, message_id in waiting.items() if self.expiration[message_id]}
        assert set(state.expiring.get(QUEUE.uri, ())) == expires
        assert set(state.redelivered.get(QUEUE.uri, ())) <= set(waiting)

    def teardown(self) -> None:
        """In the end everything is consumed or dead, and no memory is held."""
        if not hasattr(self, "region"):
            return
        for key in list(self.held):
            self.peer.connection.remove_consumer(key)
        for _ in range(20):
            self.region.advance(self.region.now_ms + 1_000)
            settle(self.region)
        for name, destination in (("rest", QUEUE), ("dead", DLQ)):
            self.peer.consume(name, destination, prefetch_size=1_000)
            settle(self.region)
            refs = self.peer.client.refs(name)
            if refs:
                self.peer.acknowledge(*refs, key=name)
        settle(self.region)
        state = self.region.store.state
        assert not state.expiring
        assert not state.redelivered
        assert not self.ids(QUEUE)
        assert self.region.usage.memory_bytes == self.region.usage.volatile_bytes == 0


TestFates = Fates.TestCase
TestFates.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)

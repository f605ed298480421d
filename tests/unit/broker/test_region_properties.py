"""Whatever clients do to a queue: nothing is lost, nothing is delivered to two, order is kept."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)
from support.region import QUEUE, MemoryStore, Peer, RecordingClient, new_region, restarted, settle

from broker.region.consumer import AckKind
from broker.region.limits import RegionLimits
from broker.region.usage import UsageLimits

LIMITS = RegionLimits(resident_messages_max=3)


class Queueing(RuleBasedStateMachine):
    """A simple model beside a region.

    Model: `unconsumed` holds what was sent and not acknowledged for good, and whether it is persistent;
    `holders` which consumer has what.
    """

    consumers = Bundle("consumers")
    usage = UsageLimits()

    @initialize()
    def begin(self) -> None:
        """An empty broker and one connection."""
        self.region = new_region(limits=LIMITS, usage=self.usage, temporary=self.temporary())
        self.unconsumed: dict[str, bool] = {}
        self.sent = 0
        self.keys = 0
        self.life = 0
        self.connect()

    def temporary(self) -> Path | None:
        """Where non-persistent messages go for which there is no memory."""
        return None

    def connect(self) -> None:
        """A connection with what the model must know of it."""
        self.life += 1
        self.peer = Peer(self.region, f"c{self.life}")
        self.peer._sequence = self.sent
        self.seen = 0
        self.holders: dict[str, str] = {}
        self.first_seen: dict[str, int] = {}
        self.ever_dispatched: set[str] = set()
        self.open: set[str] = set()
        self.transaction: list[tuple[str, str]] | None = None
        self.transaction_sends: list[tuple[str, bool]] = []

    @property
    def client(self) -> RecordingClient:
        """Who writes down what is dispatched."""
        return self.peer.client

    def look(self) -> None:
        """Check each new dispatch against the model."""
        for key, message_id, ref, counter in self.client.got[self.seen :]:
            assert message_id in self.unconsumed, f"{message_id} was consumed already, or never sent"
            assert message_id not in self.holders, f"{message_id} is held by two"
            self.holders[message_id] = str(key)
            if message_id not in self.ever_dispatched and not counter:
                last = self.first_seen.get(str(key), 0)
                assert ref > last, "a fresh message came before an older one"
                self.first_seen[str(key)] = ref
            self.ever_dispatched.add(message_id)
        self.seen = len(self.client.got)

    @rule(persistent=st.booleans(), transacted=st.booleans())
    def send(self, persistent: bool, transacted: bool) -> None:
        """A message, perhaps in the transaction."""
        self.sent += 1
        message_id = f"m{self.sent:04}"
        if transacted and self.transaction is not None:
            self.peer.send(message_id, persistent=persistent, transaction="tx")
            self.transaction_sends.append((message_id, persistent))
        else:
            self.peer.send(message_id, persistent=persistent)
            self.unconsumed[message_id] = persistent

    @rule(target=consumers, prefetch_size=st.integers(1, 4))
    def open_consumer(self, prefetch_size: int) -> str:
        """One more consumer."""
        self.keys += 1
        key = f"k{self.keys}"
        self.peer.consume(key, QUEUE, prefetch_size)
        self.open.add(key)
        return key

    @rule(key=consumes(consumers), last_delivered=st.integers(-1, 3))
    def close_consumer(self, key: str, last_delivered: int) -> None:
        """A consumer closes; what it held and has not acknowledged is free again."""
        if key not in self.open:
            return
        self.look()
        held = list(self.peer.connection.consumers[key].dispatched)
        ref = held[last_delivered - 1] if 0 < last_delivered <= len(held) else min(last_delivered, 0)
        self.peer.connection.remove_consumer(key, ref)
        self.open.remove(key)
        kept = {message_id for _, message_id in self.transaction or ()}
        for message_id in [m for m, holder in self.holders.items() if holder == key and m not in kept]:
            del self.holders[message_id]

    @rule()
    def turn_ends(self) -> None:
        """What need not wait for the disk is dispatched."""
        self.region.dispatch()
        self.look()

    @rule()
    def becomes_durable(self) -> None:
        """The journal catches up."""
        settle(self.region)
        self.look()

    @rule(key=consumers, first=st.integers(0, 3), last=st.integers(0, 3), individual=st.booleans())
    def acknowledge(self, key: str, first: int, last: int, individual: bool) -> None:
        """A range, or one of what a consumer holds; in the transaction if there is one."""
        if key not in self.open:
            return
        self.look()
        held = self.peer.connection.consumers[key].dispatched
        refs = list(held)
        if not refs:
            return
        last %= len(refs)
        first = last if individual else min(first, last)
        meant = [ref for ref in refs[first : last + 1] if held[ref].transaction is None]
        ids = [message_id for _, message_id, ref, _ in self.client.got if ref in meant]
        kind = AckKind.INDIVIDUAL if individual else AckKind.STANDARD
        in_transaction = self.transaction is not None
        self.peer.acknowledge(
            refs[first], refs[last], key=key, kind=kind, transaction="tx" if in_transaction else None
        )
        for message_id in dict.fromkeys(ids):
            if self.transaction is not None:
                self.transaction.append((key, message_id))
            else:
                del self.unconsumed[message_id]
                del self.holders[message_id]

    @precondition(lambda self: self.transaction is None)
    @rule()
    def begin_transaction(self) -> None:
        """From now on acknowledgements, and some sends, wait."""
        self.peer.connection.begin("tx")
        self.transaction = []
        self.transaction_sends = []

    @precondition(lambda self: self.transaction is not None)
    @rule(commit=st.booleans())
    def end_transaction(self, commit: bool) -> None:
        """All of it, or nothing."""
        self.look()
        assert self.transaction is not None
        if commit:
            self.peer.connection.commit("tx")
            for _, message_id in self.transaction:
                del self.unconsumed[message_id]
                self.holders.pop(message_id, None)
            self.unconsumed.update(self.transaction_sends)
        else:
            self.peer.connection.rollback("tx")
            for key, message_id in self.transaction:
                if key not in self.open:
                    self.holders.pop(message_id, None)
        self.transaction = None

    @rule()
    def take_over(self) -> None:
        """The broker dies after everything was durable; another one serves from the journal."""
        settle(self.region)
        self.look()
        self.region.close()
        self.region = restarted(self.region, limits=LIMITS, usage=self.usage, temporary=self.temporary())
        self.unconsumed = {each: True for each, persistent in self.unconsumed.items() if persistent}
        self.connect()

    @invariant()
    def memory_is_accounted_for(self) -> None:
        """Non-persistent messages are counted as long as they are held."""
        if hasattr(self, "region"):
            waiting = sum(not persistent for persistent in self.unconsumed.values())
            usage = self.region.usage
            assert (usage.volatile_bytes + usage.spool.count > 0) == (waiting > 0)
            assert usage.memory_bytes >= usage.volatile_bytes
            if not self.unconsumed:
                assert (usage.memory_bytes, usage.spool.bytes_used) == (0, 0)

    def teardown(self) -> None:
        """In the end one consumer gets exactly what is left, each once, in order of first sending."""
        if not hasattr(self, "region"):
            return
        settle(self.region)
        self.peer.connection.close()
        last = Peer(self.region, "last")
        last.consume(prefetch_size=10_000)
        settle(self.region)
        assert sorted(last.client.ids()) == sorted(self.unconsumed)
        refs = last.client.refs()
        assert refs == sorted(refs)
        store = self.region.store
        assert isinstance(store, MemoryStore)
        stored = len(store.state.queues.get(QUEUE.uri, ()))
        assert stored == sum(self.unconsumed.values())
        self.region.close()


class QueueingWithoutMemory(Queueing):
    """The same with memory for one message: persistent ones are read back, the others are spooled."""

    usage = UsageLimits(memory_bytes_max=700)

    def temporary(self) -> Path | None:
        """The system's folder; the files have no names."""
        return Path(tempfile.gettempdir())

    @rule()
    def take_over(self) -> None:
        """See `Queueing`."""
        super().take_over()
        self.region.usage.spool.count_max = 1000

    @initialize()
    def begin(self) -> None:
        """See `Queueing`."""
        super().begin()
        self.region.usage.spool.count_max = 1000


TestQueueingWithoutMemory = QueueingWithoutMemory.TestCase
TestQueueingWithoutMemory.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestQueueing = Queueing.TestCase
TestQueueing.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

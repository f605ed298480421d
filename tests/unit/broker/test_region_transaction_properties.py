"""Local and distributed transactions against a model, with crashes between any two appends to the journal.

Model: what the journal holds is a list of effects, each with the append that brought it. A crash keeps any
number of the appends that nobody was told of, and the effects of just these must be there afterwards.
"""

import functools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from support.region import QUEUE, TOPIC, MemoryStore, Peer, new_region, restarted, settle

from broker.errors import BranchRefused, ClientError
from broker.region.limits import RegionLimits
from broker.xa import READ_ONLY, Xid

LIMITS = RegionLimits(resident_messages_max=2)
XIDS = [Xid(1, b"t", bytes([number])).text for number in range(3)]
PLACES = {"k": QUEUE, "s": TOPIC}
"""A queue's consumer, and a durable subscriber, by their keys."""


@dataclass
class Work:
    """What a transaction has done: messages sent, and messages acknowledged, with their place."""

    sent: list[tuple[str, str]] = field(default_factory=list)
    taken: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Model:
    """What the journal holds: the messages of each place, and the prepared branches."""

    messages: dict[str, set[str]] = field(default_factory=lambda: {"k": set(), "s": set()})
    prepared: dict[str, Work] = field(default_factory=dict)

    def do(self, work: Work) -> None:
        """All of a transaction."""
        for place, message in work.sent:
            self.messages[place].add(message)
        for place, message in work.taken:
            self.messages[place].discard(message)

    def prepare(self, xid: str, work: Work) -> None:
        """What it took is locked."""
        self.prepared[xid] = work
        self.do(Work(taken=work.taken))

    def end(self, xid: str, committed: bool) -> None:
        """One or the other."""
        work = self.prepared.pop(xid)
        self.do(Work(sent=work.sent if committed else work.taken))


Effect = Callable[[Model], None]


class Transacting:
    """Two connections that send and acknowledge, in transactions or not, and an administrator.

    Attributes:
        done: how often each step did something.
    """

    def __init__(self, seed: int) -> None:
        """An empty broker with a queue and a durable subscription."""
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.region = new_region(limits=LIMITS)
        self.effects: list[tuple[int, Effect]] = []
        self.sent = 0
        self.life = 0
        self.connect()
        settle(self.region)

    def connect(self) -> None:
        """The connections; the first has the durable subscriber."""
        self.life += 1
        self.peers = [Peer(self.region, f"c{self.life}", "me"), Peer(self.region, f"d{self.life}")]
        self.peers[0].consume("s", TOPIC, 3, subscription_name="sub")
        for peer in self.peers:
            peer.consume("k", QUEUE, 3)
        self.open: dict[str, tuple[int, Work]] = {}
        self.prepared_here: set[str] = set()

    @property
    def store(self) -> MemoryStore:
        """The journal."""
        store = self.region.store
        assert isinstance(store, MemoryStore)
        return store

    def note(self, effect: Effect) -> None:
        """The last append brought this."""
        self.effects.append((len(self.store.batches), effect))

    def model(self, batches: int) -> Model:
        """What is in the journal with so many of its appends."""
        model = Model()
        for batch, effect in self.effects:
            if batch <= batches:
                effect(model)
        return model

    # ---- what connections do

    def work_of(self, name: str | None) -> Work:
        """Where an action is noted: in its transaction, or for at once."""
        return Work() if name is None else self.open[name][1]

    def choose(self, peer: int) -> str | None:
        """One of a connection's transactions, or none."""
        names = [name for name, (owner, _) in self.open.items() if owner == peer]
        return self.random.choice(names) if names and self.random.random() < 0.7 else None

    def send(self, peer: int, place: str) -> None:
        """A message, perhaps in a transaction."""
        name = self.choose(peer)
        self.sent += 1
        message = f"m{self.sent:04}"
        self.peers[peer].send(message, PLACES[place], transaction=name, sequence=self.sent)
        work = self.work_of(name)
        work.sent.append((place, message))
        if name is None:
            self.note(lambda model: model.do(work))

    def acknowledge(self, peer: int, place: str) -> None:
        """A message that a consumer has, perhaps in a transaction."""
        settle(self.region)
        name = self.choose(peer)
        consumer = self.peers[peer].connection.consumers.get(place)
        if consumer is None:
            return
        entries = [entry for entry in consumer.dispatched.values() if entry.transaction is None]
        if not entries:
            return
        message = consumer.source.message_of(entries[0])
        assert message is not None
        self.peers[peer].acknowledge(entries[0].ref, key=place, transaction=name)
        work = self.work_of(name)
        work.taken.append((place, message.message_id))
        if name is None:
            self.note(lambda model: model.do(work))

    # ---- transactions

    def begin_local(self, peer: int) -> None:
        """A local transaction."""
        name = f"TX:{peer}:{self.sent}"
        if name not in self.open:
            self.peers[peer].connection.begin(name)
            self.open[name] = peer, Work()

    def begin_branch(self, peer: int, xid: str) -> None:
        """A branch, unless there is one of this id."""
        if xid in self.open or xid in self.model(len(self.store.batches)).prepared:
            return
        try:
            self.region.branches.begin(self.peers[peer].connection, xid)
        except BranchRefused:
            assert xid in self.store.state.branches.heuristic
        else:
            self.open[xid] = peer, Work()

    def end_open(self, number: int, committed: bool, by: int) -> None:
        """An open transaction; a branch in one phase, perhaps by the other connection."""
        if not self.open:
            return
        name = list(self.open)[number % len(self.open)]
        peer, work = self.open.pop(name)
        if name in XIDS:
            connection = self.peers[by].connection
            if committed:
                self.region.branches.commit(connection, name, one_phase=True)
            else:
                self.region.branches.roll_back(connection, name)
        elif committed:
            self.peers[peer].connection.commit(name)
        else:
            self.peers[peer].connection.rollback(name)
        if committed and (work.sent or work.taken):
            self.note(lambda model: model.do(work))

    def prepare(self, xid: str, by: int) -> None:
        """An open branch."""
        if xid not in self.open:
            return
        _, work = self.open.pop(xid)
        batch = self.region.branches.prepare(self.peers[by].connection, xid)
        assert (batch == READ_ONLY) == (not work.sent and not work.taken)
        if batch != READ_ONLY:
            self.prepared_here.add(xid)
            self.note(lambda model: model.prepare(xid, work))

    def end_prepared(self, xid: str, by: int, committed: bool) -> None:
        """A prepared branch, by any connection or an administrator."""
        work = self.model(len(self.store.batches)).prepared.get(xid)
        if work is None:
            return
        age = "here" if xid in self.prepared_here else "recovered"
        for kind, entries in (("sent", work.sent), ("taken", work.taken)):
            for place, _ in entries:
                self.done[f"{'committed' if committed else 'rolled back'} {place} {kind}, {age}"] += 1
        if by == 2:
            (self.region.heuristic_commit if committed else self.region.heuristic_rollback)(xid)
            self.region.forget_transaction(xid)
        elif committed:
            self.region.branches.commit(self.peers[by].connection, xid, one_phase=False)
        else:
            self.region.branches.roll_back(self.peers[by].connection, xid)
        batch = len(self.store.batches) - (by == 2)  # an administrator's forgetting is one more
        self.effects.append((batch, lambda model: model.end(xid, committed)))

    def nonsense(self, xid: str, by: int) -> None:
        """What there is not cannot be ended."""
        if xid in self.open or xid in self.model(len(self.store.batches)).prepared:
            return
        connection = self.peers[by].connection
        for step in (self.region.branches.prepare, self.region.branches.roll_back):
            try:
                step(connection, xid)
            except ClientError:
                continue
            raise AssertionError(f"{step} of an unknown branch was not refused")

    # ---- faults

    def connection_is_lost(self, peer: int) -> None:
        """Its open transactions are rolled back; prepared branches stay."""
        self.peers[peer].connection.close()
        for name in [name for name, (owner, _) in self.open.items() if owner == peer]:
            del self.open[name]
        self.life += 1
        client_id = None if peer else "me"
        again = self.peers[peer] = Peer(self.region, f"e{self.life}", client_id)
        again.consume("k", QUEUE, 3)
        if not peer:
            again.consume("s", TOPIC, 3, subscription_name="sub")

    def crash(self, kept: int) -> None:
        """Another broker takes over what is durable, and perhaps some of what is not."""
        store = self.store
        batches = min(store.durable_batch + kept, len(store.batches))
        model = self.model(batches)
        store.durable_batch = batches
        self.region.close()
        self.region = restarted(self.region, limits=LIMITS)
        self.effects = [(0, effect) for batch, effect in self.effects if batch <= batches]
        self.check(model)
        self.connect()

    def check(self, model: Model) -> None:
        """Everything of the model is there, once, and nothing else."""
        peer = Peer(self.region, "checking", "me")
        assert sorted(self.region.branches.recover(peer.connection)) == sorted(
            [*model.prepared, *self.store.state.branches.heuristic]
        )
        peer.consume("k", QUEUE)
        peer.consume("s", TOPIC, subscription_name="sub")
        settle(self.region)
        for place in PLACES:
            assert sorted(peer.client.ids(place)) == sorted(model.messages[place])
        peer.connection.close()

    def nothing_is_counted_twice(self) -> None:
        """Live messages are those of the places and of the branches; a record here has one byte."""
        model = self.model(len(self.store.batches))
        prepared = model.prepared.values()
        live = sum(map(len, model.messages.values()))
        live += sum(len(work.sent) + len(work.taken) for work in prepared)
        assert self.store.state.live_bytes == live
        for peer in self.peers:
            for consumer in peer.connection.consumers.values():
                held = [entry.transaction for entry in consumer.dispatched.values() if entry.transaction]
                assert all(
                    each.name in model.prepared if each.ended else each.name in self.open for each in held
                )

    def finish(self) -> None:
        """In the end what no open transaction has changed is all there is."""
        for peer in self.peers:
            peer.connection.close()
        settle(self.region)
        self.check(self.model(len(self.store.batches)))
        self.region.close()

    # ---- chance

    def step(self) -> None:
        """One of all these."""
        chance, peer = self.random, self.random.randrange(2)
        xid, place, committed = chance.choice(XIDS), chance.choice("kks"), chance.random() < 0.5
        steps: list[tuple[int, Callable[[], None]]] = [
            (30, lambda: self.send(peer, place)),
            (30, lambda: self.acknowledge(peer, place)),
            (2, lambda: self.begin_local(peer)),
            (10, lambda: self.begin_branch(peer, xid)),
            (2, lambda: self.end_open(chance.randrange(6), committed, chance.randrange(2))),
            (6, lambda: self.prepare(xid, peer)),
            (5, lambda: self.end_prepared(xid, chance.randrange(3), committed)),
            (3, lambda: self.nonsense(xid, peer)),
            (10, lambda: settle(self.region)),
            (1, lambda: self.connection_is_lost(peer)),
            (3, lambda: self.crash(chance.randrange(6))),
        ]
        weights, actions = zip(*steps, strict=True)
        chance.choices(actions, weights)[0]()
        self.nothing_is_counted_twice()


@functools.cache
def walked(seed: int, steps: int = 500) -> Counter[str]:
    """What was done in a broker's history by chance."""
    history = Transacting(seed)
    for _ in range(steps):
        history.step()
    history.finish()
    return history.done


@pytest.mark.parametrize("seed", range(50))
def test_transactions_are_all_or_nothing(seed: int) -> None:
    """Whatever happens in between: nothing is lost, nothing comes twice, nothing comes of what was undone."""
    walked(seed)


def test_the_histories_have_what_is_to_be_tested() -> None:
    """Branches of earlier brokers are committed and rolled back, with everything in them."""
    done: Counter[str] = Counter()
    for seed in range(40):
        done += walked(seed)
    wanted = ("committed k sent", "committed s sent", "committed k taken", "committed s taken")
    undone = tuple(each.replace("committed", "rolled back") for each in wanted)
    ages = ("recovered", "here")
    assert min(done[f"{each}, {age}"] for each in (*wanted, *undone) for age in ages) > 3, done

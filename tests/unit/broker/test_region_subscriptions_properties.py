"""Durable and shared subscriptions against a simple model, with brokers that crash at any batch."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.region import MemoryStore, Peer, new_region, restarted, settle

from broker.destination import Destination
from broker.errors import RequestInvalid
from broker.primitive_map import encode_map
from journal.topics import subscription_matches

NAMES = ("s", "t")
PATTERNS = ("prices.gold", "prices.*", "prices.>", "news,prices.gold", ">")
TOPICS = ("prices.gold", "prices.silver", "news", "prices.gold.late")
COLOURS = ("red", "blue", "")
SELECTORS = {"": None, "colour = 'red'": "red", "colour = 'blue'": "blue"}


@dataclass
class Model:
    """One subscription as it should be."""

    terms: tuple[str, str, bool]
    pending: list[str] = field(default_factory=list)

    def wants(self, topic: str, colour: str) -> bool:
        """Whether a message is for it."""
        pattern, selector, _ = self.terms
        wanted = SELECTORS[selector]
        return subscription_matches(f"topic://{pattern}", f"topic://{topic}") and wanted in (None, colour)


class Subscribers(RuleBasedStateMachine):
    """Two clients of one broker; what was not durable when it crashes is gone in the model, too."""

    def __init__(self) -> None:
        super().__init__()
        self.region = new_region()
        self.count = 0
        self.models: dict[tuple[str, str], Model] = {}
        self.safe: dict[tuple[str, str], Model] = {}
        self.refs: dict[int, str] = {}
        self.connect()

    def connect(self) -> None:
        """The clients come (back)."""
        self.peers = [Peer(self.region, f"c{index}", f"client{index}") for index in range(2)]
        self.open: dict[tuple[int, str], tuple[str, str]] = {}
        """Client and name of the consumer to the subscription's key."""

    @rule(
        client=st.integers(0, 1),
        name=st.sampled_from(NAMES),
        pattern=st.sampled_from(PATTERNS),
        selector=st.sampled_from(sorted(SELECTORS)),
        shared=st.booleans(),
        prefetch_size=st.integers(1, 3),
    )
    def subscribe(
        self, client: int, name: str, pattern: str, selector: str, shared: bool, prefetch_size: int
    ) -> None:
        """A consumer comes; the subscription is made, or made anew, or it is refused."""
        if (client, name) in self.open:
            return
        key = f"client{client}", name
        terms = pattern, selector, shared
        known = self.models.get(key)
        peer = self.peers[client]
        try:
            peer.consume(
                name,
                Destination.topic(pattern),
                prefetch_size,
                subscription_name=name,
                selector=selector,
                shared=shared,
            )
        except RequestInvalid:
            assert known is not None
            assert known.terms[2] is not shared
            return
        assert known is None or known.terms[2] is shared
        self.open[client, name] = key
        if known is None or known.terms != terms:
            self.models[key] = Model(terms)

    @rule(topic=st.sampled_from(TOPICS), colour=st.sampled_from(COLOURS), persistent=st.booleans())
    def send(self, topic: str, colour: str, persistent: bool) -> None:
        """A message to a topic, for all that want it."""
        self.count += 1
        name = f"m{self.count}"
        self.peers[0].send(
            name,
            Destination.topic(topic),
            persistent=persistent,
            properties=encode_map({"colour": colour}) if colour else None,
        )
        if persistent:
            self.refs[self.region.next_ref - 1] = name
            for model in self.models.values():
                if model.wants(topic, colour):
                    model.pending.append(name)

    @rule()
    def settle(self) -> None:
        """The journal has made everything durable."""
        settle(self.region)
        self.safe = copy.deepcopy(self.models)

    @rule(client=st.integers(0, 1), name=st.sampled_from(NAMES), count=st.integers(1, 3))
    def acknowledge(self, client: int, name: str, count: int) -> None:
        """A consumer has done with its oldest messages."""
        consumer = self.peers[client].connection.consumers.get(name)
        if consumer is None:
            return
        model = self.models[self.open[client, name]]
        for ref in list(consumer.dispatched)[:count]:
            entry = consumer.dispatched[ref]
            if entry.stored:
                model.pending.remove(self.refs[ref])
            self.peers[client].acknowledge(ref, key=name)

    @rule(client=st.integers(0, 1), name=st.sampled_from(NAMES))
    def close(self, client: int, name: str) -> None:
        """A consumer goes."""
        self.peers[client].connection.remove_consumer(name)
        self.open.pop((client, name), None)

    @rule(client=st.integers(0, 1), name=st.sampled_from(NAMES))
    def unsubscribe(self, client: int, name: str) -> None:
        """A subscription is ended."""
        if (client, name) not in self.open and (f"client{client}", name) in self.models:
            self.peers[client].connection.remove_subscription(name)
            del self.models[f"client{client}", name]

    @rule()
    def crash(self) -> None:
        """A new broker takes over what was durable."""
        self.region = restarted(self.region)
        self.models = copy.deepcopy(self.safe)
        store = self.region.store
        assert isinstance(store, MemoryStore)
        self.safe = copy.deepcopy(self.models)
        self.connect()

    @invariant()
    def the_journal_knows_what_is_pending(self) -> None:
        """For each subscription, in order; and nothing of what nobody waits for."""
        state = self.region.store.state
        assert state.subscriptions.keys() == self.models.keys()
        for key, model in self.models.items():
            assert [self.refs[ref] for ref in state.subscriptions[key].pending] == model.pending
        waited_for = {name for model in self.models.values() for name in model.pending}
        assert {self.refs[ref] for topic in state.topics.values() for ref in topic} == waited_for

    def teardown(self) -> None:
        """Whoever comes last gets all that is pending, in order, of the journal's messages."""
        settle(self.region)
        for (client_id, name), model in self.models.items():
            pattern, selector, shared = model.terms
            client = int(client_id[-1])
            peer = self.peers[client]
            peer.connection.remove_consumer(name)
            peer.consume(
                "last", Destination.topic(pattern), subscription_name=name, selector=selector, shared=shared
            )
            settle(self.region)
            consumer = peer.connection.consumers["last"]
            assert [
                self.refs[ref] for ref, entry in consumer.dispatched.items() if entry.stored
            ] == model.pending
            peer.connection.remove_consumer("last")


TestSubscribers = Subscribers.TestCase
TestSubscribers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

"""The failover core under any order of sends, losses and lost answers."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from support.model_broker import ModelConnection, ModelStore

from broker.openwire.commands import (
    ActiveMQQueue,
    ActiveMQTextMessage,
    ConnectionId,
    ConnectionInfo,
    MessageId,
    ProducerId,
    ProducerInfo,
)
from broker.openwire.wireformat import WireFormat, WireFormatOptions
from mqclient.events import CloseSocket, Event, OpenSocket, Request
from mqclient.failover import FailoverTransport
from mqclient.options import FailoverOptions
from mqclient.replay import ConnectionState
from mqclient.url import parse_address

ADDRESSES = tuple(parse_address(f"tcp://{name}:1") for name in "ab")
PRODUCER = ProducerId(connection_id="ID:p-0:1", session_id=1, value=1)
QUEUE = ActiveMQQueue(physical_name="work")

STEPS = st.lists(
    st.one_of(
        st.just(("send", 0)),
        st.tuples(st.just("up"), st.integers(0, 400)),
        st.tuples(st.just("down"), st.integers(0, 400)),
        st.sampled_from([("lose", 0), ("time", 0), ("open", 0), ("vanish", 0), ("announce", 0)]),
    ),
    max_size=60,
)


class World:
    """A client, a store, and the bytes on their way between them, which a loss destroys."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.store = ModelStore()
        self.broker: ModelConnection | None = None
        self.opening = False
        self.upwards = self.downwards = b""
        self.asked = 0
        self.done: list[Request] = []
        info = ConnectionInfo(connection_id=ConnectionId(value="ID:p-0:1"))
        self.core = FailoverTransport(
            ConnectionState(info),
            FailoverOptions(),
            make_wire=lambda _, now_s: WireFormat(WireFormatOptions(), now_s=now_s),
            rng=random.Random(0),
        )
        self.take(self.core.start(ADDRESSES, 0.0))
        self.core.request(Request(ProducerInfo(producer_id=PRODUCER), lambda _: None), 0.0)

    def take(self, events: list[Event]) -> None:
        """Obey the core."""
        for event in events:
            if isinstance(event, CloseSocket):
                self.broker, self.opening = None, False
                self.upwards = self.downwards = b""
            elif isinstance(event, OpenSocket):
                self.opening = True

    def send(self, _: int) -> None:
        """The program sends a message."""
        self.asked += 1
        message = ActiveMQTextMessage(
            producer_id=PRODUCER,
            destination=QUEUE,
            persistent=True,
            content=str(self.asked).encode(),
            message_id=MessageId(producer_id=PRODUCER, producer_sequence_id=self.asked),
        )
        self.core.request(Request(message, self.done.append), self.now_s)

    def up(self, size: int) -> None:
        """Some bytes reach the broker."""
        self.upwards += self.core.data_to_send()
        if self.broker is not None:
            self.broker.receive_data(self.upwards[:size], self.now_s)
            self.upwards = self.upwards[size:]

    def down(self, size: int) -> None:
        """Some bytes reach the client."""
        if self.broker is not None:
            self.downwards += self.broker.data_to_send()
            data, self.downwards = self.downwards[:size], self.downwards[size:]
            if data:
                self.take(self.core.receive_data(data, self.now_s))

    def open(self, _: int) -> None:
        """TCP connects."""
        if self.opening:
            self.opening = False
            self.broker = ModelConnection(self.store, now_s=self.now_s)
            self.take(self.core.socket_opened(self.now_s))

    def lose(self, _: int) -> None:
        """The socket breaks, or could not be connected."""
        if self.broker is not None or self.opening:
            self.core.data_to_send()
            self.take(self.core.socket_lost("cut", self.now_s))

    def vanish(self, _: int) -> None:
        """The registry has no master."""
        self.take(self.core.set_addresses((), self.now_s))

    def announce(self, _: int) -> None:
        """The registry has masters."""
        self.take(self.core.set_addresses(ADDRESSES, self.now_s))

    def time(self, _: int) -> None:
        """The core's next deadline comes."""
        deadline_s = self.core.deadline_s
        if deadline_s is not None:
            self.now_s = max(self.now_s, deadline_s)
            self.take(self.core.handle_deadline(self.now_s))

    def settle(self) -> None:
        """A healthy broker is there from now on."""
        self.announce(0)
        while len(self.done) < self.asked or not self.core.connected:
            self.open(0)
            if self.broker is None:
                self.time(0)
                continue
            before = len(self.done)
            self.up(1_000_000)
            self.down(1_000_000)
            if len(self.done) == before and not self.upwards and not self.downwards and self.core.connected:
                self.up(1_000_000)
                self.down(1_000_000)
                break


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_every_send_is_answered_once_and_stored_once_in_order(steps: list[tuple[str, int]]) -> None:
    """Whatever is lost on the way, each send ends in one answer and one stored message, in order (P3, P4)."""
    world = World()
    for name, argument in steps:
        getattr(world, name)(argument)
    world.settle()
    assert [request.error for request in world.done] == [None] * world.asked
    assert len({id(request) for request in world.done}) == world.asked
    assert world.store.bodies() == [str(number).encode() for number in range(1, world.asked + 1)]


def test_the_checker_finds_a_store_that_forgets_sequences() -> None:
    """A planted bug: without the producers' sequences a repeat is stored twice, and the check sees it."""
    world = World()
    world.settle()
    world.now_s += 2
    world.send(0)
    world.up(1_000_000)
    world.lose(0)
    world.store.sequences.clear()
    world.settle()
    assert world.store.bodies() == [b"1", b"1"]

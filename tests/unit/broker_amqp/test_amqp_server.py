"""What clients of the AMQP server see."""

from __future__ import annotations

import sys

import pytest
from proton import Delivery, Disposition, Endpoint, Message, Terminus, symbol
from support import amqp_frames as amqp
from support.amqp_client import QUEUE, Broker, Client
from support.region import new_region

from broker.amqp.engine import proton
from broker.amqp.server import AmqpServer
from broker.amqp.wire import WIRE_FORMAT
from broker.config import BrokerConfig
from broker.connectors import ConnectorConfig, PortRange
from broker.destination import Destination
from broker.message import WIRE_READERS
from broker.protocols import lack
from broker.region.usage import UsageLimits


@pytest.fixture
def broker() -> Broker:
    """A region in memory."""
    return Broker()


def test_a_client_logs_in_and_learns_with_whom_it_speaks(broker: Broker) -> None:
    """The answer to its open names the broker, and what its addresses begin with."""
    client = Client(broker)
    properties = client.connection.remote_properties
    assert client.connection.remote_container == "broker"
    assert properties[symbol("product")] == "Fabric"
    assert properties[symbol("queue-prefix")] == "queue://"
    assert properties[symbol("topic-prefix")] == "topic://"
    offered = [str(name) for name in client.connection.remote_offered_capabilities]
    assert {"ANONYMOUS-RELAY", "SHARED-SUBS", "DELAYED_DELIVERY"} <= set(offered)


def test_a_message_is_accepted_when_it_is_durable(broker: Broker) -> None:
    """Before the journal has it nothing is said."""
    client = Client(broker)
    sender = client.sender()
    delivery = client.send(sender, "hello")
    assert not delivery.remote_state
    broker.settle()
    assert delivery.remote_state == Delivery.ACCEPTED
    assert delivery.settled


def test_a_message_comes_back(broker: Broker) -> None:
    """What is sent is received, byte for byte but for the header."""
    client = Client(broker)
    sender = client.sender()
    message = Message("hello", durable=True, id="m1", subject="greeting", properties={"a": 1})
    client.send(sender, message)
    client.receiver()
    ((got, delivery),) = client.take()
    assert got.body == "hello"
    assert got.encoded == message.encode()
    client.dispose(delivery, Delivery.ACCEPTED)
    broker.settle()
    assert not broker.region.targets[Destination.queue(QUEUE)].size


def test_wrong_password(broker: Broker) -> None:
    """The login is refused, and the connection ends."""
    client = Client(broker, password="wrong")
    assert client.server.closing
    assert client.transport.condition is not None


def test_without_login(broker: Broker) -> None:
    """Nobody is let in without it; the answer is the header of SASL."""
    server = broker.server()
    server.receive_data(b"AMQP\0\1\0\0", 0.0)
    assert server.data_to_send() == b"AMQP\3\1\0\0"
    assert server.closing


def test_anonymous_is_off_and_can_be_on() -> None:
    """ANONYMOUS is offered only if the connector says so."""
    assert Client(Broker(), mechanisms="ANONYMOUS").server.connection is None
    client = Client(Broker(anonymous=True), mechanisms="ANONYMOUS")
    assert client.server.connection is not None
    assert client.server.connection.user == "anonymous"
    assert Client(Broker(anonymous=True), mechanisms="").server.connection is not None


def test_external(broker: Broker) -> None:
    """Whom the transport has authenticated need not say more."""

    def certified(server: AmqpServer) -> None:
        server.transport_user = "alice"

    client = Client(broker, mechanisms="EXTERNAL", prepare=certified)
    assert client.server.connection is not None
    assert client.server.connection.user == "alice"
    assert Client(broker, "c2", mechanisms="EXTERNAL").server.connection is None


def test_external_of_nobody(broker: Broker) -> None:
    """A certificate of somebody who is no user does not log in."""

    def certified(server: AmqpServer) -> None:
        server.transport_user = "eve"

    assert Client(broker, mechanisms="EXTERNAL", prepare=certified).server.connection is None


def test_a_login_that_takes_a_while(broker: Broker) -> None:
    """What comes meanwhile is kept."""
    broker.users.at_once = False
    client = Client(broker)
    assert client.server.is_logging_in
    assert client.server.reading_paused
    broker.users.waiting.pop()()
    client.read()
    assert client.server.connection is not None


def test_the_container_id_is_in_use(broker: Broker) -> None:
    """The second connection of a container is refused as its open says."""
    Client(broker)
    second = Client(broker)
    assert second.condition(second.connection)[0] == "amqp:invalid-field"
    assert second.connection.remote_properties[symbol("amqp:connection-establishment-failed")] is True
    assert second.server.closing


def test_credit_is_the_clients(broker: Broker) -> None:
    """No more comes than there is credit for, however much is accepted."""
    client = Client(broker)
    sender = client.sender()
    for number in range(5):
        client.send(sender, str(number))
    receiver = client.receiver(credit=2)
    assert client.bodies() == ["0", "1"]
    assert client.bodies() == []
    receiver.flow(1)
    client.read()
    assert client.bodies() == ["2"]
    receiver.flow(10)
    client.read()
    assert client.bodies() == ["3", "4"]


def test_drain(broker: Broker) -> None:
    """The client gets what there is, and its credit back."""
    client = Client(broker)
    client.send(client.sender(), "one")
    receiver = client.receiver(credit=0)
    receiver.drain(5)
    client.read()
    broker.settle()
    assert receiver.credit == 0
    assert client.bodies() == ["one"]
    client.send(client.sender(name="s2"), "two")
    broker.settle()
    assert client.take() == []


def test_released_comes_again_uncounted(broker: Broker) -> None:
    """As if it had not been delivered."""
    client = Client(broker)
    client.send(client.sender(), "one")
    client.receiver()
    ((_, delivery),) = client.take()
    client.dispose(delivery, Delivery.RELEASED)
    ((again, delivery),) = client.take()
    assert again.delivery_count == 0
    client.dispose(delivery, Delivery.ACCEPTED)


def test_modified_counts_a_failure(broker: Broker) -> None:
    """With delivery-failed the count grows."""
    client = Client(broker)
    client.send(client.sender(), "one")
    client.receiver()
    ((_, delivery),) = client.take()
    delivery.local.failed = True
    client.dispose(delivery, Delivery.MODIFIED)
    ((again, delivery),) = client.take()
    assert again.delivery_count == 1
    client.dispose(delivery, Delivery.ACCEPTED)


@pytest.mark.parametrize("how", ["rejected", "undeliverable"])
def test_given_up(broker: Broker, how: str) -> None:
    """What is rejected, or undeliverable here, is a dead letter."""
    client = Client(broker)
    client.send(client.sender(), "one")
    client.receiver()
    ((_, delivery),) = client.take()
    if how == "rejected":
        client.dispose(delivery, Delivery.REJECTED)
    else:
        delivery.local.undeliverable = True
        client.dispose(delivery, Delivery.MODIFIED)
    broker.settle()
    client.receiver("ActiveMQ.DLQ", "dead")
    assert client.bodies("dead") == ["one"]


def test_settled_by_the_receiver_alone(broker: Broker) -> None:
    """An unsettled disposition is answered when it is durable."""
    client = Client(broker)
    client.send(client.sender(), "one")
    client.receiver()
    ((_, delivery),) = client.take()
    client.dispose(delivery, Delivery.ACCEPTED, settled=False)
    assert not delivery.settled
    broker.settle()
    assert delivery.settled
    assert delivery.remote_state == Disposition.ACCEPTED


def test_presettled_both_ways(broker: Broker) -> None:
    """Nobody waits for answers."""
    client = Client(broker)
    sender = client.sender()
    client.send(sender, "one", settled=True)
    client.receiver(settled=True)
    ((message, delivery),) = client.take()
    assert message.body == "one"
    assert delivery.settled
    broker.settle()
    assert not broker.region.targets[Destination.queue(QUEUE)].size


def test_selector(broker: Broker) -> None:
    """Only what matches comes, and the answer names the filter."""
    client = Client(broker)
    receiver = client.receiver(selector="colour = 'red'")
    sender = client.sender()
    client.send(sender, "r", properties={"colour": "red"})
    client.send(sender, "b", properties={"colour": "blue"})
    assert client.bodies() == ["r"]
    assert receiver.remote_source.filter is not None


def test_a_wrong_selector(broker: Broker) -> None:
    """The link is refused."""
    client = Client(broker)
    receiver = client.receiver(selector="colour = ")
    assert client.condition(receiver)[0] == "amqp:invalid-field"


def test_topics_and_no_local(broker: Broker) -> None:
    """A topic's subscriber gets what is sent from then on, without its own if it says so."""
    client, other = Client(broker), Client(broker, "c2")
    client.receiver("topic://t", "all")
    client.receiver("topic://t", "others", no_local=True)
    client.send(client.sender("topic://t"), "own")
    other.send(other.sender("t", capabilities=["topic"]), "another's")
    assert client.bodies("all") == ["own", "another's"]
    assert client.bodies("others") == ["another's"]


def test_a_durable_subscription(broker: Broker) -> None:
    """It stays when its link is detached, and goes when it is closed."""
    client = Client(broker)
    options = {"durability": Terminus.DELIVERIES, "expiry_policy": Terminus.EXPIRE_NEVER}
    receiver = client.receiver("topic://t", "sub", **options)
    receiver.detach()
    broker.settle()
    client.send(client.sender("topic://t"), "while away")
    broker.settle()
    client.drop()
    client = Client(broker)
    receiver = client.receiver("topic://t", "sub", **options)
    assert client.bodies("sub") == ["while away"]
    receiver.close()
    broker.settle()
    assert not broker.region.subscriptions.durable


def test_a_subscription_is_found_by_its_name(broker: Broker) -> None:
    """A link without a source names a durable subscription; closing it ends the subscription."""
    client = Client(broker)
    options = {"durability": Terminus.DELIVERIES, "expiry_policy": Terminus.EXPIRE_NEVER}
    client.receiver("topic://t", "sub", **options).detach()
    broker.settle()
    receiver = client.session.receiver("sub")
    receiver.source.type = Terminus.UNSPECIFIED
    receiver.open()
    broker.settle()
    assert receiver.remote_source.address == "topic://t"
    receiver.close()
    broker.settle()
    assert not broker.region.subscriptions.durable
    unknown = client.session.receiver("nobody")
    unknown.source.type = Terminus.UNSPECIFIED
    unknown.open()
    assert client.condition(unknown)[0] == "amqp:not-found"


def test_shared_subscriptions(broker: Broker) -> None:
    """Two links of one name take turns; behind the bar stands what tells them apart."""
    one, two = Client(broker, "c1"), Client(broker, "c2")
    for client in (one, two):
        client.receiver("topic://t", "both|1", capabilities=["topic", "shared", "global"])
    sender = one.sender("topic://t")
    for number in range(4):
        one.send(sender, str(number))
    broker.settle()
    assert sorted(one.bodies("both|1") + two.bodies("both|1")) == ["0", "1", "2", "3"]


def test_a_browser_takes_nothing(broker: Broker) -> None:
    """With the distribution mode copy messages stay."""
    client = Client(broker)
    client.send(client.sender(), "one")
    receiver = client.receiver(credit=0, distribution_mode=Terminus.DIST_MODE_COPY)
    receiver.drain(10)
    client.read()
    assert client.bodies() == ["one"]
    assert receiver.credit == 0
    client.receiver(name="other")
    assert client.bodies("other") == ["one"]


def test_a_dynamic_node(broker: Broker) -> None:
    """A temporary queue is named by the broker, answers come there, and it goes with its link."""
    client, other = Client(broker), Client(broker, "c2")
    receiver = client.receiver(None, "answers", dynamic=True)
    address = receiver.remote_source.address
    assert address.startswith("temp-queue://")
    other.send(other.sender(address), "answer")
    assert client.bodies("answers") == ["answer"]
    stolen = other.receiver(address, "stolen")
    assert other.condition(stolen)[0] == "amqp:not-found"
    receiver.close()
    broker.settle()
    assert Destination.parse(address) not in broker.region.targets
    gone = other.sender(address, "late")
    assert other.condition(gone)[0] == "amqp:not-found"


def test_a_dynamic_topic(broker: Broker) -> None:
    """The capability says which kind it is."""
    client = Client(broker)
    receiver = client.receiver(None, "t", dynamic=True, capabilities=["temporary-topic"])
    assert receiver.remote_source.address.startswith("temp-topic://")


def test_the_anonymous_relay(broker: Broker) -> None:
    """Each message says where it goes, and one that does not is rejected."""
    client = Client(broker)
    sender = client.sender(None)
    first = client.send(sender, "one", address="queue://a")
    second = client.send(sender, "two")
    broker.settle()
    assert first.remote_state == Delivery.ACCEPTED
    assert second.remote_state == Delivery.REJECTED
    client.receiver("a")
    assert client.bodies() == ["one"]


def test_a_message_that_is_none(broker: Broker) -> None:
    """It is rejected as such, and the link goes on."""
    client = Client(broker)
    sender = client.sender()
    delivery = client.send_bytes(sender, b"no AMQP")
    broker.settle()
    assert delivery.remote_state == Delivery.REJECTED
    assert delivery.remote.condition.name == "amqp:decode-error"
    assert client.send(sender, "good").link is not None
    client.receiver()
    assert client.bodies() == ["good"]


def test_too_long(broker: Broker) -> None:
    """A message beyond the limit ends its link; nobody else notices."""
    broker = Broker(frame_bytes_max=4096, amqp_frame_bytes_max=1024)
    client = Client(broker)
    sender = client.sender()
    client.send(sender, "x" * 10_000)
    assert client.condition(sender)[0] == "amqp:link:message-size-exceeded"
    other = client.sender(name="other")
    client.send(other, "y" * 2_000)
    client.receiver()
    assert client.bodies() == ["y" * 2_000]


def test_no_amqp(broker: Broker) -> None:
    """What is no AMQP at all is told so."""
    server = broker.server()
    server.receive_data(b"GET / HTTP/1.1\r\n\r\n", 0.0)
    assert server.closing
    assert "not AMQP" in server.close_reason


def test_garbage_behind_the_login(broker: Broker) -> None:
    """Proton tells the client, and the connection ends."""
    client = Client(broker)
    client.server.receive_data(b"\0\0\0\7garbage", 1.0)
    assert client.server.closing
    assert client.server.close_reason


def test_a_silent_client_is_given_up(broker: Broker) -> None:
    """After the idle time-out without a word."""
    client = Client(broker)
    deadline_s = client.server.deadline_s
    assert deadline_s is not None
    client.server.handle_deadline(deadline_s)
    later_s = client.server.deadline_s
    while later_s is not None and later_s < 100.0:
        client.server.handle_deadline(later_s)
        later_s = client.server.deadline_s
    assert client.server.closing


def test_credit_for_senders_is_renewed(broker: Broker) -> None:
    """Many more messages than its first credit can be sent."""
    broker = Broker(producer_credit=10)
    client = Client(broker)
    sender = client.sender()
    for number in range(100):
        assert sender.credit, number
        client.send(sender, str(number))
        if number % 5 == 0:
            broker.settle()
    broker.settle()
    assert broker.region.targets[Destination.queue(QUEUE)].size == 100


def test_closed_in_good_order(broker: Broker) -> None:
    """The answer to a close is a close."""
    client = Client(broker)
    client.connection.close()
    client.read()
    assert client.connection.state & Endpoint.REMOTE_CLOSED
    assert client.server.closing
    assert client.server.close_reason == ""


def test_last_words(broker: Broker) -> None:
    """When mastership ends a client is told to go elsewhere."""
    client = Client(broker)
    client._push(client.server.last_words("gone"))
    assert client.connection.remote_condition.name == "amqp:connection:forced"


def test_the_socket_is_gone(broker: Broker) -> None:
    """What was not settled waits again, counted."""
    client = Client(broker)
    client.send(client.sender(), "one")
    client.receiver()
    client.take()
    client.drop()
    other = Client(broker, "c2")
    other.receiver()
    ((message, _),) = other.take()
    assert message.delivery_count == 1


def told(broker: Broker, *frames: bytes) -> AmqpServer:
    """A server that these frames have come to, behind a login."""
    server = broker.server()
    server.receive_data(amqp.plain_login() + amqp.opened() + b"".join(frames), 0.0)
    server.data_to_send()
    return server


def test_capabilities_that_are_none(broker: Broker) -> None:
    """An array that says it has more elements than it has is not handed back to Proton, which would fall."""
    symbols = amqp.encode(amqp.Array([amqp.Symbol("queue")]))
    size_at = symbols.index(b"\0\0\0\1")
    damaged = symbols[:size_at] + b"\0\0\x10\1" + symbols[size_at + 4 :]
    link = amqp.attach(
        0, amqp.SENDER, amqp.source("q"), amqp.target("q", capabilities=amqp.Array([amqp.Symbol("queue")]))
    )
    server = told(broker, link.replace(symbols, damaged))
    assert symbols in link
    server.connection_lost("gone")


def test_everything_at_once(broker: Broker) -> None:
    """A session that ends in the same bytes as it begins: what came in between still counts."""
    server = told(
        broker,
        amqp.attach(0, amqp.SENDER, amqp.source("q"), amqp.target("q")),
        amqp.transfer(0, 0, amqp.message("one"), settled=True),
        amqp.frame(amqp.END),
    )
    assert broker.region.targets[Destination.queue("q")].size == 1
    assert not server.closing


def test_opened_twice(broker: Broker) -> None:
    """The second time ends it."""
    server = told(broker, amqp.frame(amqp.OPEN, "c2", "host"))
    assert server.closing


@pytest.mark.parametrize("where", ["container", "link", "address"])
def test_names_that_are_no_text(broker: Broker, where: str) -> None:
    """The connection ends, as what it says cannot be read."""
    if where == "container":
        server = broker.server()
        server.receive_data(amqp.plain_login() + amqp.opened().replace(b"c1", b"\xff1", 1), 0.0)
    else:
        link = amqp.attach(0, amqp.SENDER, amqp.source("q"), amqp.target("addr"), name="name")
        server = told(broker, link.replace(b"name" if where == "link" else b"addr", b"\xff\xff\xff\xff"))
    assert "not UTF-8" in server.close_reason


def test_without_proton(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connector says what to install; nothing else needs it."""
    monkeypatch.setitem(sys.modules, "cproton", None)
    proton.cache_clear()
    try:
        ports = PortRange(0, 0)
        assert "fabric-mq[amqp]" in lack(ConnectorConfig("amqp", "amqp", "amqp", ports))
        assert lack(ConnectorConfig("openwire", "openwire", "tcp", ports)) == ""
    finally:
        proton.cache_clear()


def test_what_the_configuration_says() -> None:
    """The connector's own properties, with ActiveMQ's names."""
    properties = {
        "connectors": "amqp",
        "amqp-wireFormat.idleTimeout": "5000",
        "amqp-wireFormat.producerCredit": "7",
        "amqp-wireFormat.maxAmqpFrameSize": "4096",
        "amqp-anonymousAccessAllowed": "true",
    }
    (config,) = BrokerConfig.from_properties(properties, container="c").connectors
    assert (config.inactivity_ms, config.producer_credit) == (5_000, 7)
    assert (config.amqp_frame_bytes_max, config.anonymous) == (4_096, True)


def test_a_message_is_not_read_on_its_way(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one AMQP client to the other nobody asks for more than was read when it arrived."""

    def asked(wire: bytes) -> Message:
        raise AssertionError(f"{wire!r} was read")

    monkeypatch.setitem(WIRE_READERS, WIRE_FORMAT, asked)
    client = Client(broker)
    sender = client.sender()
    for durable in (True, False):
        client.send(sender, Message("x", durable=durable, properties={"a": 1}))
    client.receiver()
    assert client.bodies() == ["x", "x"]


def test_wildcards_share_one_credit(broker: Broker) -> None:
    """A receiver of several queues gets as many messages as it has credit for, and drains all of them."""
    client = Client(broker)
    for name in ("w.a", "w.b"):
        sender = client.sender(f"queue://{name}", name)
        for number in range(3):
            client.send(sender, f"{name}{number}")
    receiver = client.receiver("queue://w.*", "all", credit=2)
    assert len(client.bodies("all")) == 2
    receiver.drain(10)
    client.read()
    assert len(client.bodies("all")) == 4
    assert receiver.credit == 0


def test_a_burst_is_not_discarded_while_there_is_credit(broker: Broker) -> None:
    """A topic's subscriber without a prefetch has room for what it has credit for."""
    client = Client(broker)
    client.receiver("topic://t", credit=5_000)
    sender = client.sender("topic://t")
    for number in range(900):
        client.send(sender, Message(number), settled=True)
    broker.settle()
    for number in range(900, 3_000):
        client.send(sender, Message(number), settled=True)
        if number % 900 == 0:
            client.server.data_to_send()
    assert client.bodies() == list(range(3_000))


def test_no_space(broker: Broker) -> None:
    """A send for which there is no space waits, and is answered when there is some."""
    region = new_region(usage=UsageLimits(store_bytes_max=1))
    broker = Broker(region)
    client = Client(broker)
    sender = client.sender()
    first = client.send(sender, "one")
    broker.settle()
    second = client.send(sender, "two")
    broker.settle()
    assert first.remote_state == Delivery.ACCEPTED
    assert not second.remote_state
    client.receiver()
    assert client.bodies() == ["one"]
    broker.settle()
    assert second.remote_state == Delivery.ACCEPTED
    assert client.bodies() == ["two"]

"""The failover core, against a model broker in memory and on a clock of its own."""

import pytest
from support.failover_client import CONNECTION, PRODUCER, QUEUE, A, B, Client, connected

from broker.openwire.commands import (
    ActiveMQTempQueue,
    ConnectionControl,
    ConnectionInfo,
    ConsumerId,
    ConsumerInfo,
    DestinationInfo,
    ProducerInfo,
    RemoveInfo,
    SessionId,
    SessionInfo,
    ShutdownInfo,
)
from broker.openwire.constants import DestinationOperation
from mqclient.errors import (
    AuthenticationFailed,
    ConnectionClosed,
    ConnectionFailed,
    FailoverTimeout,
    InvalidClientId,
)
from mqclient.events import (
    AddressesChanged,
    AttemptFailed,
    CommandRefused,
    Failed,
    Interrupted,
    Resumed,
    State,
)
from mqclient.failover import NEGOTIATION_TIMEOUT_S
from mqclient.options import FailoverOptions


def test_login_comes_first() -> None:
    """The first command of a connection is ConnectionInfo, and it is no reconnect."""
    client = connected()
    assert client.broker is not None
    assert client.broker.names() == ["ConnectionInfo"]
    login = client.broker.received[0]
    assert isinstance(login, ConnectionInfo)
    assert not login.failover_reconnect
    assert client.seen(Resumed) == [Resumed(A, first=True)]


def test_a_request_is_answered() -> None:
    """A command that is asked for is sent and its answer handed back."""
    client = connected()
    request = client.request(client.message())
    client.exchange()
    assert client.done == [request]
    assert request.error is None
    assert client.store.bodies() == [b"1"]


def test_a_request_before_the_first_connection_waits() -> None:
    """What is asked for too early is sent once a broker is there."""
    client = Client(FailoverOptions())
    request = client.request(client.message())
    client.start()
    client.connect()
    assert client.done == [request]


def test_the_state_is_replayed_in_order() -> None:
    """A new broker is told of login, destinations, sessions, consumers and producers, in this order."""
    client = connected()
    temporary = ActiveMQTempQueue(physical_name=f"{CONNECTION}:1")
    consumer_id = ConsumerId(connection_id=CONNECTION, session_id=1, value=1)
    for command in (
        SessionInfo(session_id=SessionId(connection_id=CONNECTION, value=1)),
        ProducerInfo(producer_id=PRODUCER),
        ConsumerInfo(consumer_id=consumer_id, destination=QUEUE, prefetch_size=10),
        DestinationInfo(destination=temporary),
    ):
        client.request(command)
    client.exchange()
    client.lose()
    broker = client.connect()
    assert broker.names() == [
        "ConnectionInfo",
        "DestinationInfo",
        "SessionInfo",
        "ConsumerInfo",
        "ProducerInfo",
    ]
    login = broker.received[0]
    assert isinstance(login, ConnectionInfo)
    assert login.failover_reconnect
    assert client.seen(Resumed)[-1] == Resumed(A, first=False)


def test_what_was_removed_is_not_replayed() -> None:
    """A closed session takes its consumers and producers with it."""
    client = connected()
    session_id = SessionId(connection_id=CONNECTION, value=1)
    client.request(SessionInfo(session_id=session_id))
    client.request(ProducerInfo(producer_id=PRODUCER))
    client.request(RemoveInfo(object_id=session_id))
    client.exchange()
    client.lose()
    assert client.connect().names() == ["ConnectionInfo"]


def test_what_was_refused_is_not_replayed() -> None:
    """A consumer that the broker did not take is not part of the state."""
    client = Client(FailoverOptions())
    client.prepare = lambda broker: broker.refuse.update(ConsumerInfo="javax.jms.InvalidSelectorException")
    client.start()
    client.connect()
    request = client.request(
        ConsumerInfo(consumer_id=ConsumerId(connection_id=CONNECTION, value=1), destination=QUEUE)
    )
    client.exchange()
    assert "InvalidSelectorException" in str(request.error)
    client.lose()
    assert client.connect().names() == ["ConnectionInfo"]


def test_an_unanswered_send_is_repeated_with_its_first_id() -> None:
    """A send whose answer was lost is sent again unchanged, and the broker stores it once."""
    client = connected()
    assert client.broker is not None
    client.broker.answers = False
    request = client.request(client.message())
    client.exchange()
    assert client.done == []
    client.lose()
    broker = client.connect()
    assert broker.received[-1] == request.command
    assert client.done == [request]
    assert client.store.bodies() == [b"1"]
    assert client.store.repeats_dropped == 1


def test_sends_during_an_outage_keep_their_order() -> None:
    """What was asked for before, during and after an outage arrives in the order of asking."""
    client = connected()
    client.request(client.message())
    client.lose()
    client.request(client.message())
    client.request(client.message())
    client.connect()
    client.request(client.message())
    client.exchange()
    assert client.store.bodies() == [b"1", b"2", b"3", b"4"]
    assert len(client.done) == 4


def test_a_remove_is_answered_here_during_an_outage() -> None:
    """Closing something needs no broker: the next one never hears of it."""
    client = connected()
    client.request(ProducerInfo(producer_id=PRODUCER))
    client.exchange()
    sent = client.request(RemoveInfo(object_id=ConsumerId(connection_id=CONNECTION, value=9)))
    client.lose()
    asked_later = client.request(RemoveInfo(object_id=PRODUCER))
    assert sent in client.done
    assert asked_later in client.done
    assert client.connect().names() == ["ConnectionInfo"]


def test_a_temporary_destination_is_removed_during_an_outage() -> None:
    """A deleted temporary queue is not made again at the next broker."""
    client = connected()
    temporary = ActiveMQTempQueue(physical_name=f"{CONNECTION}:1")
    client.request(DestinationInfo(destination=temporary))
    client.exchange()
    client.lose()
    client.request(DestinationInfo(destination=temporary, operation_type=int(DestinationOperation.REMOVE)))
    assert client.connect().names() == ["ConnectionInfo"]


def test_one_way_sends_need_a_connection() -> None:
    """What is neither answered nor replayed is not taken during an outage."""
    client = connected()
    assert client.core.send(client.message())
    client.lose()
    assert not client.core.send(client.message())


def test_a_wrong_password_is_final_at_first() -> None:
    """A login that is refused at the start is not repeated."""
    client = Client(FailoverOptions())
    client.password = "other"
    client.start()
    client.accept()
    client.exchange()
    assert [type(event.error) for event in client.seen(Failed)] == [AuthenticationFailed]
    assert client.core.state is State.CLOSED
    with pytest.raises(AuthenticationFailed):
        client.request(client.message())


def test_a_client_id_in_use_is_final_at_first() -> None:
    """A client id that another connection has is told at once."""
    client = Client(FailoverOptions())
    client.prepare = lambda broker: broker.refuse.update(ConnectionInfo="javax.jms.InvalidClientIDException")
    client.start()
    client.accept()
    client.exchange()
    assert [type(event.error) for event in client.seen(Failed)] == [InvalidClientId]


def test_a_refused_login_is_repeated_after_a_failover() -> None:
    """A new master that does not know us yet is asked again."""
    client = connected()
    client.password = "not yet known"
    client.lose()
    client.accept()
    client.exchange()
    assert client.broker is None
    client.password = None
    client.connect()
    assert client.seen(Resumed)[-1] == Resumed(A, first=False)
    assert not client.seen(Failed)


def test_without_failover_the_first_failure_is_final() -> None:
    """A plain tcp:// URL connects once."""
    client = Client(None)
    client.start()
    client.take(client.core.socket_lost("Connection refused", client.now_s))
    assert isinstance(client.core.error, ConnectionFailed)
    assert "Connection refused" in str(client.core.error)


def test_without_failover_a_lost_connection_is_the_end() -> None:
    """A plain tcp:// URL does not reconnect, and what is unanswered fails."""
    client = Client(None)
    client.start()
    client.connect()
    request = client.request(client.message())
    client.lose()
    assert isinstance(request.error, ConnectionFailed)
    assert client.opening() is None


def test_attempts_used_up() -> None:
    """After maxReconnectAttempts failed rounds everybody who waits is told."""
    client = Client(FailoverOptions(max_reconnect_attempts=2))
    request = client.request(client.message())
    client.start()
    client.take(client.core.socket_lost("no", client.now_s))
    client.pass_time()
    client.take(client.core.socket_lost("no", client.now_s))
    assert len(client.seen(AttemptFailed)) == 2
    assert isinstance(request.error, ConnectionFailed)


def test_the_connection_is_dropped_when_its_address_leaves() -> None:
    """A frozen master sends no reset: the registry's word is enough."""
    client = connected()
    client.take(client.core.set_addresses((), client.now_s))
    assert client.seen(Interrupted)
    assert client.core.deadline_s is None
    client.take(client.core.set_addresses((B,), client.now_s))
    assert client.opening() == B
    assert AddressesChanged((B,), ()) in client.events


def test_a_connection_stays_when_another_address_comes() -> None:
    """A new broker of the group does not disturb those who work."""
    client = connected()
    client.take(client.core.set_addresses((A, B), client.now_s))
    assert not client.seen(Interrupted)


def test_an_attempt_at_a_frozen_broker_gives_way_to_news() -> None:
    """A frozen broker's kernel accepts us; the announcement of another broker ends the wait for an answer."""
    client = Client(FailoverOptions())
    client.start(A)
    client.accept()
    client.take(client.core.set_addresses((A, B), client.now_s))
    assert client.opening() == B


def test_a_silent_broker_is_left() -> None:
    """A broker that accepts and says nothing is given up after a while."""
    client = Client(FailoverOptions(randomize=False))
    client.start(A, B)
    client.accept()
    began_s = client.now_s
    client.pass_time()
    assert client.now_s - began_s <= NEGOTIATION_TIMEOUT_S
    assert client.opening() == B


def test_a_connect_that_hangs_is_given_up() -> None:
    """A host that does not answer costs connectionTimeout."""
    client = Client(FailoverOptions(randomize=False))
    client.start(A, B)
    began_s = client.now_s
    client.pass_time()
    assert client.now_s - began_s == A.wire.connection_timeout / 1000
    assert client.opening() == B


def test_the_failover_timeout_fails_sends() -> None:
    """With the option timeout a send does not wait longer for a broker, and is not sent later."""
    client = connected(options=FailoverOptions(timeout=500))
    client.lose()
    request = client.request(client.message())
    while not client.done:
        client.take(client.core.socket_lost("no", client.now_s))
        client.pass_time()
    assert isinstance(request.error, FailoverTimeout)
    assert str(request.error) == "Failover timeout of 500 ms reached."
    client.connect()
    assert client.store.bodies() == []


def test_garbage_from_the_broker_ends_the_connection() -> None:
    """A peer that does not speak OpenWire is left, and tried again later."""
    client = Client(FailoverOptions())
    client.start()
    client.accept()
    client.take(client.core.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n", client.now_s))
    assert client.seen(AttemptFailed)
    client.connect()


def test_a_shutdown_of_the_broker_is_a_failover() -> None:
    """A broker that says good-bye is left at once."""
    client = connected()
    assert client.broker is not None
    client.broker.send(ShutdownInfo())
    client.exchange()
    assert client.seen(Interrupted)


def test_brokers_named_by_the_broker_are_known() -> None:
    """A broker may name others; what we cannot use is left out."""
    client = Client(FailoverOptions(), follow_broker=True)
    client.start()
    broker = client.connect()
    broker.send(ConnectionControl(connected_brokers="tcp://b:1,bogus,https://c:1"))
    client.exchange()
    assert client.core.addresses == (A, B)


def test_a_broker_may_send_us_away() -> None:
    """With reconnectTo the client goes where it is sent."""
    client = Client(FailoverOptions(), follow_broker=True)
    client.start()
    client.connect().send(ConnectionControl(reconnect_to="tcp://b:1"))
    client.exchange()
    assert client.opening() == B


def test_a_broker_may_spread_its_clients() -> None:
    """With rebalanceConnection a client on another broker than those named moves."""
    client = Client(FailoverOptions(), follow_broker=True)
    client.start()
    client.connect().send(ConnectionControl(connected_brokers="tcp://b:1", rebalance_connection=True))
    client.exchange()
    assert client.opening() == B


def test_with_discovery_the_registry_knows_better() -> None:
    """What a broker says of other brokers is ignored with discovery."""
    client = connected()
    assert client.broker is not None
    client.broker.send(ConnectionControl(connected_brokers="tcp://b:1", reconnect_to="tcp://b:1"))
    client.exchange()
    assert client.core.addresses == (A,)
    assert client.core.connected


def test_a_refused_replay_is_told() -> None:
    """A consumer that the new broker refuses is reported, and not replayed again."""
    client = connected()
    client.request(ConsumerInfo(consumer_id=ConsumerId(connection_id=CONNECTION, value=1), destination=QUEUE))
    client.exchange()
    client.prepare = lambda broker: broker.refuse.update(ConsumerInfo="javax.jms.JMSException")
    client.lose()
    client.connect()
    refused = client.seen(CommandRefused)
    assert [type(event.command) for event in refused] == [ConsumerInfo]
    client.now_s += 2
    client.lose()
    assert client.connect().names() == ["ConnectionInfo"]


def test_close_says_good_bye_and_fails_what_waits() -> None:
    """Closing ends the connection politely, and nobody waits for ever."""
    client = connected()
    broker = client.broker
    assert broker is not None
    broker.answers = False
    request = client.request(client.message())
    client.events += client.core.close()
    broker.receive_data(client.core.data_to_send(), client.now_s)
    assert broker.is_closed
    assert isinstance(request.error, ConnectionClosed)
    assert client.core.close() == []
    with pytest.raises(ConnectionClosed):
        client.core.send(client.message())


def test_keep_alive_finds_a_dead_broker() -> None:
    """A broker that is silent for longer than maxInactivityDuration is left."""
    client = connected()
    while not client.seen(Interrupted):
        client.core.data_to_send()
        client.pass_time()
    assert client.now_s < 1000 + 35

"""The broker's side of an OpenWire connection: what each command does, and what wrong ones cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.openwire_client import Broker, Client

from broker.openwire import server
from broker.openwire.codec import Codec
from broker.openwire.commands import (
    ActiveMQBytesMessage,
    BaseCommand,
    BrokerInfo,
    ConnectionControl,
    ConnectionId,
    ControlCommand,
    DiscoveryEvent,
    ExceptionResponse,
    KeepAliveInfo,
    ProducerInfo,
    RemoveInfo,
    RemoveSubscriptionInfo,
    Response,
    SessionId,
    SessionInfo,
    ShutdownInfo,
)
from broker.openwire.wireformat import WireFormatOptions


@pytest.fixture
def broker() -> Broker:
    """A broker in memory."""
    return Broker()


@pytest.fixture
def client(broker: Broker) -> Client:
    """A client that has logged in and opened session 1."""
    return Client(broker)


# ---- the beginning


def test_login_is_answered_and_the_broker_introduces_itself(broker: Broker) -> None:
    """A client that logs in gets its answer, the broker's name, and control information if it takes it."""
    client = Client(broker, login=False)
    assert type(client.request(client.info(manageable=True))) is Response
    (info,) = client.take(BrokerInfo)
    assert (info.broker_name, info.broker_url) == ("broker", "tcp://127.0.0.1:1")
    assert client.take(ConnectionControl)
    assert client.server.connection is broker.region.connections["c1"]


def test_wrong_password_is_refused_and_the_connection_ends(broker: Broker) -> None:
    """A wrong password is a SecurityException; the connection closes with a reason for the log."""
    client = Client(broker, login=False)
    assert client.refusal(client.info(password="x")) == (
        "java.lang.SecurityException",
        "Not with this password.",
    )
    assert client.server.closing
    assert client.server.close_reason == "login of 'admin' refused: Not with this password."
    assert client.server.deadline_s is None
    assert broker.region.connections == {}


def test_commands_before_the_login_are_refused(broker: Broker) -> None:
    """Nobody does anything before logging in."""
    for command in (SessionInfo(), ControlCommand(), ProducerInfo()):
        client = Client(broker, login=False)
        assert client.refusal(command) == (
            "java.lang.SecurityException",
            "The connection has not logged in.",
        )
        assert client.server.closing


def test_a_message_before_the_login_is_refused(broker: Broker) -> None:
    """Nobody sends before logging in, in good form or not."""
    client = Client(broker, login=False)
    client.say(client.text("x"))
    assert client.errors() == ["The connection has not logged in."]
    assert client.server.closing


def test_a_login_may_take_its_time(broker: Broker) -> None:
    """What a client says while its password is checked is done afterwards, in order."""
    broker.users.at_once = False
    client = Client(broker, login=False)
    client.say(client.info(), answer=True)
    assert client.server.reading_paused
    client.say(SessionInfo(session_id=SessionId("c1", 1)), answer=True)
    client.say(client.text("early"), answer=True)
    client.say(client.consumer(), answer=True)
    assert client.told == []
    broker.users.waiting.pop()()
    assert broker.woken == 1
    assert not client.server.reading_paused
    assert client.texts() == ["early"]
    assert [each.correlation_id for each in client.take(Response)] == [1, 2, 4, 3]


def test_a_login_that_is_refused_late(broker: Broker) -> None:
    """What a client said before it was refused is not done."""
    broker.users.at_once = False
    client = Client(broker, login=False)
    client.say(client.info(password="x"), answer=True)
    client.say(SessionInfo(session_id=SessionId("c1", 1)), answer=True)
    broker.users.waiting.pop()()
    client.read()
    assert [type(each) for each in client.told] == [ExceptionResponse]


def test_a_client_that_leaves_during_its_login(broker: Broker) -> None:
    """The verdict comes too late and does no harm."""
    broker.users.at_once = False
    client = Client(broker, login=False)
    client.say(client.info())
    client.server.connection_lost("gone")
    broker.users.waiting.pop()()
    assert broker.region.connections == {}


def test_too_much_during_a_login(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that floods the broker before it is known loses its connection."""
    monkeypatch.setattr("broker.serving.WAITING_BYTES_MAX", 10_000)
    broker.users.at_once = False
    client = Client(broker, login=False)
    client.say(client.info())
    for _ in range(3):
        client.say(ControlCommand(command="x" * 5000))
    assert client.errors() == ["more than 10000 bytes came before the login was answered"]
    assert client.server.closing


def test_frames_before_the_login_are_small(broker: Broker) -> None:
    """Whoever has not logged in cannot make the broker keep a large frame."""
    client = Client(broker, login=False)
    client.say(ActiveMQBytesMessage(content=b"x" * server.ANONYMOUS_FRAME_SIZE_MAX))
    assert "larger than the maximum" in client.errors()[0]


def test_a_failover_transport_announces_itself_first(broker: Broker) -> None:
    """What Apache's failover transport says before it logs in again is accepted."""
    client = Client(broker, login=False)
    client.say(ConnectionControl(fault_tolerant=True))
    assert client.told == []
    assert type(client.request(client.info(failover_reconnect=True))) is Response


def test_a_login_needs_an_id(broker: Broker) -> None:
    """A connection without an id is refused."""
    client = Client(broker, login=False)
    assert client.refusal(client.info(connection_id=None))[1] == "A connection needs an id."


def test_a_second_login_is_refused(client: Client) -> None:
    """A connection logs in once."""
    assert client.refusal(client.info())[1] == "The connection has logged in already."
    assert not client.server.closing


def test_a_client_id_in_use_is_refused(broker: Broker) -> None:
    """The second client of a client id is told so."""
    Client(broker, "c1").request(SessionInfo(session_id=SessionId("c1", 2)))
    first = Client(broker, "c2", login=False)
    first.request(first.info(client_id="durable"))
    second = Client(broker, "c3", login=False)
    assert second.refusal(second.info(client_id="durable"))[0] == "javax.jms.InvalidClientIDException"


def test_the_same_connection_again_replaces_the_old_one(broker: Broker) -> None:
    """A client that comes back before its old connection was found dead gets in; the old one is closed."""
    old = Client(broker)
    new = Client(broker)
    assert old.server.closing
    assert old.server.close_reason == "the same connection id connected again"
    assert broker.region.connections["c1"] is new.server.connection


# ---- what is wrong


def test_garbage_ends_the_connection_with_a_reason(broker: Broker, client: Client) -> None:
    """Bytes that are no command: the client is told, the connection closes, others notice nothing."""
    other = Client(broker, "c2")
    client.server.receive_data(b"\0\0\0\1\x0d", 0.0)
    client.read()
    assert client.errors() == ["type 13 is unknown"]
    assert client.server.closing
    assert client.server.close_reason == "type 13 is unknown"
    client.server.receive_data(b"\0\0\0\1\x0d", 0.0)
    client.server.durable(99)
    other.request(other.text("x"))


def test_a_damaged_message_ends_the_connection(client: Client) -> None:
    """A message cut short inside its frame is never stored."""
    frame = Codec().encode(client.text("x"))
    client.server.receive_data((len(frame) - 5).to_bytes(4, "big") + frame[4:-1], 0.0)
    client.read()
    assert "is damaged" in client.errors()[0]
    assert client.server.closing


def test_a_structure_that_is_no_command_ends_the_connection(client: Client) -> None:
    """An id or an event cannot stand alone."""
    client.server.receive_data(Codec().encode(DiscoveryEvent()), 0.0)
    client.read()
    assert client.errors() == ["DiscoveryEvent is no command"]


def test_the_end_of_the_stream_gives_everything_back(broker: Broker) -> None:
    """A client that vanishes leaves its messages to others, redelivered."""
    first, second = Client(broker, "c1"), Client(broker, "c2")
    first.request(first.text("1"))
    first.request(first.consumer())
    assert first.texts() == ["1"]
    first.server.receive_eof()
    assert first.server.closing
    first.server.connection_lost("gone")
    second.request(second.consumer())
    assert second.texts() == ["1"]


def test_silence_ends_the_connection(client: Client) -> None:
    """A client that says nothing for too long is given up; a silent broker sends keep-alives."""
    assert client.server.deadline_s == 10.0
    client.server.handle_deadline(10.0)
    client.server.data_to_send()
    client.server.handle_deadline(20.0)
    assert client.server.data_to_send() == Codec().encode(KeepAliveInfo())
    client.server.handle_deadline(30.0)
    assert client.server.closing
    assert "silent for more than 30 s" in client.server.close_reason


def test_a_message_its_client_cannot_read_ends_that_client_only() -> None:
    """A text too long for tight encoding closes the connection that cannot have it; others get it."""
    broker = Broker(tight_encoding=True)
    sender = Client(broker, "c1")
    tight = Client(broker, "c2", WireFormatOptions(tight_encoding_enabled=True))
    tight.request(tight.consumer())
    sender.request(replace(sender.text("x"), correlation_id="x" * 40_000))
    assert tight.server.closing
    assert "cannot be written in this encoding" in tight.server.close_reason
    sender.request(sender.consumer())
    assert sender.texts() == ["x"]


def test_a_long_error_is_cut(client: Client) -> None:
    """An error that quotes a client's long text still fits an answer."""
    _, text = client.refusal(RemoveSubscriptionInfo(subscription_name="x" * 60_000))
    assert len(text) == server.ERROR_CHARACTERS_MAX


def test_every_split_point(broker: Broker) -> None:
    """A dialogue cut at any byte has the same outcome."""
    sent = Codec().encode(WireFormatOptions().to_info())
    codec = Codec()
    script = Client(Broker(), "c1", login=False)
    script_commands: list[BaseCommand] = [
        script.info(command_id=1, response_required=True),
        SessionInfo(2, True, SessionId("c1", 1)),
        replace(script.consumer(), command_id=3, response_required=True),
        replace(script.text("x", persistent=False), command_id=4, response_required=True),
        RemoveInfo(5, True, ConnectionId("c1")),
    ]
    sent += b"".join(codec.encode(each) for each in script_commands)
    whole = _answers(broker, [sent])
    assert len(whole) > 100
    for at in range(0, len(sent), 3):
        assert _answers(Broker(), [sent[:at], sent[at:]]) == whole
    assert _answers(Broker(), [bytes((byte,)) for byte in sent]) == whole


def _answers(broker: Broker, pieces: list[bytes]) -> bytes:
    made = broker.server()
    said = b""
    for piece in pieces:
        made.receive_data(piece, 0.0)
        said += made.data_to_send()
    assert not made.closing
    return said


def test_messages_of_clients_have_all_they_need(client: Client) -> None:
    """Out-of-range priorities and expirations are brought into range, not refused."""
    client.request(client.consumer())
    client.request(replace(client.text("x"), priority=-3, expiration=-1))
    client.request(replace(client.text("y"), priority=99))
    assert client.texts() == ["x", "y"]


def test_a_login_without_answer_is_told_its_refusal(broker: Broker) -> None:
    """A client that asked for no answer still hears why its connection ends."""
    client = Client(broker, login=False)
    client.say(client.info(user_name=None))
    assert client.errors() == ["Not with this password."]


def test_the_end_inside_a_frame_is_a_reason(client: Client) -> None:
    """A connection that ends in the middle of a frame says so in the log."""
    client.server.receive_data(b"\0\0", 0.0)
    client.server.receive_eof()
    assert client.server.close_reason == "the connection ended inside a frame"
    client.server.disconnect("too late")
    assert client.server.close_reason == "the connection ended inside a frame"


def test_nothing_counts_after_a_fault(client: Client) -> None:
    """What came together with a shutdown, behind it, is not done."""
    codec = Codec()
    data = codec.encode(ShutdownInfo()) + codec.encode(client.text("x"))
    client.server.receive_data(data, 0.0)
    client.broker.settle()
    assert client.broker.region.targets == {}


def test_a_login_without_answer_is_accepted(broker: Broker) -> None:
    """A client that asks for no answer to its login is served all the same."""
    client = Client(broker, login=False)
    client.say(client.info())
    assert client.take(BrokerInfo)
    assert client.server.connection is not None


def test_the_connector_says_what_is_negotiated() -> None:
    """Each option of the connector takes part in the negotiation, with the smaller one of both counting."""
    broker = Broker(
        tight_encoding=True,
        cache=True,
        cache_size=200,
        stack_traces=True,
        openwire_version=9,
        inactivity_ms=7_000,
        frame_bytes_max=5_000_000,
    )
    wanted = WireFormatOptions(
        tight_encoding_enabled=True, cache_enabled=True, cache_size=500, stack_trace_enabled=True
    )
    agreed = Client(broker, options=wanted).wire.agreed
    assert agreed is not None
    assert (agreed.version, agreed.cache_size, agreed.stack_trace_enabled) == (9, 200, True)
    assert (agreed.max_inactivity_duration_ms, agreed.max_frame_size_bytes) == (7_000, 5_000_000)
    assert agreed.tight_encoding_enabled
    assert agreed.cache_enabled


def test_the_first_frame_has_its_time() -> None:
    """A client that says nothing at all is given up when its connector says so."""
    server = Broker(inactivity_initial_ms=2_000).server()
    assert server.deadline_s == 2.0
    server.handle_deadline(2.0)
    assert server.closing

"""Each type of OpenWire that a client may send has a decided answer, in every version that knows it."""

from __future__ import annotations

import pytest
from support.openwire_client import QUEUE, Broker, Client

from broker.openwire import commands
from broker.openwire.commands import (
    BaseCommand,
    BrokerInfo,
    ConnectionError,
    ConsumerControl,
    ConsumerId,
    ControlCommand,
    DataStructure,
    ExceptionResponse,
    FlushCommand,
    MessagePull,
    Response,
)
from broker.openwire.schema import BY_CODE, BY_NAME, VERSION_MAX, VERSION_MIN
from broker.openwire.wireformat import WireFormatOptions

ANSWERED = "answered"
REFUSED = "refused: "
CLOSED = "closed: "
NOTHING = "nothing"
"""That anybody would see: one end's keep-alive is the other end's wire format's."""

NO_COMMAND = CLOSED + "{name} is no command"
ONLY_BROKERS = REFUSED + "{name} is not supported here."
NEEDS_DESTINATION = REFUSED + "A destination is needed."
NEEDS_ID = REFUSED + "A message needs an id."

DECIDED = {
    "WireFormatInfo": CLOSED + "the peer sent a second WireFormatInfo",
    "BrokerInfo": CLOSED + "Network connectors of other brokers are not served here.",
    "ConnectionInfo": REFUSED + "The connection has logged in already.",
    "SessionInfo": REFUSED + "A session needs an id.",
    "ConsumerInfo": REFUSED + "A consumer needs an id.",
    "ProducerInfo": REFUSED + "A producer needs an id.",
    "TransactionInfo": REFUSED + "A transaction needs an id.",
    "DestinationInfo": NEEDS_DESTINATION,
    "RemoveSubscriptionInfo": REFUSED + "A subscription needs a name.",
    "KeepAliveInfo": NOTHING,
    "ShutdownInfo": CLOSED,
    "RemoveInfo": REFUSED + "A connection, session, consumer or producer is to be named.",
    "ControlCommand": ANSWERED,
    "FlushCommand": ANSWERED,
    "ConnectionError": ANSWERED,
    "ConsumerControl": REFUSED + "The consumer has not been opened here.",
    "ConnectionControl": ANSWERED,
    "ProducerAck": ONLY_BROKERS,
    "MessagePull": REFUSED + "The consumer has not been opened here.",
    "MessageDispatch": ONLY_BROKERS,
    "MessageAck": REFUSED + "The consumer has not been opened here.",
    "ActiveMQMessage": NEEDS_ID,
    "ActiveMQBytesMessage": NEEDS_ID,
    "ActiveMQMapMessage": NEEDS_ID,
    "ActiveMQObjectMessage": NEEDS_ID,
    "ActiveMQStreamMessage": NEEDS_ID,
    "ActiveMQTextMessage": NEEDS_ID,
    "ActiveMQBlobMessage": NEEDS_ID,
    "Response": ANSWERED,
    "ExceptionResponse": ANSWERED,
    "DataResponse": ANSWERED,
    "DataArrayResponse": ANSWERED,
    "IntegerResponse": ANSWERED,
    "ReplayCommand": ONLY_BROKERS,
    "MessageDispatchNotification": ONLY_BROKERS,
    "BrokerSubscriptionInfo": ONLY_BROKERS,
}
"""What becomes of a command that says nothing but its type; what has an id is the other tests' matter. All
other types are parts of commands."""


def names() -> list[str]:
    """The types that can be sent."""
    return [each.name for each in BY_CODE.values()]


def outcome(client: Client, command: DataStructure) -> str:
    """Sends something; returns what became of it."""
    if isinstance(command, BaseCommand):
        command.command_id, command.response_required = 77, True
    client.wire.send(command)
    client.read()
    client.broker.settle()
    errors = client.errors()
    answer = client.answer(77)
    if client.server.closing:
        text = answer.exception.message if isinstance(answer, ExceptionResponse) and answer.exception else ""
        return CLOSED + (text or "".join(errors))
    if isinstance(answer, ExceptionResponse):
        assert answer.exception is not None
        return REFUSED + (answer.exception.message or "")
    return ANSWERED if answer is not None else NOTHING


@pytest.mark.parametrize("name", names())
def test_every_type_has_a_decided_answer(name: str) -> None:
    """In the lowest and highest version that know it, with both encodings, it is the same."""
    expected = DECIDED.get(name, NO_COMMAND).format(name=name)
    lowest = max(BY_NAME[name].since, VERSION_MIN)
    for version in sorted({lowest, 9, 10, VERSION_MAX}):
        if version < lowest:
            continue
        for tight in (False, True):
            broker = Broker(tight_encoding=True)
            client = Client(broker, "c1", WireFormatOptions(version=version, tight_encoding_enabled=tight))
            other = Client(broker, "c2")
            assert outcome(client, getattr(commands, name)()) == expected, (version, tight)
            other.request(other.text("goes on"))


def test_the_table_names_types_that_exist() -> None:
    """Nothing in it is out of date."""
    assert not DECIDED.keys() - set(names())


@pytest.mark.parametrize("name", names())
def test_nothing_is_accepted_before_the_login(name: str) -> None:
    """Whatever comes first, a client that has not logged in is served nothing and is gone."""
    broker = Broker()
    client = Client(broker, login=False)
    got = outcome(client, getattr(commands, name)())
    if name in ("KeepAliveInfo", "ConnectionControl", "ConnectionError"):
        assert got in (NOTHING, ANSWERED)
    else:
        assert got.startswith(CLOSED)
    assert not broker.region.connections


# ---- what needs more than its type


def test_a_network_connector_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Another broker that wants to forward is told so, whether it waits for an answer or not."""
    client = Client(Broker())
    client.say(BrokerInfo(broker_name="other", network_connection=True))
    assert client.errors() == ["Network connectors of other brokers are not served here."]
    assert client.server.closing
    assert "'other'" in client.server.close_reason


def test_a_flush_waits_for_the_journal() -> None:
    """Its answer says that what was sent before is durable, although nobody waited for it."""
    client = Client(Broker())
    client.say(client.text("one way"))
    flush = client.say(FlushCommand(), answer=True)
    assert client.answer(flush) is None
    client.broker.settle()
    assert type(client.answer(flush)) is Response


@pytest.mark.parametrize("flags", [{"start": True}, {"stop": True}, {"flush": True}])
def test_of_a_consumers_control_the_prefetch_counts(flags: dict[str, bool]) -> None:
    """Its flags change nothing, as in ActiveMQ; with a prefetch of 0 nothing more is dispatched."""
    client = Client(Broker())
    client.request(client.consumer())
    client.request(ConsumerControl(consumer_id=ConsumerId("c1", 1, 1), prefetch=0, **flags))
    client.request(client.text("waits"))
    assert client.texts() == []
    client.request(ConsumerControl(consumer_id=ConsumerId("c1", 1, 1), prefetch=5, **flags))
    assert client.texts() == ["waits"]


def test_a_pull_may_be_tracked() -> None:
    """What a pull says beyond its consumer and time is not needed here."""
    client = Client(Broker())
    client.request(client.consumer(prefetch_size=0))
    client.request(client.text("pulled"))
    client.say(
        MessagePull(
            consumer_id=ConsumerId("c1", 1, 1),
            destination=QUEUE,
            timeout=-1,
            correlation_id="x",
            message_id=commands.MessageId("other"),
        )
    )
    assert client.texts() == ["pulled"]


@pytest.mark.parametrize("text", ["shutdown", "", None])
def test_control_commands_control_nothing(text: str | None) -> None:
    """No client can end the broker, or anything else, with a text."""
    client = Client(Broker())
    assert type(client.request(ControlCommand(command=text))) is Response
    client.request(client.text("goes on"))


def test_an_error_of_a_client_is_no_error_here() -> None:
    """It is noted."""
    client = Client(Broker())
    client.say(ConnectionError())
    assert client.told == []

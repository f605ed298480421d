"""Messages to commands and back; destinations, ids and errors on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import conversion
from broker.openwire.commands import (
    ActiveMQBlobMessage,
    ActiveMQBytesMessage,
    ActiveMQMapMessage,
    ActiveMQTextMessage,
    ActiveMQTopic,
    MessageId,
    ProducerId,
)
from broker.openwire.throwable import Throwable
from broker.primitive_map import decode_map, encode_map
from mqclient import errors
from mqclient.destination import Queue, Topic, parse_destination, split_options, to_command
from mqclient.errors import InvalidDestination, MessageFormatError
from mqclient.identity import message_id_text, new_connection_id
from mqclient.message import BytesMessage, MapMessage, Message, StreamMessage, TextMessage
from mqclient.message_codec import delay, from_command
from mqclient.message_codec import to_command as message_to_command
from mqclient.texts import describe, make_message

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
)


@given(st.text(st.characters(exclude_categories=())), st.booleans())
def test_any_text_survives(text: str, compress: bool) -> None:
    """Every text, also with halves of surrogate pairs and NUL, comes back as it was."""
    command = message_to_command(TextMessage(text), compress=compress)
    received = from_command(command, 0)
    assert isinstance(received, TextMessage)
    assert received.text == text


@given(st.dictionaries(st.text(max_size=20), VALUES), st.lists(VALUES), st.binary(), st.booleans())
def test_any_body_survives(
    entries: dict[str, object], values: list[object], data: bytes, compress: bool
) -> None:
    """Maps, streams and bytes come back as they were."""
    for message, attribute in (
        (MapMessage(entries), "entries"),
        (StreamMessage(values), "values"),
        (BytesMessage(data), "data"),
    ):
        received = from_command(message_to_command(message, compress=compress), 0)
        assert type(received) is type(message)
        assert getattr(received, attribute) == getattr(message, attribute)


@pytest.mark.parametrize(
    "command",
    [
        ActiveMQTextMessage(content=b"\0\0"),
        ActiveMQTextMessage(content=b"\0\0\0\x05abc"),
        ActiveMQTextMessage(content=b"\0\0\0\x01\xff"),
        ActiveMQTextMessage(content=b"no deflate", compressed=True),
        ActiveMQBytesMessage(content=b"", compressed=True),
        ActiveMQMapMessage(content=b"\0\0\0\x09"),
        ActiveMQTextMessage(marshalled_properties=b"\x7f\xff\xff\xff"),
    ],
)
def test_damaged_messages_are_refused(command: ActiveMQTextMessage) -> None:
    """A body or property map that cannot be read is one kind of error."""
    with pytest.raises(MessageFormatError):
        from_command(command, 0)


@given(st.binary(max_size=200), st.booleans())
def test_any_content_is_read_or_refused(content: bytes, compressed: bool) -> None:
    """No bytes make reading fail otherwise."""
    for kind in (ActiveMQTextMessage, ActiveMQMapMessage, ActiveMQBytesMessage):
        try:
            from_command(kind(content=content, compressed=compressed), 0)
        except MessageFormatError:
            continue


def test_an_inflated_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small message that inflates to a huge one is refused."""
    command = message_to_command(BytesMessage(bytes(10_000)), compress=True)
    monkeypatch.setattr(conversion, "INFLATED_BYTES_MAX", 9_999)
    with pytest.raises(MessageFormatError, match="larger than 9999"):
        from_command(command, 0)


def test_a_null_text_and_unknown_bodies() -> None:
    """A text may be null; a kind we cannot open is a message without a body."""
    assert isinstance(from_command(ActiveMQBlobMessage(remote_blob_url="http://x"), 0), Message)
    received = from_command(ActiveMQTextMessage(content=b"\xff\xff\xff\xff"), 0)
    assert isinstance(received, TextMessage)
    assert received.text is None


@pytest.mark.parametrize("value", [b"x", [1], {"a": 1}, object()])
def test_properties_hold_simple_values(value: object) -> None:
    """As in JMS, a property is a number, a text or a truth value."""
    message = TextMessage("x")
    message.properties = {"p": value}
    with pytest.raises(MessageFormatError, match="property p"):
        message_to_command(message)


def test_numbers_that_fit_nowhere_are_refused() -> None:
    """An integer beyond 64 bits cannot be sent."""
    with pytest.raises(MessageFormatError):
        message_to_command(MapMessage({"a": 2**63}))


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("queue://a.b", Queue("a.b")),
        ("topic://a", Topic("a")),
        ("a", Queue("a")),
        ("queue:a", Queue("queue:a")),
    ],
)
def test_destinations_from_text(text: str, destination: object) -> None:
    """A name without a prefix is a queue."""
    assert parse_destination(text) == destination


@pytest.mark.parametrize(
    "text", ["", " ", "queue://", "ftp://a", "a\nb", "x" * 1025, "a?consumer.nonsense=1"]
)
def test_bad_destinations_are_refused(text: str) -> None:
    """A name must be printable, not empty and not endless."""
    with pytest.raises(InvalidDestination):
        parse_destination(text)


def test_options_in_a_name_are_the_consumers() -> None:
    """They are taken off before the name is sent."""
    destination = Topic("a.>?consumer.prefetchSize=1&consumer.exclusive=true&consumer.priority=-1")
    assert to_command(destination) == ActiveMQTopic(physical_name="a.>")
    _, options = split_options(destination)
    assert (options.prefetch_size, options.exclusive, options.priority) == (1, True, -1)
    with pytest.raises(InvalidDestination, match="no value"):
        split_options(Queue("a?consumer.prefetchSize=-1"))


def test_message_ids_look_like_apaches() -> None:
    """The id is the producer's with the message's number, unless a foreign provider gave another."""
    producer_id = ProducerId(connection_id="ID:h-1-2-0:3", session_id=4, value=5)
    message_id = MessageId(producer_id=producer_id, producer_sequence_id=6)
    assert message_id_text(message_id) == "ID:h-1-2-0:3:4:5:6"
    assert message_id_text(MessageId(text_view="foreign")) == "foreign"
    assert new_connection_id() != new_connection_id()


@pytest.mark.parametrize(
    ("class_name", "kind"),
    [
        ("java.lang.SecurityException", errors.NotAuthorized),
        ("javax.jms.JMSSecurityException", errors.NotAuthorized),
        ("javax.jms.InvalidClientIDException", errors.InvalidClientId),
        ("javax.jms.InvalidDestinationException", errors.InvalidDestination),
        ("javax.jms.InvalidSelectorException", errors.InvalidSelector),
        ("javax.jms.ResourceAllocationException", errors.ResourceExhausted),
        ("javax.jms.TransactionRolledBackException", errors.TransactionRolledBack),
        ("java.lang.Runtime", errors.BrokerRefused),
        (None, errors.BrokerRefused),
    ],
)
def test_java_exceptions_become_errors(class_name: str | None, kind: type[errors.ClientError]) -> None:
    """The class is compared as text; nothing is made from what the broker says."""
    assert type(errors.from_throwable(Throwable(class_name, "why"))) is kind
    assert type(errors.from_throwable(None)) is errors.BrokerRefused


def test_what_the_producer_writes() -> None:
    """Bytes, filler text, or a counting text."""
    assert describe(make_message(3, size=0, text_size=None)) == "test message: 3"
    filler = describe(make_message(3, size=0, text_size="10K"))
    assert filler.startswith("3::Lorem ipsum")
    assert len(filler) == len("3::") + 10_240
    message = make_message(3, size=5, text_size="1K")
    assert isinstance(message, BytesMessage)
    assert message.data == b"....."
    assert describe(message) == "a message"


def test_a_delayed_message_tells_its_time_and_keeps_its_properties() -> None:
    """The program does not see how; the name of an earlier schedule does not hinder a new one."""
    message = TextMessage("x")
    message.properties = {"colour": "red", "scheduledJobId": "ID:x:1"}
    command = message_to_command(message)
    delay(command, 300, 1_300)
    assert decode_map(command.marshalled_properties or b"") == {
        "colour": "red",
        "AMQ_SCHEDULED_DELAY": 300,
        "JMS_FABRIC_DeliveryTime": 1_300,
    }
    received = from_command(command, 0)
    assert (received.delivery_time, received.properties) == (
        1_300,
        {"colour": "red", "AMQ_SCHEDULED_DELAY": 300},
    )
    command.timestamp = 7
    command.marshalled_properties = encode_map({"JMS_FABRIC_DeliveryTime": "soon"})
    assert from_command(command, 0).delivery_time == 7

"""What selectors see of a message."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from broker.destination import Destination
from broker.message import Message
from broker.primitive_map import Byte, encode_map
from broker.properties import matches_of, properties_of, values_of
from broker.region.entry import Entry
from broker.selector import Selector

QUEUE = Destination.queue("orders")


def a_message(**fields: Any) -> Message:
    """A message with nothing but these fields."""
    return Message("ID:c:1:1:1:1", QUEUE, **fields)


def a_full_message() -> Message:
    """A message that has everything."""
    return a_message(
        persistent=False,
        priority=7,
        expiration=2000,
        timestamp=1000,
        correlation_id="job 7",
        reply_to=Destination.topic("answers"),
        type="order",
        group_id="customer 1",
        group_sequence=3,
        user_id="alice",
        properties=encode_map({"colour": "red", "size": Byte(5), "JMSType": "forged"}),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JMSDestination", "queue://orders"),
        ("JMSReplyTo", "topic://answers"),
        ("JMSType", "order"),
        ("JMSDeliveryMode", "NON_PERSISTENT"),
        ("JMSPriority", 7),
        ("JMSMessageID", "ID:c:1:1:1:1"),
        ("JMSTimestamp", 1000),
        ("JMSCorrelationID", "job 7"),
        ("JMSExpiration", 2000),
        ("JMSRedelivered", False),
        ("JMSXDeliveryCount", 1),
        ("JMSXGroupID", "customer 1"),
        ("JMSXGroupSeq", 3),
        ("JMSXUserID", "alice"),
        ("colour", "red"),
        ("size", 5),
        ("weight", None),
    ],
)
def test_each_header_and_property_is_found_by_its_name(name: str, value: object) -> None:
    """Every header and JMSX property has its name; a property cannot take a header's place."""
    assert values_of(a_full_message())(name) == value


@pytest.mark.parametrize(
    "name",
    ["JMSReplyTo", "JMSType", "JMSCorrelationID", "JMSXGroupID", "JMSXGroupSeq", "JMSXUserID", "colour"],
)
def test_what_a_message_lacks_is_unknown(name: str) -> None:
    """A header or property that the message does not have is None."""
    assert values_of(a_message())(name) is None


def test_a_redelivered_message_says_so() -> None:
    """The entry's counter decides JMSRedelivered and JMSXDeliveryCount."""
    entry = Entry(1, None, 0, True)
    entry.redelivery_counter = 2
    values = values_of(a_message(), entry)

    assert values("JMSRedelivered") is True
    assert values("JMSXDeliveryCount") == 3


def test_properties_are_decoded_once_and_kept() -> None:
    """The second look at the properties costs no decoding."""
    message = a_full_message()

    assert properties_of(message) is properties_of(message)


def test_damaged_properties_are_none_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A message whose properties cannot be read has none; the log names the message, once."""
    message = a_message(properties=b"\0\0\0\1nonsense")

    with caplog.at_level(logging.WARNING):
        assert values_of(message)("colour") is None
        assert values_of(message)("size") is None
    assert [record.args[0] for record in caplog.records if record.args] == [message.message_id]


@pytest.mark.parametrize(
    ("selector", "selected"),
    [("colour = 'red'", True), ("colour = 'blue'", False), ("colour = 'red' AND JMSPriority > 6", True)],
)
def test_a_selector_decides_with_and_without_headers(selector: str, selected: bool) -> None:
    """Both ways of evaluation, of properties alone and with headers, give the selector's answer."""
    assert matches_of(Selector(selector))(a_full_message(), None) is selected

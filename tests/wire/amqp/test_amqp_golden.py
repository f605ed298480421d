"""Bytes that others have written, read; and what we write.

Provenance: Qpid Proton 0.40's Python client and rhea 3.0 wrote the messages, Proton the login; the compound
values of rhea have four bytes for every size, Proton's one, where it is enough.
"""

from __future__ import annotations

import pytest

from broker.amqp.handshake import Handshake, LoginAsked
from broker.amqp.inbound import take
from broker.amqp.outbound import outgoing
from broker.conversion import text_body
from broker.destination import Destination
from broker.message import BodyKind, Message
from broker.properties import properties_of

MESSAGES = {
    "proton": b"\0Sp\xc0\t\x03AP\x07p\0\0\x13\x88\0Ss\xc0\x05\x01\xa1\x02m1"
    b"\0St\xd1\0\0\0\t\0\0\0\x02\xa1\x01aU\x01\0Sw\xa1\x05hello",
    "rhea": bytes.fromhex(
        "005370d00000000c000000034150077000001388005373d00000000b0000000453054040a10173"
        "005374d10000000f00000004a101615201a10174a10178005377a10568656c6c6f"
    ),
}
"""Durable, of priority 7, with a time to live of 5 s."""

LOGIN = (
    b"AMQP\x03\x01\x00\x00"
    b"\0\0\0#\x02\x01\0\0\0SA\xc0\x16\x02\xa3\x05PLAIN\xa0\x0c\0admin\0admin"
    b"AMQP\x00\x01\x00\x00"
)
MECHANISMS = (
    b"AMQP\x03\x01\x00\x00\0\0\0!\x02\x01\0\0\0S@\xc0\x14\x01\xf0\0\0\0\x0e\0\0\0\x01\xb3\0\0\0\x05PLAIN"
)
OUTCOME = b"\0\0\0\x10\x02\x01\0\0\0SD\xc0\x03\x01P\0"


@pytest.mark.parametrize("client", MESSAGES)
def test_a_message(client: str) -> None:
    """What it says, whichever width its values have."""
    message = take(MESSAGES[client], Destination.queue("q"), 1_000, lambda: "own")
    assert (message.persistent, message.priority, message.expiration) == (True, 7, 6_000)
    assert (message.body_kind, message.body) == (BodyKind.TEXT, text_body("hello"))
    assert message.message_id == {"proton": "m1", "rhea": "AMQP_ULONG:5"}[client]
    assert message.type == {"proton": None, "rhea": "s"}[client]
    assert properties_of(message)["a"] == 1


@pytest.mark.parametrize("client", MESSAGES)
def test_it_goes_out_as_it_came(client: str) -> None:
    """But for the header, which says what is left of its time, and how often it was delivered."""
    content = MESSAGES[client]
    message = take(content, Destination.queue("q"), 1_000, lambda: "own")
    sent, at = outgoing(message, 1, 2_000)
    header = b"\0Sp\xc0\x0c\x05AP\x07p\0\0\x0f\xa0@R\x01"
    assert sent[at:] == header + content[content.index(b"\0Ss") :]


def test_a_message_of_another_protocol() -> None:
    """Every section that JMS has something for."""
    message = Message(
        "ID:h-1:1:1:1", Destination.queue("q"), body_kind=BodyKind.TEXT, body=text_body("hi"), timestamp=1_000
    )
    assert outgoing(message, 0, 0)[0] == (
        b"\0Sp\xc0\x02\x01A"
        b"\0Sr\xc1)\x04\xa3\x12x-opt-jms-msg-typeQ\x05\xa3\x0ex-opt-jms-destQ\0"
        b"\0Ss\xc0*\x0a\xa1\x0cID:h-1:1:1:1@\xa1\x09queue://q@@@@@@\x83\0\0\0\0\0\0\x03\xe8"
        b"\0Sw\xa1\x02hi"
    )


def test_a_login() -> None:
    """Both directions, and at every split."""
    for cut in range(len(LOGIN) + 1):
        handshake = Handshake(["PLAIN"])
        events = handshake.receive_data(LOGIN[:cut]) + handshake.receive_data(LOGIN[cut:])
        assert events == [LoginAsked("PLAIN", "admin", "admin")]
        handshake.accept()
        assert handshake.data_to_send() == MECHANISMS + OUTCOME
        assert handshake.is_done
        assert handshake.rest() == b"AMQP\x00\x01\x00\x00"

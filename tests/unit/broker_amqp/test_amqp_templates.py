"""Messages that differ only in their body from the one before on their link."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proton import Message, symbol

from broker.amqp.inbound import Template, take, take_parsed, template_of
from broker.destination import Destination

QUEUE = Destination.queue("q")
NOW_MS = 1_000_000


def encoded(body: object = b"first", **fields: object) -> bytes:
    """A message as it comes."""
    if isinstance(body, bytes):
        fields["inferred"] = True
    return bytes(Message(body, durable=True, **fields).encode())


def template_from(content: bytes) -> Template | None:
    """What is remembered of a message."""
    return template_of(*take_parsed(content, QUEUE, NOW_MS, lambda: "made-up:0"))


@given(st.binary(max_size=600), st.booleans(), st.integers(0, 9), st.dictionaries(st.text("ab"), st.text()))
def test_a_message_that_is_alike_is_taken_as_if_it_were_the_first(
    body: bytes, durable: bool, priority: int, application: dict[str, str]
) -> None:
    """Whether the template is used shows in nothing."""
    fields = {"durable": durable, "priority": priority, "properties": application or None, "inferred": True}
    first, second = (bytes(Message(each, **fields).encode()) for each in (b"first", body))
    template = template_from(first)
    assert template is not None
    whole = take(second, QUEUE, NOW_MS, lambda: "made-up:1")
    like = template.take(second, NOW_MS, lambda: "made-up:1")
    if len(body) < 256:
        assert like == whole
        assert (like.wire, like.native, like.properties) == (whole.wire, whole.native, whole.properties)
    else:
        assert like is None, "its length takes four bytes"
        longer = template_from(second)
        assert longer is not None
        assert longer.take(second, NOW_MS, lambda: "made-up:1") == whole


@pytest.mark.parametrize(
    "content",
    [
        encoded(priority=7),
        encoded("text"),
        encoded(id="m1"),
        encoded(ttl=5),
        encoded(annotations={symbol("x-opt-delivery-delay"): 5}),
        encoded(properties={"a": 1}),
        encoded() + encoded()[-10:],
        encoded()[:-1],
        encoded() + b"\0",
        encoded()[:-6],
        b"",
    ],
)
def test_what_differs_in_more_than_the_body_is_read_anew(content: bytes) -> None:
    """A template never guesses."""
    template = template_from(encoded())
    assert template is not None
    assert template.take(content, NOW_MS, lambda: "made-up:1") is None


@pytest.mark.parametrize(
    "content",
    [
        encoded("text"),
        encoded(id="m1"),
        encoded(ttl=5),
        encoded(annotations={symbol("x-opt-delivery-delay"): 5}),
        encoded() + encoded()[-10:],
    ],
)
def test_what_is_new_in_each_message_is_not_remembered(content: bytes) -> None:
    """Ids, times and several bodies are read every time."""
    assert template_from(content) is None

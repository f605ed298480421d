"""What management shows of messages."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict

import pytest
from support.management import all_messages, finished, managed, send_text
from support.region import QUEUE, TOPIC, Peer, new_region, restarted, settle

from broker.destination import Destination
from broker.management.browsing import LOOKED_AT_MAX
from broker.management.errors import NotFound, RequestMalformed, SelectorInvalid
from broker.management.preview import preview
from broker.management.requests import BrowseRequest, SelectRequest
from broker.message import BodyKind, Message
from broker.primitive_map import Long, encode_map, encode_stream
from broker.region.limits import RegionLimits


def test_headers_properties_and_the_beginning_of_the_body() -> None:
    """All that JMS knows of a message, as JSON."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region)
    send_text(peer, 1, "Grüße, Welt", properties={"color": "red", "size": Long(7), "odd": float("nan")})
    settle(region)
    (info,) = all_messages(operator, preview=5)
    assert (info.id, info.destination, info.persistent) == ("ID:test-1:1:1:1", QUEUE.uri, True)
    assert (info.body_kind, info.preview, info.cut, info.size) == ("text", "Grüße", True, 17)
    assert info.properties == {"color": "red", "size": 7, "odd": "nan"}
    assert (info.state, info.deliveries, info.original_destination) == ("waiting", 0, "")
    json.loads(json.dumps(asdict(info), allow_nan=False))


def test_what_consumers_have_is_shown_too() -> None:
    """In its place, marked; deliveries count."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region)
    for number in range(4):
        peer.send(f"m{number}")
    peer.consume(prefetch_size=2)
    settle(region)
    assert [(each.id, each.state) for each in all_messages(operator)] == [
        ("m0", "in flight"),
        ("m1", "in flight"),
        ("m2", "waiting"),
        ("m3", "waiting"),
    ]
    peer.connection.remove_consumer("k")
    assert [each.deliveries for each in all_messages(operator)] == [1, 1, 0, 0]


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
def test_pages_of_a_long_queue(limit: int) -> None:
    """Everything once and in order, also what is only in the journal."""
    limits = RegionLimits(resident_messages_max=3)
    region = new_region(limits=limits)
    peer = Peer(region)
    names = [f"m{number:02}" for number in range(30)]
    for name in names:
        peer.send(name)
    settle(region)
    region = restarted(region, limits=limits)
    Peer(region).consume(prefetch_size=4)
    settle(region)
    _, operator = managed(region)
    assert [each.id for each in all_messages(operator, limit=limit)] == names


def test_a_long_queue_of_several_priorities_is_shown_whole() -> None:
    """What lies behind the part of the index that one look finds is not the end."""
    region = new_region(policies={"policy.queue.>.prioritizedMessages": "true"})
    _, operator = managed(region)
    peer = Peer(region)
    names = [f"m{number:04}" for number in range(1_500)]
    for number, name in enumerate(names):
        peer.send(name, priority=9 if number % 7 == 0 else 4)
    settle(region)
    for name in names[10:700]:  # chunks of the index with little in them
        finished(region, operator.purge(SelectRequest(QUEUE.name, refs=[names.index(name) + 1])))
    assert [each.id for each in all_messages(operator)] == names[:10] + names[700:]


def test_a_selector_that_matches_little_does_not_hold_the_broker_up() -> None:
    """One request looks at so many messages; the page says where to go on."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region)
    count = LOOKED_AT_MAX + 10
    for number in range(count):
        peer.send(f"m{number}", type="wanted" if number == count - 1 else None)
    settle(region)
    page = operator.browse(BrowseRequest(queue=QUEUE.name, selector="JMSType = 'wanted'"))
    assert page.items == []
    assert page.next
    page = operator.browse(BrowseRequest(queue=QUEUE.name, selector="JMSType = 'wanted'", after=page.next))
    assert [each.id for each in page.items] == [f"m{count - 1}"]
    assert page.next == ""


def test_a_durable_subscription_is_browsed() -> None:
    """Active or not."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region, client_id="me")
    peer.consume("d", TOPIC, subscription_name="s", prefetch_size=1)
    other = Peer(region, "c2")
    other.send("m0", TOPIC)
    other.send("m1", TOPIC)
    settle(region)
    page = operator.browse(BrowseRequest(client_id="me", subscription="s"))
    assert [(each.id, each.state) for each in page.items] == [("m0", "in flight"), ("m1", "waiting")]
    peer.connection.close()
    page = operator.browse(BrowseRequest(client_id="me", subscription="s"))
    assert [each.state for each in page.items] == ["waiting", "waiting"]
    with pytest.raises(NotFound, match="no durable subscription t"):
        operator.browse(BrowseRequest(client_id="me", subscription="t"))


def test_what_is_not_durable_is_not_shown() -> None:
    """A successor might not have it."""
    region = new_region()
    _, operator = managed(region)
    Peer(region).send("m")
    assert all_messages(operator) == []


def test_bad_requests() -> None:
    """Each is refused with what is wrong."""
    region = new_region()
    _, operator = managed(region)
    Peer(region).send("m")
    with pytest.raises(NotFound, match="no queue nowhere"):
        operator.browse(BrowseRequest(queue="nowhere"))
    with pytest.raises(SelectorInvalid, match="5"):
        operator.browse(BrowseRequest(queue=QUEUE.name, selector="a = = 1"))
    with pytest.raises(RequestMalformed, match="'preview'"):
        operator.browse(BrowseRequest(queue=QUEUE.name, preview=65537))
    with pytest.raises(RequestMalformed, match="'after'"):
        operator.browse(BrowseRequest(queue=QUEUE.name, after="x"))
    with pytest.raises(RequestMalformed, match="queue is needed"):
        operator.browse(BrowseRequest(queue="topic://prices"))
    with pytest.raises(RequestMalformed, match="not several"):
        operator.browse(BrowseRequest(queue="a,b"))


def text(value: str) -> bytes:
    """The body of a text message."""
    data = value.encode()
    return len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize(
    ("kind", "body", "compressed", "characters", "expected"),
    [
        (BodyKind.NONE, None, False, 10, ("", False)),
        (BodyKind.TEXT, None, False, 10, ("", False)),
        (BodyKind.TEXT, text("abc"), False, 3, ("abc", False)),
        (BodyKind.TEXT, text("äöü" * 9), False, 2, ("äö", True)),
        (BodyKind.TEXT, text("abc"), False, 0, ("", True)),
        (BodyKind.TEXT, zlib.compress(text("abc")), True, 9, ("abc", False)),
        (
            BodyKind.TEXT,
            b"\0\0",
            False,
            9,
            ("(damaged", True),
        ),
        (BodyKind.TEXT, b"no zlib", True, 9, ("(damaged:", True)),
        (BodyKind.BYTES, b"plain", False, 9, ("plain", False)),
        (BodyKind.BYTES, b"\x00\xff\x10", False, 9, ("00ff10", False)),
        (BodyKind.BYTES, b"\x00\xff\x10\x11", False, 6, ("00ff10", True)),
        (BodyKind.BYTES, b"\0\0\0\3" + zlib.compress(b"abc"), True, 9, ("abc", False)),
        (BodyKind.MAP, encode_map({"a": 1, "b": "x"}), False, 99, ("a=1, b=x", False)),
        (BodyKind.MAP, encode_map({"a": 1, "b": "x"}), False, 3, ("a=1", True)),
        (BodyKind.STREAM, encode_stream([1, "x"]), False, 99, ("1, x", False)),
        (BodyKind.MAP, b"\xff\xff", False, 99, ("(damaged", True)),
        (BodyKind.OBJECT, b"java", False, 99, ("(4 bytes)", True)),
    ],
)
def test_previews(
    kind: BodyKind, body: bytes | None, compressed: bool, characters: int, expected: tuple[str, bool]
) -> None:
    """Of every kind of body, damaged ones too."""
    message = Message("m", Destination.queue("q"), body_kind=kind, body=body, compressed=compressed)
    shown, cut = preview(message, characters)
    if expected[0].startswith("(damaged"):
        assert shown.startswith("(damaged"[:characters])
    else:
        assert shown == expected[0]
    assert cut == expected[1]


def test_a_bomb_is_not_inflated() -> None:
    """A small body that would be a huge one costs a bounded amount."""
    bomb = zlib.compress(b"\0" * (64 * 1024 * 1024))
    message = Message("m", Destination.queue("q"), body_kind=BodyKind.BYTES, compressed=True)
    message.body = (64 * 1024 * 1024).to_bytes(4, "big") + bomb
    shown, cut = preview(message, 10)
    assert (shown, cut) == ("0000000000", True)

"""What honest clients of each protocol say, as bytes: where fuzzing and the tests of split streams begin.

A stream is a head, with which the client logs in, and a tail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from support import amqp_frames as amqp
from support import mqtt_peer as mqtt

from broker.openwire import commands as ow
from broker.openwire.codec import Codec
from broker.openwire.constants import TransactionType
from broker.openwire.wireformat import WireFormatOptions
from broker.primitive_map import encode_map, encode_stream


@dataclass(frozen=True, slots=True)
class Stream:
    """What one client says.

    Attributes:
        name: for messages of tests.
        head: until it has logged in.
        tail: afterwards.
        properties: of the broker that understands it.
    """

    name: str
    head: bytes
    tail: bytes
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """All of it."""
        return self.head + self.tail


# ---- OpenWire

_ACTIVE = {"openwire-wireFormat.tightEncodingEnabled": "true", "openwire-wireFormat.cacheEnabled": "true"}


def _openwire_commands() -> list[ow.DataStructure]:
    """Sessions, consumers, producers, messages of every kind, a transaction, acknowledgements, the end."""
    connection, session = ow.ConnectionId("c"), ow.SessionId("c", 1)
    consumer, producer = ow.ConsumerId("c", 1, 1), ow.ProducerId("c", 1, 1)
    queue, topic, temporary = ow.ActiveMQQueue("q"), ow.ActiveMQTopic("t.x"), ow.ActiveMQTempQueue("c:1")
    transaction = ow.LocalTransactionId(1, connection)
    properties = encode_map({"text": "ü", "number": 7, "flag": True, "AMQ_SCHEDULED_DELAY": 5})
    bodies: list[tuple[type[ow.Message], bytes | None]] = [
        (ow.ActiveMQMessage, None),
        (ow.ActiveMQTextMessage, b"\0\0\0\4text"),
        (ow.ActiveMQBytesMessage, b"bytes"),
        (ow.ActiveMQMapMessage, encode_map({"a": [1, "b"]})),
        (ow.ActiveMQStreamMessage, encode_stream([1, "two", 3.0])),
        (ow.ActiveMQObjectMessage, b"\xac\xed\0\5"),
    ]

    def message(number: int, kind: type[ow.Message], content: bytes | None) -> ow.Message:
        return kind(
            command_id=100 + number,
            response_required=number % 2 == 0,
            producer_id=producer,
            destination=topic if number % 3 == 0 else queue,
            message_id=ow.MessageId(None, producer, number),
            transaction_id=transaction if number == 4 else None,
            persistent=number % 2 == 0,
            priority=number,
            correlation_id="correlation" if number == 2 else None,
            reply_to=temporary if number == 2 else None,
            group_id="group" if number == 3 else None,
            content=content,
            marshalled_properties=properties if number == 1 else None,
        )

    return [
        ow.SessionInfo(2, True, session),
        ow.DestinationInfo(3, True, connection, temporary),
        ow.ConsumerInfo(
            4, True, consumer, destination=queue, prefetch_size=10, selector="number > 5 OR a IS NULL"
        ),
        ow.ConsumerInfo(
            5, True, ow.ConsumerId("c", 1, 2), destination=topic, prefetch_size=0, subscription_name="s"
        ),
        ow.ProducerInfo(6, True, producer, window_size=1_000),
        ow.TransactionInfo(7, True, connection, transaction, TransactionType.BEGIN),
        *(message(number, *body) for number, body in enumerate(bodies, 1)),
        ow.TransactionInfo(8, True, connection, transaction, TransactionType.COMMIT_ONE_PHASE),
        ow.MessageAck(
            9,
            True,
            destination=queue,
            consumer_id=consumer,
            ack_type=2,
            last_message_id=ow.MessageId(None, producer, 1, 1),
            message_count=1,
        ),
        ow.MessagePull(10, True, ow.ConsumerId("c", 1, 2), topic, 5),
        ow.ConsumerControl(11, True, consumer_id=consumer, prefetch=3),
        ow.KeepAliveInfo(12),  # one that asks is answered before the commands that came with it
        ow.RemoveInfo(13, True, consumer),
        ow.RemoveInfo(14, True, producer),
        ow.RemoveSubscriptionInfo(15, True, connection, "s", "client"),
        ow.ShutdownInfo(16, True),
    ]


def _openwire(version: int, *, tight: bool = False, cache: bool = False) -> Stream:
    options = WireFormatOptions(version=version, tight_encoding_enabled=tight, cache_enabled=cache)
    codec = Codec(version, tight, cache)
    login = ow.ConnectionInfo(1, True, ow.ConnectionId("c"), "client", "admin", "admin", manageable=True)
    head = Codec().encode(options.to_info()) + codec.encode(login)
    tail = b"".join(codec.encode(each) for each in _openwire_commands())
    name = f"version {version}{', tight' * tight}{', cached' * cache}"
    return Stream(name, head, tail, _ACTIVE if tight or cache else {})


def _openwire_streams() -> list[Stream]:
    return [
        _openwire(12),
        _openwire(12, tight=True, cache=True),
        _openwire(9),
        _openwire(10, tight=True),
        _openwire(5, cache=True),
    ]


# ---- AMQP 1.0


def _amqp_links() -> bytes:
    """Senders and receivers of every kind, and what they say."""
    text, details = amqp.message("text", colour="red", n=7), amqp.message({"a": [1, b"b"]}, durable=False)
    nowhere = amqp.target(None)
    return b"".join(
        (
            amqp.attach(0, amqp.SENDER, amqp.source("q"), amqp.target("queue://q")),
            amqp.transfer(0, 0, text),
            amqp.transfer(0, 1, details[:20], more=True),
            amqp.transfer(0, 1, details[20:]),
            amqp.transfer(0, 2, b"no message"),
            amqp.transfer(0, 3, text, settled=True),
            amqp.attach(1, amqp.RECEIVER, amqp.source("q", filter=amqp.selector("n > 5")), nowhere),
            amqp.flow(1, 10),
            amqp.accepted(0, 0),
            amqp.attach(2, amqp.RECEIVER, amqp.source(None, dynamic=True), nowhere),
            amqp.attach(3, amqp.RECEIVER, amqp.source("topic://t", durable=amqp.UInt(2)), nowhere, name="s"),
            amqp.attach(4, amqp.RECEIVER, amqp.source("q", mode=amqp.Symbol("copy")), nowhere, settled=True),
            amqp.flow(4, 5, drain=True),
            amqp.attach(5, amqp.RECEIVER, amqp.source("q", filter=amqp.selector("n >")), nowhere),
            amqp.detach(3, closed=False),
            amqp.detach(1),
        )
    )


def _amqp_transaction() -> bytes:
    """One that is committed, and one that there is not."""
    state = amqp.Described(amqp.ULong(0x34), [bytes(7) + b"\1"])
    return b"".join(
        (
            amqp.attach(0, amqp.SENDER, amqp.source(None), amqp.coordinator()),
            amqp.transfer(0, 0, amqp.command(0x31)),
            amqp.attach(1, amqp.SENDER, amqp.source("q"), amqp.target(None)),
            amqp.transfer(1, 1, amqp.message("nowhere"), state=state),
            amqp.attach(2, amqp.SENDER, amqp.source("q"), amqp.target("q")),
            amqp.transfer(2, 2, amqp.message("within"), state=state),
            amqp.transfer(0, 3, amqp.command(0x32, bytes(7) + b"\1", False)),
            amqp.transfer(0, 4, amqp.command(0x32, b"other", True)),
        )
    )


def _amqp_streams() -> list[Stream]:
    login = amqp.plain_login() + amqp.opened()
    end = amqp.frame(amqp.END) + amqp.frame(amqp.CLOSE)
    return [
        Stream("links", login, _amqp_links() + end),
        Stream("transactions", login, _amqp_transaction() + end),
        Stream("left open", login, _amqp_links()),
    ]


# ---- STOMP


def _stomp(command: str, body: str = "", **headers: str) -> bytes:
    """A frame; names of headers are written with `_` for `-`."""
    lines = "".join(f"{name.replace('_', '-')}:{value}\n" for name, value in headers.items())
    return f"{command}\n{lines}\n{body}\0\n".encode()


def _stomp_stream(version: str) -> Stream:
    login = {"login": "admin", "passcode": "admin", "client-id": "c", "heart-beat": "0,0"}
    if version != "1.0":
        login |= {"accept-version": version, "host": "h"}
    ids = [{"id": str(number)} for number in range(4)]
    extensions = {"activemq.prefetchSize": "1", "activemq.subscriptionName": "s"}
    ack = {"id": "unknown"} if version == "1.2" else {"message-id": "unknown", "subscription": "0"}
    tail = (
        _stomp("SUBSCRIBE", destination="/queue/q", ack="client", selector="n > 5 OR n IS NULL", **ids[0]),
        _stomp("SUBSCRIBE", destination="/topic/t.>", receipt="r1", **extensions, **ids[1]),
        _stomp("SUBSCRIBE", destination="/temp-queue/answers", ack="client-individual", **ids[2]),
        _stomp("SEND", "text ü", destination="/queue/q", persistent="true", receipt="r2", n="7"),
        _stomp("SEND", "a\0b", destination="/queue/q", content_length="3", priority="9", expires="99999"),
        _stomp("SEND", "x", destination="/topic/t.a", reply_to="/temp-queue/answers", JMSXGroupID="g"),
        _stomp("SEND", "later", destination="/queue/q", AMQ_SCHEDULED_DELAY="100"),
        _stomp("BEGIN", transaction="x1"),
        _stomp("SEND", "within", destination="/queue/q", transaction="x1"),
        _stomp("COMMIT", transaction="x1", receipt="r3"),
        _stomp("BEGIN", transaction="x2"),
        _stomp("ABORT", transaction="x2"),
        b"\n\n",
        b"" if version == "1.0" else _stomp("SUBSCRIBE", destination="/queue/q", browser="true", **ids[3]),
        _stomp("UNSUBSCRIBE", **ids[2]),
        _stomp("DISCONNECT", receipt="bye"),
    )
    wrong = _stomp("NACK" if version != "1.0" else "ACK", **ack)
    head = _stomp("CONNECT" if version != "1.1" else "STOMP", **login)
    return Stream(f"version {version}", head, b"".join(tail[:-1]) + tail[-1] + wrong)


def _stomp_streams() -> list[Stream]:
    return [_stomp_stream(version) for version in ("1.0", "1.1", "1.2")]


# ---- MQTT

_LONG_TEXT = "x" * 200


def _mqtt_stream(version: int) -> Stream:
    new = version == 5
    will = ("w", b"gone", 1, False)
    login = mqtt.connect("c", version=version, clean=False, will=will, user="admin", password=b"admin")
    values = [(0x01, 1), (0x02, 60), (0x03, "text/plain"), (0x08, "a/b"), (0x09, b"c"), (0x26, ("k", "v"))]
    tail = (
        mqtt.subscribe(1, [("t/#", 2), ("+/x", 1), ("$SYS/#", 0)], version=version),
        mqtt.publish("t/a", b"0", version=version),
        mqtt.publish("t/a", b"1", 1, 2, version=version, **({"values": values} if new else {})),
        mqtt.publish("t/b", _LONG_TEXT.encode(), 2, 3, retain=True, version=version),
        mqtt.ack(mqtt.PUBREL, 3),
        mqtt.publish("t/b", b"", 0, retain=True, version=version),
        mqtt.pingreq(),
        mqtt.unsubscribe(4, ["+/x"], version=version),
        *(
            (
                mqtt.subscribe(5, [("$share/g/s", 1)], version=5, values=[(0x0B, 7)]),
                mqtt.publish("alias", b"", 0, version=5, values=[(0x23, 1)]),
                mqtt.publish("", b"again", 0, version=5, values=[(0x23, 1)]),
            )
            if new
            else ()
        ),
        mqtt.disconnect(0, [(0x11, 0)]) if new else mqtt.disconnect(),
    )
    return Stream(f"version {version}", login, b"".join(tail))


def _mqtt_streams() -> list[Stream]:
    return [_mqtt_stream(version) for version in (3, 4, 5)]


# ---- WebSocket, and the recognition of protocols


def _web_frame(payload: bytes, opcode: int = 2) -> bytes:
    """A client's frame; its mask is always the same."""
    mask = b"\1\2\3\4"
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes((0x80 | opcode,)) + size + mask + masked


def _web_stream(sub_protocol: str, inner: Stream) -> Stream:
    """A stream within frames, one of which ends in the middle of what the protocol says."""
    request = (
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {sub_protocol}\r\n\r\n"
    )
    half = len(inner.tail) // 2
    tail = _web_frame(inner.tail[:half]) + _web_frame(b"ping", 9) + _web_frame(inner.tail[half:])
    return Stream(f"{sub_protocol}, {inner.name}", request.encode() + _web_frame(inner.head), tail)


def _web_streams() -> list[Stream]:
    return [_web_stream("v12.stomp", _stomp_stream("1.2")), _web_stream("mqtt", _mqtt_stream(5))]


def _auto_streams() -> list[Stream]:
    return [_openwire(12), _stomp_stream("1.1"), _mqtt_stream(4), _amqp_streams()[2], _web_streams()[0]]


STREAMS: dict[str, Callable[[], list[Stream]]] = {
    "amqp": _amqp_streams,
    "auto": _auto_streams,
    "mqtt": _mqtt_streams,
    "openwire": _openwire_streams,
    "stomp": _stomp_streams,
    "ws": _web_streams,
}
"""By the connector's name."""

TOKENS: dict[str, tuple[bytes, ...]] = {
    "amqp": (
        b"AMQP",
        b"\0\0\0\x08\2\0\0\0",
        b"\xff\xff\xff\xff",
        *(
            b"\0\x53" + bytes((code,))
            for code in (*range(0x10, 0x19), *range(0x23, 0x35), *range(0x70, 0x79))
        ),
        *(
            bytes((code,))
            for code in (0x40, 0x43, 0x45, 0xA0, 0xA1, 0xB0, 0xC0, 0xC1, 0xD0, 0xD1, 0xE0, 0xF0)
        ),
    ),
    "auto": (b"AMQP", b"ActiveMQ", b"MQTT", b"CONNECT\n", b"GET / HTTP/1.1\r\n", b"\x16\3\1\0\x20\1"),
    "mqtt": (
        b"MQTT",
        b"\xff\xff\xff\x7f",
        b"\xff\xff\xff\xff",
        b"\0\0",
        b"#",
        b"/+/",
        b"$share/",
        *(bytes((first,)) for first in range(0, 256, 8)),
    ),
    "openwire": (
        b"ActiveMQ",
        b"\0\0\0\1\x0a",
        b"\x7f\xff\xff\xff",
        *(bytes((code,)) for code in sorted(ow.BY_TYPE_CODE)),
    ),
    "stomp": (
        *(b"%b\n" % name for name in (b"SEND", b"SUBSCRIBE", b"ACK", b"NACK", b"BEGIN", b"COMMIT")),
        *(b"%b\n" % name for name in (b"ABORT", b"UNSUBSCRIBE", b"DISCONNECT", b"CONNECT", b"STOMP")),
        b"\0",
        b"\n\n",
        b"\r\n",
        b":",
        b"\\n",
        b"\\",
        b"\ncontent-length:",
        b"\ndestination:/queue/q",
        b"\ntransaction:x1",
        b"\nreceipt:r",
        b"\xff",
    ),
    "ws": (b"\r\n", b"\x82\x80", b"\x88\x80", b"\0\xfe\xff\xff", b"\x81\xff", b"Sec-WebSocket-"),
}
"""What a protocol's parser looks for; put into streams where it does not belong."""

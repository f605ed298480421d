"""WebSocket without sockets: handshakes, sub-protocols, frames, ends and limits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.wrapped import EchoServer, context
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

from broker.websocket import HANDSHAKE_BYTES_MAX, WebSocketServer

ALL = {"stomp": EchoServer, "mqtt": EchoServer, "amqp": EchoServer}
TYPICAL = (
    b"GET /ws HTTP/1.1\r\nHost: broker:61614\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: v10.stomp, v12.stomp\r\nOrigin: https://shop.example.com\r\n\r\n"
)
"""Provenance: the example of RFC 6455, section 1.3, with a sub-protocol of STOMP."""


class Dialogue:
    """A client and a server, and the wire between them."""

    def __init__(self, *subprotocols: str, origin: str = "", makes: object = None, **config: object) -> None:
        self.server = WebSocketServer(
            ALL if makes is None else makes,
            context(protocol="ws", **config),
            "tcp://h:1",
            0.0,
            lambda: None,
        )
        self.client = WSConnection(ConnectionType.CLIENT)
        headers = [(b"Origin", origin.encode())] if origin else []
        self.events: list[Event] = []
        self.send(Request(host="h", target="/", subprotocols=list(subprotocols), extra_headers=headers))

    def send(self, event: Event, cut: int = 1 << 20) -> None:
        """Say something; the answer is in `events`."""
        self.carry(self.client.send(event), cut)

    def carry(self, data: bytes, cut: int = 1 << 20) -> None:
        """Send bytes as they are."""
        for at in range(0, len(data), cut):
            self.server.receive_data(data[at : at + cut], 1.0)
        self.listen()

    def listen(self) -> None:
        """What the server has to say."""
        out = self.server.data_to_send()
        if out:
            self.client.receive_data(out)
            self.events += self.client.events()

    def take(self) -> list[Event]:
        """What has come since last time."""
        events, self.events = self.events, []
        return events

    @property
    def inner(self) -> EchoServer:
        """What is inside."""
        assert isinstance(self.server.inner, EchoServer)
        return self.server.inner


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (("v10.stomp", "v11.stomp", "v12.stomp"), "v12.stomp"),
        (("v11.stomp", "v10.stomp"), "v11.stomp"),
        (("mqtt",), "mqtt"),
        (("mqttv3.1",), "mqttv3.1"),
        (("amqp",), "amqp"),
        (("chat", "amqp"), "amqp"),
        ((), None),
    ],
)
def test_the_subprotocol_decides(asked: tuple[str, ...], answered: str | None) -> None:
    """The best that both know; who names none speaks STOMP, as with ActiveMQ."""
    dialogue = Dialogue(*asked)
    accepted, *rest = dialogue.take()
    assert isinstance(accepted, AcceptConnection)
    assert accepted.subprotocol == answered
    assert [type(each) for each in rest] == [
        TextMessage if answered is None or "stomp" in answered else BytesMessage
    ]


def test_the_handshake_of_the_specification() -> None:
    """Golden bytes: RFC 6455, section 1.3, gives the accept value for this key."""
    server = WebSocketServer(ALL, context(protocol="ws"), "tcp://h:1", 0.0, lambda: None)
    server.receive_data(TYPICAL, 0.0)
    answer = server.data_to_send()
    head, _, frames = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0].startswith(b"http/1.1 101 ")
    assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in lines
    assert b"sec-websocket-protocol: v12.stomp" in lines
    assert frames == b"\x81\x06hello "


@settings(max_examples=50, deadline=None)
@given(cut=st.integers(1, 80), at_once=st.booleans())
def test_any_split_gives_the_same(cut: int, at_once: bool) -> None:
    """Also what comes behind the request in one piece with it."""
    server = WebSocketServer(ALL, context(protocol="ws"), "tcp://h:1", 0.0, lambda: None)
    client = WSConnection(ConnectionType.CLIENT)
    client.send(Request(host="h", target="/"))
    frames = (
        b"\x81\x83\x00\x00\x00\x00abc"
        + b"\x82\x84\x01\x02\x03\x04"
        + bytes([a ^ b for a, b in zip(b"defg", b"\1\2\3\4", strict=True)])
    )
    data = TYPICAL + frames
    for at in range(0, len(data), cut if not at_once else len(data)):
        server.receive_data(data[at : at + (cut if not at_once else len(data))], 1.0)
    assert isinstance(server.inner, EchoServer)
    assert server.inner.heard == b"abcdefg"


def test_messages_are_taken_in_pieces() -> None:
    """Fragments, text and bytes; pings are answered in between."""
    dialogue = Dialogue("v12.stomp")
    dialogue.take()
    dialogue.send(TextMessage("grü", message_finished=False))
    dialogue.send(Ping(b"there?"))
    dialogue.send(TextMessage("n"))
    dialogue.send(BytesMessage(b"\xff\x00"))
    assert dialogue.inner.heard == "grün".encode() + b"\xff\x00"
    kinds = [type(each) for each in dialogue.take()]
    assert kinds.count(Pong) == 1
    assert kinds[-1] is BytesMessage  # what is no UTF-8 goes as bytes


def test_only_bytes_where_the_subprotocol_says_so() -> None:
    """[MQTT-6.0.0-1]: text ends the connection; it is told why."""
    dialogue = Dialogue("mqtt")
    dialogue.send(TextMessage("hello"))
    last = dialogue.take()[-1]
    assert isinstance(last, CloseConnection)
    assert last.code == 1003
    assert dialogue.server.closing
    assert "only binary messages" in dialogue.server.close_reason
    assert dialogue.inner.heard == b""


def test_the_protocols_end_closes_in_order() -> None:
    """1000 when all is well, 1002 with the reason otherwise."""
    dialogue = Dialogue("mqtt")
    dialogue.send(BytesMessage(b"bye"))
    message, last = dialogue.take()[-2:]
    assert isinstance(message, BytesMessage)
    assert message.data == b"BYE"
    assert isinstance(last, CloseConnection)
    assert (last.code, dialogue.server.close_reason) == (1000, "")
    dialogue = Dialogue("mqtt")
    dialogue.send(BytesMessage(b"bad"))
    last = dialogue.take()[-1]
    assert isinstance(last, CloseConnection)
    assert (last.code, last.reason) == (1002, "it is bad")
    assert dialogue.server.data_to_send() == b""


def test_last_words_go_with_a_close() -> None:
    """Code 1001: the broker goes away."""
    dialogue = Dialogue("mqtt")
    dialogue.take()
    dialogue.client.receive_data(dialogue.server.last_words("over"))
    message, last = list(dialogue.client.events())
    assert isinstance(message, BytesMessage)
    assert message.data == b"good-bye: over"
    assert isinstance(last, CloseConnection)
    assert (last.code, last.reason) == (1001, "over")
    assert dialogue.server.last_words("over") == b""
    assert dialogue.server.data_to_send() == b""


def test_the_clients_end_is_answered() -> None:
    """With the same code; the protocol inside gives back what the client had."""
    dialogue = Dialogue("mqtt")
    dialogue.take()
    dialogue.send(CloseConnection(1001, "leaving"))
    [last] = dialogue.take()
    assert isinstance(last, CloseConnection)
    assert last.code == 1001
    assert dialogue.server.closing
    assert dialogue.server.close_reason == ""
    assert dialogue.inner.lost == [""]


@pytest.mark.parametrize(
    ("frame", "code", "reason"),
    [
        (b"\x81\x03abc", 1002, "unmasked"),
        (b"\x83\x80\0\0\0\0", 1002, "Invalid opcode"),
        (b"\xc1\x80\0\0\0\0", 1002, "Reserved"),
        (b"\x09\x80\0\0\0\0", 1002, "fragment control frame"),
        (b"\x89\xfe\x00\x7e\0\0\0\0", 1002, "Control frame with payload len > 125"),
        (b"\x80\x80\0\0\0\0", 1002, "unexpected CONTINUATION"),
        (b"\x81\x82\0\0\0\0\xc3\x28", 1007, "decode"),
        (b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 1002, ""),
    ],
)
def test_bad_frames_end_the_connection(frame: bytes, code: int, reason: str) -> None:
    """With the close code that the specification has for it."""
    dialogue = Dialogue("v12.stomp")
    dialogue.take()
    dialogue.carry(frame)
    last = dialogue.take()[-1]
    assert isinstance(last, CloseConnection)
    assert last.code == code
    assert reason in dialogue.server.close_reason
    assert dialogue.server.close_reason.startswith("WebSocket: ")
    dialogue.server.receive_data(frame, 1.0)


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "Connection: Upgrade"),
        (b"POST / HTTP/1.1\r\nHost: h\r\ncontent-length: 0\r\n\r\n", 400, "GET"),
        (TYPICAL.replace(b": 13", b": 8"), 426, "Version"),
        (TYPICAL.replace(b"Sec-WebSocket-Key", b"X"), 400, "Key"),
        (TYPICAL.replace(b"Upgrade: websocket", b"Upgrade: tea"), 400, "Upgrade"),
        (TYPICAL.replace(b"Host: broker:61614", b"Host: \xff\xfe"), 400, "handshake"),
        (TYPICAL.replace(b"v10.stomp, v12.stomp", b"chat"), 400, "sub-protocols 'chat'"),
        (b"hello\r\n\r\n", 400, "does not begin with GET"),
        (b"GEL", 400, "does not begin with GET"),
        (b"\x16\x03\x01", 400, "does not begin with GET"),
        (b"GET nonsense\r\n\r\n", 400, "Bad HTTP"),
        (b"GET /" + b"a" * HANDSHAKE_BYTES_MAX, 431, "more than 16384 bytes"),
        (TYPICAL[:-2] + b"X: " + b"a" * HANDSHAKE_BYTES_MAX + b"\r\n\r\n", 431, "more than 16384 bytes"),
    ],
)
def test_bad_handshakes_are_refused_with_http(request_: bytes, status: int, reason: str) -> None:
    """A status for the client, a reason for the log, and no server inside."""
    server = WebSocketServer(ALL, context(protocol="ws"), "tcp://h:1", 0.0, lambda: None)
    server.receive_data(request_, 0.0)
    assert server.closing
    assert reason in server.close_reason
    assert server.data_to_send().startswith(b"HTTP/1.1 %d " % status)
    assert server.inner is None
    server.receive_data(request_, 0.0)
    assert server.data_to_send() == b""


def test_origins_can_be_restricted() -> None:
    """Browsers say whose page it is; other clients say nothing and are let in."""
    allowed = frozenset({"https://shop.example.com"})
    for origin in ("", "https://shop.example.com", "HTTPS://Shop.Example.Com/"):
        assert isinstance(Dialogue("mqtt", origin=origin, origins=allowed).take()[0], AcceptConnection)
    refused = Dialogue("mqtt", origin="https://evil.example.com", origins=allowed)
    [answer, *_] = refused.take()
    assert isinstance(answer, RejectConnection)
    assert answer.status_code == 403
    assert "https://evil.example.com" in refused.server.close_reason


def test_a_protocol_that_is_not_there_is_refused() -> None:
    """A broker without MQTT says so in the handshake."""
    dialogue = Dialogue("mqtt", makes={"stomp": EchoServer})
    assert isinstance(dialogue.take()[0], RejectConnection)
    assert "mqtt is not spoken here" in dialogue.server.close_reason


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), opened=st.booleans())
def test_garbage_never_raises(data: bytes, opened: bool) -> None:
    """Before and after the handshake."""
    server = WebSocketServer(ALL, context(protocol="ws"), "tcp://h:1", 0.0, lambda: None)
    if opened:
        server.receive_data(TYPICAL, 0.0)
    server.receive_data(data, 0.0)
    server.data_to_send()
    server.receive_data(data, 0.0)
    server.data_to_send()

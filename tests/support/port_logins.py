"""Logging in at a port in every protocol, plain, in TLS and in WebSocket, and what is answered to it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from support.amqp_frames import SASL_HEADER, frame, plain_login
from support.mqtt_peer import CONNACK, connect, read_replies
from support.stomp_client import read_frames, written
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request, TextMessage

from broker.amqp.types import Symbol, decode_all
from broker.openwire.commands import ConnectionId, ConnectionInfo, ExceptionResponse, Response
from broker.openwire.wireformat import CommandReceived, WireFormat, WireFormatOptions

TIMEOUT_S = 30.0
SUBPROTOCOLS = {"stomp": "v12.stomp", "mqtt": "mqtt", "amqp": "amqp"}

LET_IN = "let in"
MQTT_REFUSED = {0x86: "bad user name or password", 0x87: "not authorized"}
"""Source: MQTT 5.0, table 3-1."""
SASL_OUTCOMES = {0: LET_IN, 1: "auth"}
"""Source: AMQP 1.0, 5.3.3.6."""


@dataclass(frozen=True)
class Credentials:
    """What a client shows; nothing at all without a user."""

    user: str | None = None
    password: str = ""


class Line:
    """A connection to a port of this host; the bytes of its protocol go in and come out."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, subprotocol: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="127.0.0.1")
        self._frames: WSConnection | None = None
        if subprotocol:
            self._frames = WSConnection(ConnectionType.CLIENT)
            request = Request(host="127.0.0.1", target="/", subprotocols=[subprotocol])
            self._socket.sendall(self._frames.send(request))
            assert self.receive() == b""

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Say something."""
        self._socket.sendall(data if self._frames is None else self._frames.send(BytesMessage(data)))

    def receive(self) -> bytes:
        """Some bytes more, which may be none if they are WebSocket's own.

        Raises:
            EOFError: the other side has hung up.
        """
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            raise EOFError
        if self._frames is None:
            return data
        self._frames.receive_data(data)
        heard = b""
        for event in self._frames.events():
            match event:
                case BytesMessage():
                    heard += bytes(event.data)
                case TextMessage():
                    heard += event.data.encode()
                case CloseConnection():
                    break
                case _:
                    assert isinstance(event, AcceptConnection), event
        return heard


def log_in_stomp(line: Line, who: Credentials) -> str:
    """CONNECT; an ERROR is answered with its message."""
    headers = {"accept-version": "1.2", "host": "x"}
    if who.user is not None:
        headers |= {"login": who.user, "passcode": who.password}
    line.send(written("CONNECT", headers, version="1.0"))
    data = b""
    while b"\0" not in data:
        data += line.receive()
    (answer,) = read_frames(data)
    if answer.command == "CONNECTED":
        return LET_IN
    assert answer.command == "ERROR", answer
    return answer.headers["message"]


def log_in_mqtt(line: Line, who: Credentials) -> str:
    """CONNECT of MQTT 5; the reason of the CONNACK."""
    password = None if who.user is None else who.password.encode()
    line.send(connect(f"ports-{who.user}", user=who.user, password=password))
    data = b""
    while not (replies := read_replies(data, 5)[0]):
        data += line.receive()
    assert replies[0].kind == CONNACK
    return LET_IN if replies[0].code == 0 else MQTT_REFUSED[replies[0].code]


def log_in_amqp(line: Line, who: Credentials) -> str:
    """SASL PLAIN, or ANONYMOUS without a user; the code of the outcome."""
    if who.user is None:
        line.send(SASL_HEADER + frame(0x41, Symbol("ANONYMOUS"), b"", "host", kind=1))
    else:
        line.send(plain_login(who.user, who.password))
    data = b""
    while True:
        for body in _frames_of(data[len(SASL_HEADER) :]):
            (described,) = decode_all(body)
            if described.descriptor == 0x44:
                return SASL_OUTCOMES[described.value[0]]
        data += line.receive()


def _frames_of(data: bytes) -> Iterator[bytes]:
    while len(data) >= 8:
        size, offset = struct.unpack_from(">IB", data)
        if len(data) < size:
            return
        yield data[4 * offset : size]
        data = data[size:]


def log_in_openwire(line: Line, who: Credentials) -> str:
    """A ConnectionInfo; an exception is answered with its class and message."""
    wire = WireFormat(WireFormatOptions(max_inactivity_duration_ms=0), now_s=time.monotonic())
    info = ConnectionInfo(
        connection_id=ConnectionId("ID:ports-1-1:1"), user_name=who.user, password=who.password or None
    )
    info.command_id, info.response_required = 1, True
    wire.send(info)
    line.send(wire.data_to_send())
    while True:
        for event in wire.receive_data(line.receive(), time.monotonic()):
            command = event.command if isinstance(event, CommandReceived) else None
            if isinstance(command, ExceptionResponse):
                assert command.exception is not None
                return f"{command.exception.class_name}: {command.exception.message}"
            if isinstance(command, Response):
                return LET_IN
        line.send(wire.data_to_send())


PROTOCOLS: dict[str, Callable[[Line, Credentials], str]] = {
    "openwire": log_in_openwire,
    "stomp": log_in_stomp,
    "mqtt": log_in_mqtt,
    "amqp": log_in_amqp,
}


@dataclass(frozen=True)
class Way:
    """How a port can be entered.

    Attributes:
        protocol: of `PROTOCOLS`.
        tls: inside of TLS.
        websocket: inside of WebSocket.
    """

    protocol: str
    tls: bool = False
    websocket: bool = False

    def log_in(self, port: int, who: Credentials, trust: ssl.SSLContext) -> str:
        """Log in, hang up; `LET_IN`, or the protocol's own word for why not."""
        subprotocol = SUBPROTOCOLS[self.protocol] if self.websocket else ""
        line = Line(port, trust if self.tls else None, subprotocol)
        with contextlib.closing(line):
            return PROTOCOLS[self.protocol](line, who)

"""WebSocket around the servers of STOMP, MQTT and AMQP; the sub-protocol that a client asks for decides.

::

    handshake ─accepted─▶ open ─either side's close frame─▶ closing
        └─refused, with an HTTP status─▶ closing

A message may hold any number of frames of the protocol inside, and parts of them: what comes is handed on as
it comes, so that no message is kept here, however large. Extensions are not agreed to: compressed messages
would cost more than they save, and could be bombs.

Source: RFC 6455; the sub-protocols of STOMP over WebSocket, MQTT 3.1.1 section 6, AMQP WebSocket binding;
ActiveMQ's `ws` transport, where a client that names no sub-protocol speaks STOMP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import ProtocolError, RemoteProtocolError

from broker.wrapping import MakeServer, Wrapper

if TYPE_CHECKING:
    from broker.serving import ServerContext

HANDSHAKE_BYTES_MAX: Final = 16 * 1024
"""Of the request with its headers, as HTTP servers have it (h11, Jetty: 8 KiB)."""
REASON_BYTES_MAX: Final = 123
"""Of a close frame's text. Source: RFC 6455, section 5.5: control frames hold at most 125 bytes."""
SUBPROTOCOLS: Final[Mapping[str, str]] = {
    "v12.stomp": "stomp",
    "v11.stomp": "stomp",
    "v10.stomp": "stomp",
    "stomp": "stomp",
    "mqtt": "mqtt",
    "mqttv3.1": "mqtt",
    "amqp": "amqp",
    "AMQPWSB10": "amqp",
}
"""Sub-protocols and what speaks them, the best first."""
WITHOUT_SUBPROTOCOL: Final = "stomp"

_HEAD_BEGIN: Final = b"GET "
_HEAD_END: Final = b"\r\n\r\n"


class WebSocketServer(Wrapper):
    """One client's frames.

    Args:
        makes: per protocol, makes its server.
        context: see `ServerContext`.
        remote: the client's address.
        now_s: monotonic seconds.
        wake: asks for a turn.
    """

    def __init__(
        self,
        makes: Mapping[str, MakeServer],
        context: ServerContext,
        remote: str,
        now_s: float,
        wake: Callable[[], None],
    ) -> None:
        super().__init__(context, remote, wake)
        del now_s
        self._makes = makes
        self._socket = WSConnection(ConnectionType.SERVER)
        self._head: bytes | None = b""
        self._takes_text = False
        self._out: list[bytes] = []

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Take frames apart, and hand their content on."""
        if self.closing:
            return
        if self._head is not None:
            data = self._take_head(data, now_s)
            if not data or self.closing:
                return
        self._socket.receive_data(data)
        for event in self._socket.events():
            self._take(event, now_s)
            if self.closing:
                return

    def last_words(self, reason: str) -> bytes:
        """See `ProtocolServer`."""
        if self._socket.state is not ConnectionState.OPEN:
            return b""
        words = super().last_words(reason)
        if words:
            self._out.append(self._frame(words))
        self._say_end(CloseReason.GOING_AWAY, reason)
        out, self._out = self._out, []
        return b"".join(out)

    def data_to_send(self) -> bytes:
        """Put what is inside to be sent into one message."""
        inner, out = self.inner, self._out
        if inner is not None and self._socket.state is ConnectionState.OPEN:
            data = inner.data_to_send()
            if data:
                out.append(self._frame(data))
            if inner.closing:
                self._say_end(CloseReason.PROTOCOL_ERROR if self.close_reason else CloseReason.NORMAL_CLOSURE)
        self._out = []
        return out[0] if len(out) == 1 else b"".join(out)

    def _frame(self, data: bytes) -> bytes:
        if self._takes_text:
            try:
                return self._socket.send(TextMessage(data.decode()))
            except UnicodeDecodeError:
                pass  # a message with bytes in it
        return self._socket.send(BytesMessage(data))

    def _say_end(self, code: int, reason: str = "") -> None:
        reason = (reason or self.close_reason).encode()[:REASON_BYTES_MAX].decode(errors="ignore")
        if self._socket.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            self._out.append(self._socket.send(CloseConnection(code, reason)))

    # ---- the handshake

    def _take_head(self, data: bytes, now_s: float) -> bytes:
        """Collect the request; returns what came behind it."""
        assert self._head is not None
        head = self._head + data
        end = head.find(_HEAD_END, max(0, len(self._head) - len(_HEAD_END)))
        if not head.startswith(_HEAD_BEGIN[: len(head)]):
            self._refuse("no WebSocket handshake: it does not begin with GET", 400)
            return b""
        if end < 0 and len(head) <= HANDSHAKE_BYTES_MAX:
            self._head = head
            return b""
        if end < 0 or end > HANDSHAKE_BYTES_MAX:
            self._refuse(f"the request has more than {HANDSHAKE_BYTES_MAX} bytes", 431)
            return b""
        self._head = None
        end += len(_HEAD_END)
        try:
            self._socket.receive_data(head[:end])
            for event in self._socket.events():
                self._take(event, now_s)
        except (ProtocolError, UnicodeError) as error:
            hint = error.event_hint if isinstance(error, RemoteProtocolError) else None
            status = hint.status_code if isinstance(hint, RejectConnection) else 400
            self._refuse(f"no WebSocket handshake: {error}", status)
        return head[end:]

    def _open(self, request: Request, now_s: float) -> None:
        origin = b"".join(value for name, value in request.extra_headers if name.lower() == b"origin")
        allowed = self._context.config.origins
        if allowed and origin and origin.decode("latin-1").lower().rstrip("/") not in allowed:
            self._refuse(f"pages of {origin.decode('latin-1')!r} may not connect", 403)
            return
        wanted = next((name for name in SUBPROTOCOLS if name in request.subprotocols), None)
        if wanted is None and request.subprotocols:
            self._refuse(f"none of the sub-protocols {', '.join(request.subprotocols)!r} is known", 400)
            return
        protocol = SUBPROTOCOLS[wanted] if wanted else WITHOUT_SUBPROTOCOL
        make = self._makes.get(protocol)
        if make is None:
            self._refuse(f"{protocol} is not spoken here", 400)
            return
        self._takes_text = protocol == "stomp"
        self._out.append(self._socket.send(AcceptConnection(subprotocol=wanted)))
        self.begin(make, now_s)

    def _refuse(self, reason: str, status: int) -> None:
        self._head = None
        headers = [(b"sec-websocket-version", b"13"), (b"connection", b"close")]
        try:
            answer = self._socket.send(RejectConnection(status, headers))
        except ProtocolError:  # what came is so little HTTP that there is no answering
            answer = b"HTTP/1.1 %d \r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status
        self._out.append(answer)
        self.fail(f"WebSocket: {reason}")

    # ---- frames

    def _take(self, event: Event, now_s: float) -> None:
        if isinstance(event, BytesMessage):
            assert self.inner is not None
            self.inner.receive_data(bytes(event.data), now_s)
        elif isinstance(event, TextMessage):
            self._take_text(event, now_s)
        elif isinstance(event, Request):
            self._open(event, now_s)
        elif isinstance(event, Ping):
            self._out.append(self._socket.send(event.response()))
        elif isinstance(event, CloseConnection):
            self._end(event)

    def _take_text(self, event: TextMessage, now_s: float) -> None:
        assert self.inner is not None
        if self._takes_text:
            self.inner.receive_data(event.data.encode(), now_s)
        else:  # [MQTT-6.0.0-1]; AMQP WebSocket binding, section 2.3
            self._fault("only binary messages are possible with this sub-protocol", 1003)

    def _end(self, event: CloseConnection) -> None:
        """The client closes, or what it has sent are no frames: then wsproto has closed in its name."""
        if self._socket.state is ConnectionState.OPEN:
            self._fault(event.reason or "no frames of a WebSocket", event.code)
        else:
            self._say_end(event.code)
            self.connection_lost("")

    def _fault(self, reason: str, code: int) -> None:
        assert self.inner is not None
        last = self.inner.data_to_send()
        if last:
            self._out.append(self._frame(last))
        self.fail(f"WebSocket: {reason}")
        self._say_end(code)

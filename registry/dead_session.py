"""Closing the session of a process that died.

ZooKeeper keeps the ephemeral znodes of a dead process until its session times out. Who knows the session's id
and password can attach to it and close it: its znodes go at once, and a slave takes over within milliseconds.

This speaks the two frames of the protocol that are needed, on a plain socket: a full client would spend more
time on starting its threads than the exchange takes.

Source: ZooKeeper ``zookeeper.jute`` (ConnectRequest, ConnectResponse, RequestHeader).
"""

import socket
import struct
import time

from kazoo.hosts import collect_hosts
from kazoo.protocol.serialization import SASL, Close, Connect, ReplyHeader

from registry.channel import PLAIN, ChannelSettings
from registry.encryption import connect
from registry.errors import RegistryUnavailable
from registry.login import log_in, refused

FRAME_BYTES_MAX = 1024
"""Both answers are below 60 bytes; more means that it is not ZooKeeper that listens there."""

_LENGTH = struct.Struct(">i")
assert _LENGTH.size == 4
_HEADER = struct.Struct(">ii")  # xid, type
assert _HEADER.size == 8

ATTACHED_SESSION_TIMEOUT_MS = 4000
"""Attaching sets the session's timeout anew. It counts only if we die between the two frames."""


def close_dead_session(
    url: str,
    password: str | None,
    session_id: int,
    session_password: bytes,
    timeout_s: float = 5.0,
    *,
    channel: ChannelSettings = PLAIN,
) -> bool:
    """Close the session of a process that is known to be dead. Blocks for a few milliseconds.

    A living owner of the session is disconnected and finds its session expired.

    Args:
        url: ``host:port[,host:port…][/path]``.
        password: Not needed: closing a session asks only for the session's own password.
        session_id: Of the dead process, as `Session.session_id`.
        session_password: Sixteen bytes, as `Session.session_password`.
        timeout_s: For all addresses together.
        channel: How connections with the servers are secured.

    Returns:
        False when the session was gone already.

    Raises:
        RegistryUnavailable: no server answered in time.
    """
    deadline = time.monotonic() + timeout_s
    reasons = []
    try:
        hosts, _ = collect_hosts(url)
    except ValueError as error:
        raise RegistryUnavailable(f"{url!r} is not a ZooKeeper address (host:port[,host:port…])") from error
    for host, port in hosts:
        try:
            remaining_s = max(deadline - time.monotonic(), 0.001)
            with connect((host, port), channel, remaining_s) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if not _attach(connection, session_id, session_password):
                    return False
                if channel.sasl_user:
                    _log_in(connection, f"{host}:{port}", channel)
                _close(connection)
                return True
        except OSError as error:
            reasons.append(f"{host}:{port}: {error}")
    raise RegistryUnavailable(f"The session 0x{session_id:x} could not be closed: {'; '.join(reasons)}")


def _attach(connection: socket.socket, session_id: int, session_password: bytes) -> bool:
    attach = Connect(0, 0, ATTACHED_SESSION_TIMEOUT_MS, session_id, session_password, False)
    _send(connection, attach.serialize())
    answer, _ = Connect.deserialize(_receive(connection), 0)
    return bool(answer.time_out > 0)


def _log_in(connection: socket.socket, server: str, channel: ChannelSettings) -> None:
    def ask(token: bytes) -> bytes:
        _send(connection, _HEADER.pack(1, SASL.type) + bytes(SASL(token).serialize()))
        answer = _receive(connection)
        header, offset = ReplyHeader.deserialize(answer, 0)
        if header.err:
            raise refused(server, channel)
        challenge, _ = SASL.deserialize(answer, offset)
        return bytes(challenge or b"")

    log_in(server, channel, ask)


def _close(connection: socket.socket) -> None:
    _send(connection, _HEADER.pack(1, Close.type))
    _receive(connection)  # sent once the ephemeral znodes are gone


def _send(connection: socket.socket, frame: bytes) -> None:
    connection.sendall(_LENGTH.pack(len(frame)) + frame)


def _receive(connection: socket.socket) -> bytes:
    (length,) = _LENGTH.unpack(_receive_exactly(connection, _LENGTH.size))
    if not 0 < length <= FRAME_BYTES_MAX:
        raise ConnectionError(f"a frame of {length} bytes is not ZooKeeper's")
    return _receive_exactly(connection, length)


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        if not (part := connection.recv(count - len(received))):
            raise ConnectionError("the connection was closed")
        received += part
    return received

"""The network thread of one connection: its socket, its clock, and the lock that guards everything in it.

One thread reads, connects and keeps time. The program's threads call :meth:`Link.request` and
:meth:`Link.send` under the same lock and write to the socket themselves while it takes data, so that a
send costs no switch of threads; what the socket does not take, the network thread writes later.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from broker.errors import TlsFailed
from broker.openwire.commands import BaseCommand, Response
from broker.openwire.errors import CodecError
from mqclient.errors import ConnectionFailed, FailoverTimeout, MessageFormatError, TimedOut, TlsUnusable
from mqclient.events import CloseSocket, Event, OpenSocket, Request
from mqclient.failover import FailoverTransport
from mqclient.options import WireOptions
from mqclient.tls import ClientTls
from mqclient.url import BrokerAddress

if TYPE_CHECKING:
    from broker.tls import TlsChannel

READ_BYTES = 256 * 1024
"""Of one read; a compromise between system calls and memory per connection."""

UNSENT_BYTES_MAX = 1024 * 1024
"""Bytes that wait for the socket before senders that need no answer have to wait, too."""

EventSink = Callable[[Event], None]


class Link:
    """The edge around one :class:`FailoverTransport`.

    ``lock`` guards the transport and all state of the connection above it; ``changed`` (on the same lock) is
    notified when the connection comes, goes, ends, or takes data again.

    Args:
        transport: the core.
        on_event: what the connection makes of the core's events; called in any thread, with the lock held.
        name: of the thread.
        tls: makes the encryption, where an address asks for it.
    """

    def __init__(
        self, transport: FailoverTransport, on_event: EventSink, name: str, tls: ClientTls | None = None
    ) -> None:
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.transport = transport
        self._on_event = on_event
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._posted: deque[Callable[[], list[Event]]] = deque()
        self._socket: socket.socket | None = None
        self._connecting = False
        self._tls = tls or ClientTls()
        self._channel: TlsChannel | None = None
        self._candidates: deque[tuple[int, tuple[object, ...]]] = deque()
        self._to_open: BrokerAddress | None = None  # the network thread's own
        self._deadline_s: float | None = None  # likewise
        self._unsent = bytearray()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # The program's threads

    def start(self, addresses: Sequence[BrokerAddress]) -> None:
        """Start the thread and let it connect."""
        self._thread.start()
        self.post(lambda: self.transport.start(addresses, time.monotonic()))

    def post(self, work: Callable[[], list[Event]]) -> None:
        """Let the network thread do something with the lock held; from any thread, at any time."""
        self._posted.append(work)
        self._wake()

    def request(self, command: BaseCommand, timeout_s: float | None = None) -> Response:
        """Send a command and wait for its answer, over failovers.

        Raises:
            TimedOut: no answer within ``timeout_s``; the command is not repeated any more.
            ClientError: what the broker answered, or why there will be no answer.
        """
        done = threading.Event()
        request = Request(command, lambda _: done.set())
        with self.lock:
            self.begin_request(request)
        return self.wait(request, done, timeout_s)

    def wait(self, request: Request, done: threading.Event, timeout_s: float | None = None) -> Response:
        """Wait until ``done`` tells that a request was answered; raises as :meth:`request` does."""
        try:
            if not done.wait(timeout_s):
                raise TimedOut(f"the broker did not answer within {timeout_s:g} s")
        except BaseException:
            with self.lock:
                self.transport.forget(request)
            raise
        if request.error is not None:
            raise request.error
        assert request.answer is not None
        return request.answer

    def begin_request(self, request: Request) -> None:
        """Send a command whose answer goes to ``request.on_done``; the lock is held.

        Raises:
            MessageFormatError: the command cannot be written.
            ConnectionFailed: the connection is over.
        """
        try:
            self.transport.request(request, time.monotonic())
        except CodecError as error:
            raise MessageFormatError(str(error)) from error
        if self.transport.connected:
            self.flush()
        elif self.transport.deadline_s is not None:
            self._wake()

    def send(self, command: BaseCommand) -> bool:
        """Send a command that is not answered; the lock is held.

        Returns:
            False if it was neither sent nor kept for a replay, because there is no connection.

        Raises:
            MessageFormatError: the command cannot be written.
            ConnectionFailed: the connection is over.
        """
        try:
            sent = self.transport.send(command)
        except CodecError as error:
            raise MessageFormatError(str(error)) from error
        self.flush()
        return sent

    def send_patiently(self, command: BaseCommand, timeout_s: float | None) -> None:
        """Send a command that is not answered as soon as there is a connection; the lock is let go meanwhile.

        Raises:
            FailoverTimeout: no connection within ``timeout_s``.
        """
        if not self.changed.wait_for(self._can_send, timeout_s):
            assert timeout_s is not None
            raise FailoverTimeout(f"Failover timeout of {timeout_s * 1000:.0f} ms reached.")
        self.send(command)

    def flush(self) -> None:
        """Hand to the socket what the core wants to send; the lock is held."""
        if self._socket is None or self._connecting:
            return
        data = self.transport.data_to_send()
        if self._channel is not None:
            if data:
                self._channel.send(data)
            data = self._channel.data_to_send()
        if self._unsent:
            self._unsent += data
            return
        if not data:
            return
        sent = self._write(data)
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]
            self._wake()

    def stop(self, timeout_s: float) -> None:
        """Close the core and end the thread; callable in any thread, more than once."""
        if not self._thread.is_alive():
            with self.lock:
                self.transport.close()
                self._release()
            return
        self.post(self._close_core)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _close_core(self) -> list[Event]:
        self._stopping = True
        return self.transport.close()

    def _can_send(self) -> bool:
        if self.transport.error is not None:
            raise self.transport.error
        return self.transport.connected and len(self._unsent) < UNSENT_BYTES_MAX

    def _wake(self) -> None:
        try:
            os.write(self._wake_writer, b"\0")
        except OSError as error:
            # Full: it will wake anyway. Closed: nothing is left to wake.
            if error.errno not in (errno.EAGAIN, errno.EBADF):
                raise

    # The network thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                if self._to_open is not None:
                    self._open(self._to_open)
                for key, mask in self._selector.select(self._timeout_s()):
                    if key.fileobj == self._wake_reader:
                        self._drain_wake_ups()
                    else:
                        self._take_socket_event(mask)
                self._do_due_work()
        finally:
            with self.lock:
                if not self._stopping:
                    self._take_events(self.transport.close(ConnectionFailed("the network thread has failed")))
                self._close_socket()
                self._release()

    def _release(self) -> None:
        if self._wake_writer >= 0:
            self._selector.close()
            os.close(self._wake_reader)
            os.close(self._wake_writer)
            self._wake_writer = -1

    def _timeout_s(self) -> float | None:
        with self.lock:
            self._watch_socket()
            if self._posted or self._to_open is not None:
                return 0.0
            deadline_s = self._deadline_s = self.transport.deadline_s
        return None if deadline_s is None else max(0.0, deadline_s - time.monotonic())

    def _watch_socket(self) -> None:
        if self._socket is None:
            return
        wanted = selectors.EVENT_WRITE if self._connecting else selectors.EVENT_READ
        if self._unsent:
            wanted |= selectors.EVENT_WRITE
        if self._selector.get_key(self._socket).events != wanted:
            self._selector.modify(self._socket, wanted)

    def _drain_wake_ups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)

    def _do_due_work(self) -> None:
        while self._posted:
            work = self._posted.popleft()
            with self.lock:
                self._take_events(work())
        now_s = time.monotonic()
        if self._deadline_s is not None and now_s >= self._deadline_s:
            with self.lock:
                self._take_events(self.transport.handle_deadline(now_s))

    def _take_events(self, events: Sequence[Event]) -> None:
        notify = False
        for event in events:
            match event:
                case OpenSocket(address=address):
                    self._to_open = address
                case CloseSocket():
                    self.flush()
                    self._close_socket()
                    notify = True
                case _:
                    self._on_event(event)
                    notify = True
        self.flush()
        if notify:
            self.changed.notify_all()

    def _take_socket_event(self, mask: int) -> None:
        with self.lock:
            if self._socket is None:
                return
            if self._connecting:
                self._finish_connect()
                return
            if mask & selectors.EVENT_WRITE:
                self._write_unsent()
            if mask & selectors.EVENT_READ and self._socket is not None:
                self._read()

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(_reason(error))
            return
        if not data:
            self._lose("the broker closed the connection")
            return
        if self._channel is None:
            self._take_events(self.transport.receive_data(data, time.monotonic()))
        else:
            self._read_encrypted(self._channel, data)

    def _read_encrypted(self, channel: TlsChannel, data: bytes) -> None:
        was_open = channel.is_open
        try:
            plain = channel.receive_data(data)
        except TlsFailed as error:
            self._write(channel.data_to_send())
            self._lose(f"TLS: {error}")
            return
        if channel.is_open and not was_open:
            self._take_events(self.transport.socket_opened(time.monotonic()))
        if plain:
            self._take_events(self.transport.receive_data(plain, time.monotonic()))
        self.flush()
        if channel.is_closed and self._channel is channel:
            self._lose("the broker closed the connection")

    def _write(self, data: bytes | bytearray) -> int:
        assert self._socket is not None
        try:
            return self._socket.send(data)
        except OSError:
            return 0  # full, or broken: then reading tells why

    def _write_unsent(self) -> None:
        sent = self._write(self._unsent)
        del self._unsent[:sent]
        if len(self._unsent) < UNSENT_BYTES_MAX:
            self.changed.notify_all()

    def _lose(self, reason: str) -> None:
        self._close_socket()
        self._take_events(self.transport.socket_lost(reason, time.monotonic()))

    # Connecting

    def _open(self, address: BrokerAddress) -> None:
        self._to_open = None
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            found, reason = [], f"cannot resolve {address.host}: {error}"
        else:
            reason = "no address"
        with self.lock:
            if self.transport.address is not address or self._to_open is not None:
                return
            self._candidates = deque((each[0], each[4]) for each in found)
            self._connect_next(address.wire, reason)

    def _connect_next(self, options: WireOptions, reason: str) -> None:
        """Try the next of the addresses that the broker's name stands for."""
        while self._candidates:
            family, target = self._candidates.popleft()
            attempt = socket.socket(family, socket.SOCK_STREAM)
            attempt.setblocking(False)
            _configure(attempt, options)
            code = attempt.connect_ex(target)
            if code in (0, errno.EINPROGRESS):
                self._socket = attempt
                self._connecting = True
                self._selector.register(attempt, selectors.EVENT_WRITE)
                return
            attempt.close()
            reason = os.strerror(code)
        self._take_events(self.transport.socket_lost(reason, time.monotonic()))

    def _finish_connect(self) -> None:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            self._connecting = False
            self._begin_dialogue()
            return
        self._close_socket(keep_candidates=True)
        address = self.transport.address
        self._connect_next(address.wire if address is not None else WireOptions(), os.strerror(code))

    def _begin_dialogue(self) -> None:
        """The socket is connected; with TLS, hands have to be shaken before the broker is spoken to."""
        address = self.transport.address
        if address is None or not address.is_tls:
            self._take_events(self.transport.socket_opened(time.monotonic()))
            return
        try:
            self._channel = self._tls.channel(address)
        except (TlsFailed, TlsUnusable) as error:
            self._lose(f"TLS: {error}")
            return
        self.flush()

    def _close_socket(self, *, keep_candidates: bool = False) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
        self._socket = None
        self._channel = None
        self._connecting = False
        self._unsent.clear()
        self._to_open = None
        if not keep_candidates:
            self._candidates.clear()


def _configure(attempt: socket.socket, options: WireOptions) -> None:
    if options.tcp_no_delay:
        attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if options.keep_alive:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if options.socket_buffer_size:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.socket_buffer_size)
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.socket_buffer_size)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)

"""A relay before a server that keeps the answers to itself, or ends all, as a bad network does."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

CHUNK_BYTES = 65536


class Relay:
    """Passes on what clients and a broker say, until it is told to keep what the broker says.

    Attributes:
        url: where clients connect.
    """

    def __init__(self, port: int) -> None:
        """Listen.

        Args:
            port: of the broker, on this machine.
        """
        self._port = port
        self._silent = threading.Event()
        self._is_cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._sockets):
            _end(each)

    def silence(self) -> None:
        """From now on clients hear nothing of the broker, but that a connection has ended."""
        self._silent.set()

    def cut(self) -> None:
        """End all connections, and let no client in."""
        self._is_cut.set()
        while self._sockets:
            _end(self._sockets.pop())

    def mend(self) -> None:
        """Let clients in again."""
        self._is_cut.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_cut.is_set():
                    _end(client)
                    continue
                try:
                    broker = socket.create_connection(("127.0.0.1", self._port))
                except OSError:
                    _end(client)
                    continue
                self._sockets += [client, broker]
                self._start(client, broker, answers=False)
                self._start(broker, client, answers=True)

    def _start(self, source: socket.socket, sink: socket.socket, *, answers: bool) -> None:
        threading.Thread(target=self._pump, args=(source, sink, answers), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if not (answers and self._silent.is_set()):
                    sink.sendall(data)
        _end(source)
        _end(sink)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()

"""The model broker behind a real socket, which can be cut, frozen and moved."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from support.model_broker import ModelConnection, ModelStore


class ModelBroker:
    """Serves on a free port of the loopback address, in a thread of its own.

    Attributes:
        connections: all that were ever made, the last one last.
        prepare: called with each new connection before it is served.
    """

    def __init__(self, store: ModelStore | None = None, *, password: str | None = None) -> None:
        self.store = store if store is not None else ModelStore()
        self.password = password
        self.connections: list[ModelConnection] = []
        self.prepare: Callable[[ModelConnection], None] = lambda connection: None
        self._thawed = threading.Event()
        self._thawed.set()
        self._lock = threading.Lock()
        self._sockets: dict[socket.socket, ModelConnection] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"tcp://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._thawed.set()
        self._thread.join()
        for each in [*self._sockets, self._listener]:
            each.close()
        self._selector.close()

    def freeze(self) -> None:
        """Do nothing more, with open sockets, as a stopped process does."""
        with self._lock:
            self._thawed.clear()

    def thaw(self) -> None:
        """Work on."""
        self._thawed.set()

    def cut(self) -> None:
        """Break all connections, as a killed process does; new ones are welcome."""
        with self._lock:
            for each in list(self._sockets):
                self._drop(each)

    def stop_listening(self) -> None:
        """Refuse new connections from now on, and break those that are open."""
        with self._lock:
            self._selector.unregister(self._listener)
            self._listener.close()
        self.cut()

    def with_last(self, use: Callable[[ModelConnection], None]) -> None:
        """Do something with the last connection while it is not served."""
        with self._lock:
            use(self.connections[-1])
            self._flush()

    def _run(self) -> None:
        while not self._stopping:
            self._thawed.wait()
            ready = self._selector.select(0.01)
            with self._lock:
                for key, _ in ready if self._thawed.is_set() else ():
                    assert isinstance(key.fileobj, socket.socket)
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._sockets:
                        self._read(key.fileobj)
                self._flush()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            accepted, _ = self._listener.accept()
            connection = ModelConnection(self.store, password=self.password)
            self.prepare(connection)
            self.connections.append(connection)
            self._sockets[accepted] = connection
            self._selector.register(accepted, selectors.EVENT_READ)

    def _read(self, ready: socket.socket) -> None:
        try:
            data = ready.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self._drop(ready)
            return
        self._sockets[ready].receive_data(data)

    def _flush(self) -> None:
        for each, connection in list(self._sockets.items()):
            connection.dispatch()
            data = connection.data_to_send()
            try:
                each.sendall(data)
            except OSError:
                self._drop(each)

    def _drop(self, lost: socket.socket) -> None:
        self._selector.unregister(lost)
        self._sockets.pop(lost).close()
        lost.close()

"""A ZooKeeper in memory, and a kazoo client for it.

It passes the contract tests of the real one. What it adds are faults at chosen moments: an outage, an expired
session, a reply that is lost. What it leaves out: access lists, the limit of data, several servers.

Everything happens at once, in the thread that asks; watch functions and state listeners are called there too.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from kazoo import exceptions as kazoo_errors
from kazoo.handlers.threading import AsyncResult
from kazoo.protocol.states import EventType, KazooState, KeeperState, WatchedEvent

_SYNCHRONOUS = SimpleNamespace(running=False)
"""A kazoo handler that does not run: results call back at once."""


@dataclass
class _Znode:
    data: bytes
    owner: int
    czxid: int
    mzxid: int
    version: int = 0
    created: int = 0  # children ever made: the next sequence number


class FakeZooKeeper:
    """The server: znodes, sessions, faults."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.nodes: dict[str, _Znode] = {"/": _Znode(b"", 0, 0, 0)}
        self.zxid = 0
        self.sessions: dict[int, FakeClient] = {}
        self.waiting: list[FakeClient] = []
        """Clients without a connection."""
        self.up = True
        self.lost_replies: list[str] = []
        """Requests, such as ``create``, whose next reply is lost together with the connection."""
        self.refused: list[str] = []
        """Requests, such as ``set``, the next of which is refused."""
        self._next_session = 0x1000

    def client(self, url: str, password: str | None, session_timeout_s: float) -> "FakeClient":
        """Make a client: the `client_factory` of a session."""
        return FakeClient(self)

    def open_session(self, client: "FakeClient") -> int:
        """Begin a session."""
        self._next_session += 1
        self.sessions[self._next_session] = client
        return self._next_session

    def end_session(self, session_id: int) -> bool:
        """Delete a session and its ephemerals; the client does not know yet."""
        with self.lock:
            if self.sessions.pop(session_id, None) is None:
                return False
            for path in [path for path, node in self.nodes.items() if node.owner == session_id]:
                self.delete(path)
            return True

    def expire(self, session_id: int) -> bool:
        """End a session as the server does with a silent one; a connected owner learns it at once."""
        with self.lock:
            client = self.sessions.get(session_id)
            ended = self.end_session(session_id)
            if client is not None and client.connected:
                client.lose_connection()
                client.connect()
            return ended

    def stop(self) -> None:
        """Begin an outage."""
        with self.lock:
            self.up = False
            for client in list(self.sessions.values()):
                client.lose_connection()

    def start(self) -> None:
        """End an outage: every client is back at once, with its session if that has not been ended."""
        with self.lock:
            self.up = True
            for client in list(self.waiting):
                client.connect()

    # Requests

    def create(self, path: str, data: bytes, owner: int, *, sequential: bool, parents: bool) -> str:
        """Make a znode."""
        parent = path.rpartition("/")[0] or "/"
        if parent not in self.nodes:
            if not parents:
                raise kazoo_errors.NoNodeError
            self.create(parent, b"", 0, sequential=False, parents=True)
        if self.nodes[parent].owner:
            raise kazoo_errors.NoChildrenForEphemeralsError
        if sequential:
            path += f"{self.nodes[parent].created:010d}"
        if path in self.nodes:
            raise kazoo_errors.NodeExistsError
        self.zxid += 1
        self.nodes[parent].created += 1
        self.nodes[path] = _Znode(data, owner, self.zxid, self.zxid)
        self._fire(path, EventType.CREATED, "data")
        self._fire(parent, EventType.CHILD, "children")
        return path

    def set(self, path: str, data: bytes, version: int) -> object:
        """Write a znode."""
        node = self.node(path)
        if version not in (-1, node.version):
            raise kazoo_errors.BadVersionError
        self.zxid += 1
        node.data, node.version, node.mzxid = data, node.version + 1, self.zxid
        self._fire(path, EventType.CHANGED, "data")
        return self.stat(path)

    def delete(self, path: str) -> bool:
        """Delete a znode."""
        self.node(path)
        if self.children(path):
            raise kazoo_errors.NotEmptyError
        self.zxid += 1
        del self.nodes[path]
        self._fire(path, EventType.DELETED, "data", "children")
        self._fire(path.rpartition("/")[0] or "/", EventType.CHILD, "children")
        return True

    def node(self, path: str) -> _Znode:
        """Find a znode."""
        try:
            return self.nodes[path]
        except KeyError:
            raise kazoo_errors.NoNodeError from None

    def children(self, path: str) -> list[str]:
        """Names below a znode, in no useful order."""
        self.node(path)
        prefix = path.rstrip("/") + "/"
        below = [p[len(prefix) :] for p in self.nodes if p.startswith(prefix) and p != "/"]
        return [name for name in reversed(below) if "/" not in name]

    def stat(self, path: str) -> Any:
        """What kazoo tells of a znode beside its data."""
        node = self.node(path)
        return SimpleNamespace(
            version=node.version,
            ephemeralOwner=node.owner,
            czxid=node.czxid,
            mzxid=node.mzxid,
            ctime=0,
            mtime=0,
            numChildren=len(self.children(path)),
        )

    def _fire(self, path: str, kind: str, *aspects: str) -> None:
        for client in list(self.sessions.values()):
            for aspect in aspects:
                client.fire(aspect, path, kind)


class FakeClient:
    """What `registry` uses of a kazoo client."""

    def __init__(self, server: FakeZooKeeper) -> None:
        self.server = server
        self.client_state = KeeperState.CLOSED
        self.session_id = 0
        self.auth_data: set[tuple[str, str]] = set()
        self.default_acl: list[Any] | None = None
        self._listener: Callable[[str], None] = lambda state: None
        self._state = KazooState.LOST
        self._watches: dict[tuple[str, str], list[Callable[[Any], None]]] = defaultdict(list)
        self._pending: list[tuple[str, Callable[[], Any], AsyncResult, Any]] = []
        self._live = threading.Event()

    @property
    def connected(self) -> bool:
        """Whether the server is reached."""
        return self._live.is_set()

    @property
    def client_id(self) -> tuple[int, bytes]:
        """Session id and password."""
        return self.session_id, self.session_id.to_bytes(16, "big")

    def add_listener(self, listener: Callable[[str], None]) -> None:
        """Call with each new state."""
        self._listener = listener

    def start_async(self) -> threading.Event:
        """Connect if the server is up."""
        with self.server.lock:
            self.server.waiting.append(self)
            if self.server.up:
                self.connect()
            return self._live

    def stop(self) -> None:
        """End the session."""
        with self.server.lock:
            if self in self.server.waiting:
                self.server.waiting.remove(self)
            if self.connected:
                self._live.clear()
                self.server.end_session(self.session_id)
            self._turn(KazooState.LOST, KeeperState.CLOSED)

    def close(self) -> None:
        """Release what is held: nothing."""

    def connect(self) -> None:
        """Come back, with the old session if it lives, and make what was asked meanwhile."""
        self.server.waiting.remove(self)
        if self.session_id not in self.server.sessions:
            if self.session_id:
                self._turn(KazooState.LOST, KeeperState.EXPIRED_SESSION)
                self._fail_pending(kazoo_errors.SessionExpiredError())
            self.session_id = self.server.open_session(self)
        self._live.set()
        self._turn(KazooState.CONNECTED, KeeperState.CONNECTED)
        pending, self._pending = self._pending, []
        for request in pending:
            self._perform(*request)

    def lose_connection(self) -> None:
        """Forget watches and what is under way."""
        self._live.clear()
        if self not in self.server.waiting:
            self.server.waiting.append(self)
        self._fail_pending(kazoo_errors.ConnectionLoss())
        self._turn(KazooState.SUSPENDED, KeeperState.CONNECTING)
        watches, self._watches = self._watches, defaultdict(list)
        for functions in watches.values():
            for function in functions:
                function(WatchedEvent(EventType.NONE, self.client_state, None))

    def fire(self, aspect: str, path: str, kind: str) -> None:
        """Call the watches of an aspect, data or children, of a znode, once."""
        for function in self._watches.pop((aspect, path), []):
            function(WatchedEvent(kind, self.client_state, path))

    def _turn(self, state: str, client_state: str) -> None:
        self.client_state = client_state
        if state != self._state:
            self._state = state
            self._listener(state)

    def _fail_pending(self, error: Exception) -> None:
        pending, self._pending = self._pending, []
        for _, _, result, _ in pending:
            result.set_exception(error)

    def _ask(self, kind: str, request: Callable[[], Any], watch: Any = None) -> AsyncResult:
        result = AsyncResult(_SYNCHRONOUS)
        with self.server.lock:
            if self.connected:
                self._perform(kind, request, result, watch)
            elif self.client_state == KeeperState.CLOSED:
                result.set_exception(kazoo_errors.ConnectionClosedError())
            else:
                self._pending.append((kind, request, result, watch))
        return result

    def _perform(self, kind: str, request: Callable[[], Any], result: AsyncResult, watch: Any) -> None:
        error: Exception | None = None
        try:
            if kind in self.server.refused:
                self.server.refused.remove(kind)
                raise kazoo_errors.NoAuthError
            value = request()
        except kazoo_errors.KazooException as failure:
            error = failure
        if kind in self.server.lost_replies:
            self.server.lost_replies.remove(kind)
            result.set_exception(kazoo_errors.ConnectionLoss())
            self.lose_connection()
            if self.server.up:
                self.connect()
            return
        if watch is not None and error is None:
            aspect, path, function = watch
            self._watches[aspect, path].append(function)
        if error is None:
            result.set(value)
        else:
            result.set_exception(error)

    def add_auth_async(self, scheme: str, credential: str) -> AsyncResult:
        """Say who one is; everybody may do everything here."""
        self.auth_data.add((scheme, credential))
        return self._ask("auth", lambda: True)

    def get_async(self, path: str, watch: Any = None) -> AsyncResult:
        """Read a znode."""
        return self._ask(
            "get",
            lambda: (self.server.node(path).data, self.server.stat(path)),
            ("data", path, watch) if watch else None,
        )

    def exists_async(self, path: str, watch: Any = None) -> AsyncResult:
        """Ask whether a znode exists."""
        return self._ask(
            "exists",
            lambda: self.server.stat(path) if path in self.server.nodes else None,
            ("data", path, watch) if watch else None,
        )

    def get_children_async(self, path: str, watch: Any = None) -> AsyncResult:
        """Read the names of the children."""
        return self._ask(
            "children", lambda: self.server.children(path), ("children", path, watch) if watch else None
        )

    def create_async(
        self, path: str, data: bytes, *, ephemeral: bool, sequence: bool, makepath: bool
    ) -> AsyncResult:
        """Make a znode."""
        return self._ask(
            "create",
            lambda: self.server.create(
                path, data, self.session_id if ephemeral else 0, sequential=sequence, parents=makepath
            ),
        )

    def set_async(self, path: str, data: bytes, version: int = -1) -> AsyncResult:
        """Write a znode."""
        return self._ask("set", lambda: self.server.set(path, data, version))

    def delete_async(self, path: str) -> AsyncResult:
        """Delete a znode."""
        return self._ask("delete", lambda: self.server.delete(path))

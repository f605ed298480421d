"""A ZooKeeper across a network, with sessions that end by silence, and a kazoo client for `registry`.

The znodes are those of `support.fake_zookeeper`. Added are what a network brings: requests, replies and watch
events under way; a server that ends a session whose owner does not know; an owner who comes back late.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from kazoo import exceptions as kazoo_errors
from kazoo.protocol.states import KazooState, KeeperState, WatchedEvent
from simulation.cluster.clock import Process, Timer
from simulation.cluster.network import Network, Stream
from support.fake_zookeeper import FakeZooKeeper

SESSION_TIMEOUT_S: Final = 1.0
"""Short, so that a history is."""
RECONNECT_S: Final = 0.05
ATTEMPT_S: Final = 0.3
"""See `registry.kazoo_edge.FIRST_REPLY_TIMEOUT_S`."""


class ServerSession:
    """A session as the server sees it."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.stream: Stream | None = None
        self.seen_s = 0.0
        self.watches: set[tuple[str, str]] = set()

    def fire(self, aspect: str, path: str, kind: str) -> None:
        """A znode has changed."""
        if (aspect, path) in self.watches:
            self.watches.discard((aspect, path))
            if self.stream is not None:
                self.stream.send(("event", aspect, path, kind))


class ZooKeeperServer(Process):
    """The server: it answers, and ends the sessions of those who are silent."""

    def __init__(self, network: Network, *args: Any) -> None:
        super().__init__(*args)
        self._network = network
        self.alive = True
        self.tree: Any = FakeZooKeeper()
        self.losing: set[str] = set()
        """Whose next reply is lost, and the connection with it."""

    def admit(self, stream: Stream) -> bool:
        """A client comes."""
        session_id = 0

        def on_data(request: Any) -> None:
            nonlocal session_id
            kind = request[0]
            if kind == "connect":
                session_id = self._open(request[1], request[2], stream)
                return
            session = self.tree.sessions.get(session_id)
            if session is None or session.stream is not stream:
                stream.close()
                return
            session.seen_s = self.clock.now_s
            self._answer(session_id, session, request, stream)

        def on_lost(_: str) -> None:
            session = self.tree.sessions.get(session_id)
            if session is not None and session.stream is stream:
                self._detach(session)

        stream.on_data, stream.on_lost = on_data, on_lost
        return True

    def hear(self, session_id: int) -> None:
        """A ping."""
        session = self.tree.sessions.get(session_id)
        if session is not None:
            session.seen_s = self.clock.now_s

    def _detach(self, session: ServerSession) -> None:
        session.stream = None
        session.watches.clear()

    def _open(self, session_id: int, owner: str, stream: Stream) -> int:
        tree = self.tree
        session = tree.sessions.get(session_id)
        if session_id and session is None:
            stream.send(("expired",))
            return 0
        if session is None:
            session = ServerSession(owner)
            session_id = tree.open_session(session)
            self.call_later(SESSION_TIMEOUT_S, lambda: self._check(session_id, session))
        elif session.stream is not None:
            session.stream.close()
            self._detach(session)
        session.stream = stream
        session.seen_s = self.clock.now_s
        stream.send(("connected", session_id))
        return int(session_id)

    def _check(self, session_id: int, session: ServerSession) -> None:
        """End a session that has been silent for too long."""
        if self.tree.sessions.get(session_id) is not session:
            return
        left_s = session.seen_s + SESSION_TIMEOUT_S - self.clock.now_s
        if left_s > 0:
            self.call_later(left_s, lambda: self._check(session_id, session))
        else:
            self.expire(session_id)

    def expire(self, session_id: int) -> None:
        """End a session; its owner hears of it when it hears anything."""
        session = self.tree.sessions.get(session_id)
        if session is None:
            return
        self.tree.end_session(session_id)
        if session.stream is not None:
            session.stream.close()
            session.stream = None

    def sessions_of(self, owner: str) -> list[int]:
        """The sessions that live."""
        return [number for number, session in self.tree.sessions.items() if session.owner == owner]

    def stop(self) -> None:
        """Begin an outage: connections end, sessions stand still."""
        self.alive = False
        self._network.reset_all(self.name)
        for session in self.tree.sessions.values():
            self._detach(session)
        self.paused_until_s = float("inf")

    def start(self) -> None:
        """End an outage; every session has its whole time again."""
        self.alive = True
        for session in self.tree.sessions.values():
            session.seen_s = self.clock.now_s
        self.incarnation += 1
        self.paused_until_s = 0.0
        for number, session in list(self.tree.sessions.items()):
            self.call_later(SESSION_TIMEOUT_S, partial(self._check, number, session))

    def _answer(self, session_id: int, session: ServerSession, request: Any, stream: Stream) -> None:
        kind, number, path, arguments, watch = request
        tree = self.tree
        error: Exception | None = None
        value: Any = None
        try:
            if kind == "get":
                value = (tree.node(path).data, tree.stat(path))
            elif kind == "exists":
                value = tree.stat(path) if path in tree.nodes else None
            elif kind == "children":
                value = tree.children(path)
            elif kind == "create":
                data, ephemeral, sequence, parents = arguments
                owner = session_id if ephemeral else 0
                value = tree.create(path, data, owner, sequential=sequence, parents=parents)
            elif kind == "set":
                value = tree.set(path, *arguments)
            else:
                value = tree.delete(path)
        except kazoo_errors.KazooException as failure:
            error = failure
        if watch and error is None:
            session.watches.add(("children" if kind == "children" else "data", path))
        if session.owner in self.losing:
            self.losing.discard(session.owner)
            stream.reset("the reply was lost")
            self._detach(session)
        else:
            stream.send(("reply", number, value, error))


class Result:
    """What kazoo's `AsyncResult` is to a session."""

    __slots__ = ("_call", "_error", "_value")

    def __init__(self) -> None:
        self._call: Callable[[Result], None] | None = None
        self._value: Any = self
        self._error: Exception | None = None

    def rawlink(self, call: Callable[[Result], None]) -> None:
        """Call when it is there."""
        if self._error is not None or self._value is not self:
            call(self)
        else:
            self._call = call

    def get_nowait(self) -> Any:
        """The value, or its error raised."""
        if self._error is not None:
            raise self._error
        return self._value

    def set(self, value: Any, error: Exception | None) -> None:
        """It is there."""
        self._value, self._error = value, error
        if self._call is not None:
            self._call(self)


class _AtOnce:
    """`start` waits for nobody: the state listener tells when there is a connection."""

    def wait(self, _timeout_s: float) -> bool:
        return True


class ZooKeeperClient:
    """What `registry.nonblocking` uses of a kazoo client."""

    def __init__(self, network: Network, process: Process, server: ZooKeeperServer) -> None:
        self.client_state = KeeperState.CONNECTING
        self.session_id = 0
        self._network = network
        self._process = process
        self._server = server
        self._listener: Callable[[str], None] = lambda state: None
        self._state = KazooState.LOST
        self._stream: Stream | None = None
        self._is_live = False
        self._attempt = 0
        self._heard_s = 0.0
        self._number = 0
        self._asked: dict[int, tuple[Any, Result, Any]] = {}
        self._waiting: list[tuple[Any, Result, Any]] = []
        self._watches: dict[tuple[str, str], list[Callable[[Any], None]]] = defaultdict(list)
        self._ping_timer: Timer | None = None
        self._closed = False

    @property
    def client_id(self) -> tuple[int, bytes]:
        """Session id and password."""
        return self.session_id, b""

    def add_listener(self, listener: Callable[[str], None]) -> None:
        """Call with each new state."""
        self._listener = listener

    def start_async(self) -> _AtOnce:
        """Begin to connect."""
        self._connect()
        return _AtOnce()

    def stop(self) -> None:
        """Nothing: a process that ends just ends."""
        self._closed = True

    def close(self) -> None:
        """Likewise."""

    # ---- the connection

    def _connect(self) -> None:
        if self._closed:
            return
        self._attempt += 1
        number = self._attempt
        self._network.connect(
            self._process, self._server, self._server.admit, lambda stream: self._opened(number, stream)
        )
        self._process.call_later(ATTEMPT_S, lambda: self._give_up(number))

    def _give_up(self, number: int) -> None:
        if number == self._attempt and not self._is_live:
            self._drop()

    def _opened(self, number: int, stream: Stream | None) -> None:
        if number != self._attempt or self._stream is not None:
            if stream is not None:
                stream.close()
            return
        if stream is None:
            self._process.call_later(RECONNECT_S, self._connect)
            self._attempt += 1
            return
        self._stream = stream
        stream.on_data = self._receive
        stream.on_lost = lambda _: self._drop()
        stream.send(("connect", self.session_id, self._process.name))

    def _drop(self) -> None:
        """The connection is lost: what is under way is in doubt, watches are gone."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        was_live, self._is_live = self._is_live, False
        self._attempt += 1
        if was_live:
            self._fail(list(self._asked.values()), kazoo_errors.ConnectionLoss())
            self._asked.clear()
            self._turn(KazooState.SUSPENDED, KeeperState.CONNECTING)
            self._watches.clear()
        self._process.call_later(RECONNECT_S * (1 + self._process.random.random()), self._connect)

    def _ping(self) -> None:
        stream = self._stream
        if stream is None:
            return
        if self._process.clock.now_s - self._heard_s > SESSION_TIMEOUT_S * 2 / 3:
            self._drop()
            return
        if stream.is_reaching:  # a ping and its answer without their four events
            self._heard_s = self._process.clock.now_s
            self._server.hear(self.session_id)
        self._ping_timer = self._process.call_later(SESSION_TIMEOUT_S / 2.5, self._ping)

    def _receive(self, message: Any) -> None:
        self._heard_s = self._process.clock.now_s
        kind = message[0]
        if kind == "reply":
            self._answered(*message[1:])
        elif kind == "event":
            _, aspect, path, change = message
            for function in self._watches.pop((aspect, path), []):
                function(WatchedEvent(change, self.client_state, path))
        elif kind == "connected":
            self._joined(message[1])
        elif kind == "expired":
            self._expired()

    def _joined(self, session_id: int) -> None:
        self.session_id = session_id
        self._is_live = True
        self._turn(KazooState.CONNECTED, KeeperState.CONNECTED)
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        self._ping()
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            self._send(*request)

    def _expired(self) -> None:
        self.session_id = 0
        self._turn(KazooState.LOST, KeeperState.EXPIRED_SESSION)
        waiting, self._waiting = self._waiting, []
        self._fail(waiting, kazoo_errors.SessionExpiredError())
        if self._stream is not None:
            self._stream.send(("connect", 0, self._process.name))

    def forget_session(self) -> None:
        """Take the session for lost and open another, while the server keeps the old one for its time."""
        if self._is_live:
            self._is_live = False
            self._fail(list(self._asked.values()), kazoo_errors.SessionExpiredError())
            self._asked.clear()
            self._turn(KazooState.SUSPENDED, KeeperState.CONNECTING)
            self._watches.clear()
            stream, self._stream = self._stream, None
            if stream is not None:
                stream.close()
            self.session_id = 0
            self._turn(KazooState.LOST, KeeperState.EXPIRED_SESSION)
            self._connect()

    def _turn(self, state: str, client_state: str) -> None:
        self.client_state = client_state
        if state != self._state:
            self._state = state
            self._listener(state)

    def _fail(self, requests: list[tuple[Any, Result, Any]], error: Exception) -> None:
        for _, result, _ in requests:
            result.set(None, error)

    # ---- requests

    def _ask(self, kind: str, path: str, arguments: Any = None, watch: Any = None) -> Result:
        result = Result()
        request = (kind, path, arguments)
        if self._is_live:
            self._send(request, result, watch)
        else:
            self._waiting.append((request, result, watch))
        return result

    def _send(self, request: Any, result: Result, watch: Any) -> None:
        self._number += 1
        self._asked[self._number] = (request, result, watch)
        kind, path, arguments = request
        assert self._stream is not None
        self._stream.send((kind, self._number, path, arguments, watch is not None))

    def _answered(self, number: int, value: Any, error: Exception | None) -> None:
        request, result, watch = self._asked.pop(number)
        if watch is not None and error is None:
            aspect = "children" if request[0] == "children" else "data"
            self._watches[aspect, request[1]].append(watch)
        result.set(value, error)

    def get_async(self, path: str, watch: Any = None) -> Result:
        """Read a znode."""
        return self._ask("get", path, watch=watch)

    def exists_async(self, path: str, watch: Any = None) -> Result:
        """Ask whether a znode exists."""
        return self._ask("exists", path, watch=watch)

    def get_children_async(self, path: str, watch: Any = None) -> Result:
        """Read the names of the children."""
        return self._ask("children", path, watch=watch)

    def create_async(
        self, path: str, data: bytes, *, ephemeral: bool, sequence: bool, makepath: bool
    ) -> Result:
        """Make a znode."""
        return self._ask("create", path, (data, ephemeral, sequence, makepath))

    def set_async(self, path: str, data: bytes, version: int = -1) -> Result:
        """Write a znode."""
        return self._ask("set", path, (data, version))

    def delete_async(self, path: str) -> Result:
        """Delete a znode."""
        return self._ask("delete", path)

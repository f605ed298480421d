"""The part of a session that never blocks, and its life.

Two rules carry the bridge between threads:

* kazoo's threads call nobody: whatever they learn is posted to the owner's thread, in the order learned.
* Nothing here but `start` and `close` blocks. Answers come in the owner's thread.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from registry import paths
from registry.address import check_url, normal_url
from registry.channel import PLAIN, ChannelSettings
from registry.delivery import DeliveryThread, Post
from registry.errors import InvalidRecord, RegistryError, RegistryUnavailable
from registry.kazoo_channel import channel_error, wants_tls
from registry.kazoo_edge import (
    DIGEST_USER,
    FAILURES,
    Node,
    SessionState,
    converted,
    credentials,
    make_client,
    node_of,
    own_access,
    session_state,
    watch_function,
)
from registry.password import ToldPassword, parse_told
from registry.revival import Revival
from registry.watches import NodeEvent, NodeWatch, OnValue, Reader, TreeWatch, Watch

T = TypeVar("T")

StateListener = Callable[[SessionState], None]

SetTimer = Callable[[float, Callable[[], None]], object]

ClientFactory = Callable[[str, str | None, float], Any]
"""Given url, password and session timeout in seconds."""

CHANNEL_POLL_S = 0.05
"""How often it is looked whether the servers are there but not to be trusted."""

DOUBT_AFTER_S = 1.0
"""When a server that does not answer is asked whether it wants TLS, once."""

log = logging.getLogger(__name__)


class NonblockingSession:
    """A session that comes back by itself, until it is closed."""

    def __init__(
        self,
        url: str,
        password: str | None,
        *,
        session_timeout_s: float = 4.0,
        operation_timeout_s: float = 10.0,
        post: Post | None = None,
        set_timer: SetTimer | None = None,
        client_factory: ClientFactory | None = None,
        channel: ChannelSettings = PLAIN,
    ) -> None:
        """Make it; nothing is connected before `start`. Once closed it stays closed.

        Args:
            url: ``host:port[,host:port…][/path]``.
            password: Of the ensemble; None or empty for a registry without access control.
            session_timeout_s: How long ZooKeeper waits for a silent owner; the server has limits of its own.
            operation_timeout_s: Longest time a blocking method takes.
            post: Takes callbacks to the owner's thread, ``reactor.callFromThread`` in a reactor's process.
                By default they run in a thread of the session's own.
            set_timer: Runs a function in the owner's thread after some seconds, called in that thread:
                ``reactor.callLater`` is one. By default each timer is a thread.
            client_factory: Makes what speaks to ZooKeeper; tests and simulation have another than kazoo.
            channel: How connections are secured.
        """
        self.url = normal_url(url)
        self._password = password or None
        self._session_timeout_s = session_timeout_s
        self._operation_timeout_s = operation_timeout_s
        self._delivery = None if post else DeliveryThread("registry-callbacks")
        self._post: Post = post or self._delivery_thread().post
        self._set_timer: SetTimer = set_timer or self._set_thread_timer
        self.channel = channel
        self._make_client = client_factory or partial(make_client, channel=channel)
        self._client: Any = None
        self._revival: Revival | None = None
        self._state = SessionState.LOST
        self._session_id = 0
        self._session_password = b""
        self._connected = threading.Event()
        self._closed = False
        self._lock = threading.Lock()  # for the two collections below, and the password
        self._listeners: list[StateListener] = []
        self._watches: dict[NodeWatch[Any], None] = {}  # armed again in the order made

    def _delivery_thread(self) -> DeliveryThread:
        assert self._delivery is not None
        return self._delivery

    # Life

    def start(self, timeout_s: float = 10.0) -> None:
        """Connect. Blocks.

        Raises:
            RegistryUnavailable: no server answered within `timeout_s`, or the url is not an address.
            ChannelNotSecured: the servers are there, but the connection is not as safe as it is to be.
            LoginFailed: they do not take the login.
        """
        self._client = self._make_client(self.url, self._password, self._session_timeout_s)
        self._client.add_listener(self._on_kazoo_state)
        revival = self._revival = Revival(self._client, self.url)
        if self._delivery:
            self._delivery.start()
        if error := self._first_connection(self._client, timeout_s):
            self._client = self._revival = None
            # An attempt to connect that is under way ends after the session timeout; nobody has to wait for
            # that.
            threading.Thread(target=revival.dispose, name="registry-dispose", daemon=True).start()
            self.close()
            if revival.error is not None:
                error = type(error)(f"{error} The last attempt ended with: {revival.error!r}.")
            raise error

    def _first_connection(self, client: Any, timeout_s: float) -> RegistryError | None:  # noqa: ANN401 - kazoo's
        """Wait for it; return why there is none."""
        live = client.start_async()
        begun_s = time.monotonic()
        deadline_s = begun_s + timeout_s
        doubtful_s = begun_s + min(DOUBT_AFTER_S, timeout_s)
        poll_s = DOUBT_AFTER_S if self.channel == PLAIN else CHANNEL_POLL_S
        while not live.wait(min(poll_s, max(deadline_s - time.monotonic(), 0.0))):
            if error := channel_error(client):
                return error
            if not self.channel.tls and time.monotonic() >= doubtful_s:
                doubtful_s = float("inf")
                if error := wants_tls(client, self.url):
                    return error
            if time.monotonic() >= deadline_s:
                return RegistryUnavailable(
                    f"ZooKeeper at {self.url} did not answer within {timeout_s:g} s. "
                    "Check that it runs there and that the address is right."
                )
        return None

    def close(self) -> None:
        """End the session; its ephemeral znodes go at once. No callback follows. Blocks for the answer."""
        self._closed = True
        self._client = None
        revival, self._revival = self._revival, None
        if revival is not None:
            revival.dispose()
        self._connected.clear()
        self._state = SessionState.LOST
        if self._delivery:
            self._delivery.close()

    def move_to(self, url: str) -> None:
        """Look for a server among these from the next connection on; the one there is stays. From any thread.

        Raises:
            RegistryUnavailable: `url` is not an address.
        """
        client = self._client
        try:
            url = check_url(url)
            if client is not None:
                client.set_hosts(url)
        except (ValueError, FAILURES[0]) as error:
            raise RegistryUnavailable(f"{url!r} is not an address of this ensemble.") from error
        self.url = url

    @property
    def password(self) -> str:
        """Of the ensemble, as it is to be used now; empty for a registry without access control."""
        return self._password or ""

    def adopt(self, told: ToldPassword) -> None:
        """Prove the passwords told of, and give to them what is made, from the next request on.

        The session stays. Blocks nobody; from any thread.
        """
        client = self._client
        if client is None:
            return
        with self._lock:
            known = client.auth_data
            proofs = {credentials(password) for password in told.passwords}
            others = {one for one in known if not one[1].startswith(f"{DIGEST_USER}:")}
            self._password = told.password
            client.default_acl = own_access(*told.passwords)
            client.auth_data = proofs | others  # another set: kazoo's thread may be reading the one before
        for proof in proofs - known:
            client.add_auth_async(*proof)  # ZooKeeper reads it before all that is asked later

    def follow_password(self, on_taken: Callable[[ToldPassword], None] = lambda told: None) -> Watch:
        """Adopt the ensemble's password whenever it is changed, from now on.

        Args:
            on_taken: Called in the owner's thread after each time, and now if it was ever changed.
        """

        def changed(data: bytes | None) -> None:
            if data is None:
                return
            try:
                told = parse_told(data)
            except InvalidRecord as error:
                log.error("%s", error)
                return
            self.adopt(told)
            on_taken(told)

        return self.watch_data(paths.ensemble_password(), changed)

    @property
    def state(self) -> SessionState:
        """As known this moment, which may be earlier than what listeners have been told."""
        return self._state

    @property
    def session_id(self) -> int:
        """Of the current session, or of the last one."""
        return self._session_id

    @property
    def session_password(self) -> bytes:
        """Opens this session to whoever has it: keep it where only the owner can read."""
        return self._session_password

    def add_state_listener(self, listener: StateListener) -> None:
        """Tell `listener` each new state, in the owner's thread. CONNECTED after LOST is a new session."""
        with self._lock:
            self._listeners.append(listener)

    def remove_state_listener(self, listener: StateListener) -> None:
        """Call `listener` no more."""
        with self._lock, contextlib.suppress(ValueError):
            self._listeners.remove(listener)

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` in the owner's thread, later; not at all once the session is closed."""
        self._post(lambda: None if self._closed else call())

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Run `call` after `delay_s` seconds. In the owner's thread, as is `call`."""
        self._set_timer(delay_s, lambda: None if self._closed else call())

    def _set_thread_timer(self, delay_s: float, call: Callable[[], None]) -> None:
        timer = threading.Timer(delay_s, self.post, (call,))
        timer.daemon = True
        timer.start()

    def _on_kazoo_state(self, kazoo_state: str) -> None:
        """Note a new state. In kazoo's connection thread."""
        state = session_state(kazoo_state)
        client, revival = self._client, self._revival
        if client is None or revival is None or self._closed:
            return
        if state is SessionState.CONNECTED:
            revival.connected()
            self._session_id, self._session_password = client.client_id
            self._state = state
            self._connected.set()
        else:
            self._connected.clear()
            self._state = state
        self.post(lambda: self._tell_state(state))

    def _tell_state(self, state: SessionState) -> None:
        level = logging.INFO if state is SessionState.CONNECTED else logging.WARNING
        log.log(level, "ZooKeeper at %s: session 0x%x %s", self.url, self._session_id, state.value)
        with self._lock:
            watches = list(self._watches) if state is SessionState.CONNECTED else []
            listeners = list(self._listeners)
        for listener in listeners:
            listener(state)
        for watch in watches:
            watch.arm_afresh()

    # Reading and writing

    def get_later(
        self, path: str, done: OnValue[Node], on_event: Callable[[NodeEvent], None] | None = None
    ) -> None:
        """Read a znode; `done` gets it or the error. `on_event` hears of the next change, once."""
        watch = self._posted_watch(on_event)
        self._later(path, lambda client: client.get_async(path, watch), node_of, done)

    def exists_later(
        self, path: str, done: OnValue[bool], on_event: Callable[[NodeEvent], None] | None = None
    ) -> None:
        """Ask whether a znode exists; `on_event` hears of its next creation, change or deletion, once."""
        watch = self._posted_watch(on_event)
        self._later(
            path, lambda client: client.exists_async(path, watch), lambda stat: stat is not None, done
        )

    def children_later(
        self, path: str, done: OnValue[list[str]], on_event: Callable[[NodeEvent], None] | None = None
    ) -> None:
        """Read the names of the children, sorted; `on_event` hears of the next change, once."""
        watch = self._posted_watch(on_event)
        self._later(path, lambda client: client.get_children_async(path, watch), sorted, done)

    def create_later(
        self,
        path: str,
        data: bytes,
        done: OnValue[str],
        *,
        ephemeral: bool = False,
        sequential: bool = False,
    ) -> None:
        """Make a znode and its parents; `done` gets its path. After `RegistryUnavailable` it may exist."""

        def begin(client: Any) -> Any:  # noqa: ANN401 - kazoo is not typed
            return client.create_async(path, data, ephemeral=ephemeral, sequence=sequential, makepath=True)

        self._later(path, begin, str, done)

    def set_later(self, path: str, data: bytes, done: OnValue[None]) -> None:
        """Write a znode's data."""
        self._later(path, lambda client: client.set_async(path, data), lambda _: None, done)

    def delete_later(self, path: str, done: OnValue[None]) -> None:
        """Delete a znode without children."""
        self._later(path, lambda client: client.delete_async(path), lambda _: None, done)

    def _later(
        self, path: str, begin: Callable[[Any], Any], convert: Callable[[Any], T], done: OnValue[T]
    ) -> None:
        if (client := self._client) is None:
            error = RegistryUnavailable(f"The session with ZooKeeper at {self.url} is not open.")
            self.post(lambda: done(error))
            return

        def on_result(result: Any) -> None:  # noqa: ANN401 - kazoo is not typed
            answer: T | RegistryError
            try:
                answer = convert(result.get_nowait())
            except FAILURES as failure:
                answer = converted(failure, self.url, path)
            self.post(lambda: done(answer))

        begin(client).rawlink(on_result)

    def _posted_watch(self, on_event: Callable[[NodeEvent], None] | None) -> Callable[[Any], None] | None:
        if on_event is None:
            return None
        listener = on_event
        return watch_function(lambda event: self.post(lambda: listener(event)))

    # Watches

    def watch_data(self, path: str, deliver: Callable[[bytes | None], None]) -> Watch:
        """Deliver a znode's data at once and after each change, None while it does not exist.

        Changes that come together may be delivered as one. During an outage nothing is delivered; after it,
        the value of then, changed or not. Called in the owner's thread. All this holds for the other watches.
        """

        def read(path: str, done: OnValue[bytes | None], on_event: Callable[[NodeEvent], None]) -> None:
            self.get_later(path, lambda node: done(node.data if isinstance(node, Node) else node), on_event)

        absent: bytes | None = None
        return self._watch(path, read, absent, deliver)

    def watch_children(self, path: str, deliver: Callable[[list[str]], None]) -> Watch:
        """Deliver the sorted names of the children at once and after each change; none if it is missing."""
        absent: list[str] = []
        return self._watch(path, self.children_later, absent, deliver)

    def watch_tree(self, path: str, on_change: Callable[[], None]) -> TreeWatch:
        """Call when `path` and all below it have been read, and after changes, once for several at a time."""
        return TreeWatch(self, path, on_change)

    def _watch(self, path: str, read: Reader[T], absent: T, deliver: Callable[[T], None]) -> NodeWatch[T]:
        watch = NodeWatch[T](
            path,
            read=read,
            await_creation=self.exists_later,
            absent=absent,
            deliver=deliver,
            call_later=self.call_later,
            on_cancel=self._forget_watch,
        )
        with self._lock:
            self._watches[watch] = None
        self.post(watch.arm)
        return watch

    def _forget_watch(self, watch: NodeWatch[Any]) -> None:
        with self._lock:
            self._watches.pop(watch, None)

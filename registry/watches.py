"""Watches that stay: re-armed after each event, after each lost connection and after each lost session.

ZooKeeper's own watches fire once and die with the connection. Everything here runs in the owner's thread; the
only calls from elsewhere are the constructor and `cancel`.
"""

import logging
from collections.abc import Callable
from enum import Enum
from typing import Generic, Protocol, TypeVar

from registry.errors import NoSuchNode, RegistryError, RegistryUnavailable

log = logging.getLogger(__name__)

REFUSED_RETRY_DELAY_S = 1.0
"""After an answer that asking again at once would not change, such as a missing permission."""

T = TypeVar("T")

OnValue = Callable[[T | RegistryError], None]
"""Given the value asked for, or why there is none."""


class NodeEvent(Enum):
    """What a one-time watch reports."""

    CHANGED = "changed"  # created, data set, or children came or went
    DELETED = "deleted"


Reader = Callable[[str, OnValue[T], Callable[[NodeEvent], None]], None]
"""Reads a path: gives the value; leaves a one-time watch if the znode exists. Both in the owner's thread."""


class Watch(Protocol):
    """Something that goes on until it is cancelled."""

    def cancel(self) -> None:
        """Deliver nothing more. From any thread; in the owner's thread it holds from this moment on."""
        ...


class NodeWatch(Generic[T]):
    """Delivers a value that lies in one znode: at first at once, then each time it has changed.

    A deletion is delivered as `absent` without asking back, since a failover waits for it.
    """

    def __init__(
        self,
        path: str,
        *,
        read: Reader[T],
        await_creation: Reader[bool],
        absent: T,
        deliver: Callable[[T], None],
        call_later: Callable[[float, Callable[[], None]], None],
        on_cancel: Callable[["NodeWatch[T]"], None],
    ) -> None:
        """Make it; nothing happens before `arm`.

        Args:
            path: The znode; it need not exist.
            read: Reads the value.
            await_creation: Reads whether the znode exists, leaving a watch either way.
            absent: The value of a znode that does not exist.
            deliver: Called in the owner's thread.
            call_later: Runs a function in the owner's thread after some seconds.
            on_cancel: Called once, in the canceller's thread.
        """
        self._path = path
        self._read = read
        self._await_creation = await_creation
        self._absent = absent
        self._deliver = deliver
        self._call_later = call_later
        self._on_cancel = on_cancel
        self._round = 0  # events and answers of earlier rounds are out of date
        self._delivered: list[T] = []  # nothing, or the last value
        self._cancelled = False
        self._complained = False

    def arm(self) -> None:
        """Read now, and watch."""
        if self._cancelled:
            return
        self._round += 1
        number = self._round
        self._read(
            self._path,
            lambda value: self._on_value(number, value),
            lambda event: self._on_event(number, event),
        )

    def arm_afresh(self) -> None:
        """Arm after a reconnection, which ended the old watch, and deliver even what has not changed.

        Whoever composes watches learns by that when all of them are up to date again.
        """
        self._delivered = []
        self.arm()

    def cancel(self) -> None:
        """Deliver nothing more."""
        if not self._cancelled:
            self._cancelled = True
            self._on_cancel(self)

    def _on_event(self, number: int, event: NodeEvent) -> None:
        if number != self._round:
            return
        if event is NodeEvent.DELETED:
            self._offer(self._absent)
        self.arm()

    def _on_value(self, number: int, value: T | RegistryError) -> None:
        if number != self._round or self._cancelled:
            return
        if isinstance(value, NoSuchNode):
            self._offer(self._absent)
            if not self._cancelled:
                self._await_creation(
                    self._path,
                    lambda exists: self.arm() if exists is True and number == self._round else None,
                    lambda event: self._on_event(number, event),
                )
        elif isinstance(value, RegistryUnavailable):
            pass  # armed again when the session is back
        elif isinstance(value, RegistryError):
            if not self._complained:
                self._complained = True
                log.warning("Cannot watch %s: %s", self._path, value)
            self._call_later(REFUSED_RETRY_DELAY_S, lambda: self.arm() if number == self._round else None)
        else:
            self._complained = False
            self._offer(value)

    def _offer(self, value: T) -> None:
        if not self._cancelled and self._delivered != [value]:
            self._delivered = [value]
            self._deliver(value)


class WatchingSession(Protocol):
    """The part of a session that composed watches need."""

    def watch_data(self, path: str, deliver: Callable[[bytes | None], None]) -> Watch:
        """Watch a znode's data."""
        ...

    def watch_children(self, path: str, deliver: Callable[[list[str]], None]) -> Watch:
        """Watch the names of a znode's children."""
        ...

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` in the owner's thread, later."""
        ...


class TreeWatch:
    """Says that something at or below a path has changed, once for changes that come together.

    What was read last can be asked for without asking ZooKeeper again. Costs two ZooKeeper watches per znode:
    persistent recursive ones (ZooKeeper 3.6) would cost one in all, but kazoo 2.11 cannot ask for them.
    """

    def __init__(self, session: WatchingSession, path: str, on_change: Callable[[], None]) -> None:
        self._session = session
        self._on_change = on_change
        self._watches: dict[str, tuple[Watch, Watch]] = {}
        self._data: dict[str, bytes] = {}
        self._names: dict[str, list[str]] = {}
        self._unread: set[tuple[str, str]] = set()
        self._posted = False
        self._cancelled = False
        session.post(lambda: self._add(path))

    def data(self, path: str) -> bytes | None:
        """A znode's data as read last, None if there is no such znode. In the owner's thread."""
        return self._data.get(path)

    def names(self, path: str) -> list[str]:
        """The sorted names of a znode's children as read last. In the owner's thread."""
        return list(self._names.get(path, ()))

    def cancel(self) -> None:
        """Deliver nothing more."""
        self._cancelled = True
        self._session.post(self._cancel_all)

    def _cancel_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.cancel()
        self._watches.clear()

    def _add(self, path: str) -> None:
        if self._cancelled:
            return
        self._unread |= {(path, "data"), (path, "children")}
        self._watches[path] = (
            self._session.watch_data(path, lambda data: self._on_data(path, data)),
            self._session.watch_children(path, lambda names: self._on_children(path, names)),
        )

    def _on_data(self, path: str, data: bytes | None) -> None:
        if data is None:
            self._data.pop(path, None)
        else:
            self._data[path] = data
        self._read(path, "data")

    def _on_children(self, path: str, names: list[str]) -> None:
        self._names[path] = names
        prefix = path.rstrip("/") + "/"
        present = {prefix + name for name in names}
        for gone in [p for p in self._watches if p.startswith(prefix) and not _is_in(p, prefix, present)]:
            for watch in self._watches.pop(gone):
                watch.cancel()
            self._data.pop(gone, None)
            self._names.pop(gone, None)
            self._unread -= {(gone, "data"), (gone, "children")}
        for new in sorted(present - self._watches.keys()):
            self._add(new)
        self._read(path, "children")

    def _read(self, path: str, aspect: str) -> None:
        self._unread.discard((path, aspect))
        if not self._unread and not self._posted:
            self._posted = True
            self._session.post(self._report)

    def _report(self) -> None:
        self._posted = False
        if not self._cancelled and not self._unread:
            self._on_change()


def _is_in(path: str, prefix: str, children: set[str]) -> bool:
    """Whether `path`, which begins with `prefix`, is one of `children` or below one."""
    return prefix + path[len(prefix) :].partition("/")[0] in children

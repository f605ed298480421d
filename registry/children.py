"""The records of a znode's children, kept current."""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from registry.errors import InvalidRecord
from registry.kazoo_edge import SessionState
from registry.nonblocking import NonblockingSession
from registry.watches import Watch

log = logging.getLogger(__name__)

T = TypeVar("T")


class ChildrenView(Generic[T]):
    """Reads all children of a znode and watches them. Everything happens in the owner's thread.

    A child's deletion is known as soon as its own watch fires, without asking for the list again.
    """

    def __init__(
        self,
        session: NonblockingSession,
        path: str,
        parse: Callable[[str, bytes], T],
        on_change: Callable[["ChildrenView[T]"], None],
    ) -> None:
        """Make it; nothing is read before `start`.

        Args:
            session: Whose owner's thread is used.
            path: The parent; it need not exist.
            parse: Makes a record of a child's name and data; a child it calls invalid is logged and left out.
            on_change: Called with this view after every change of `values`, `unread` or `complete`.
        """
        self._session = session
        self._path = path
        self._parse = parse
        self._on_change = on_change
        self._list_watch: Watch | None = None
        self._watches: dict[str, Watch] = {}
        self._values: dict[str, T] = {}
        self._unread: set[str] = set()
        self._listed = False
        self._cancelled = False

    @property
    def values(self) -> Mapping[str, T]:
        """Records by the child's name."""
        return MappingProxyType(self._values)

    @property
    def unread(self) -> frozenset[str]:
        """Names of children not yet read since the connection was made; older values stand till then."""
        return frozenset(self._unread)

    @property
    def listed(self) -> bool:
        """Whether the list of names has been read since the connection was made."""
        return self._listed

    @property
    def complete(self) -> bool:
        """Whether the list and all children have been read since the connection was made."""
        return self._listed and not self._unread

    def start(self) -> None:
        """Begin to read. Calls nothing before it returns."""
        self._session.add_state_listener(self._on_state)
        self._list_watch = self._session.watch_children(self._path, self._on_names)

    def cancel(self) -> None:
        """Watch and call no more. In the owner's thread."""
        self._cancelled = True
        self._session.remove_state_listener(self._on_state)
        for watch in (self._list_watch, *self._watches.values()):
            if watch is not None:
                watch.cancel()
        self._watches.clear()

    def _on_state(self, state: SessionState) -> None:
        if state is not SessionState.CONNECTED:
            self._listed = False
            self._unread = set(self._watches)
            self._changed()

    def _on_names(self, names: list[str]) -> None:
        for gone in self._watches.keys() - set(names):
            self._drop(gone)
        for new in [name for name in names if name not in self._watches]:
            self._unread.add(new)
            self._watches[new] = self._watch_child(new)
        self._listed = True
        self._changed()

    def _watch_child(self, name: str) -> Watch:
        return self._session.watch_data(f"{self._path}/{name}", lambda data: self._on_data(name, data))

    def _on_data(self, name: str, data: bytes | None) -> None:
        if data is None:
            # Its watch stays until the list lacks the name: a child of the same name may come at once.
            self._unread.discard(name)
            self._values.pop(name, None)
        else:
            self._unread.discard(name)
            try:
                self._values[name] = self._parse(name, data)
            except InvalidRecord as error:
                log.warning("%s/%s is ignored: %s", self._path, name, error)
                self._values.pop(name, None)
        self._changed()

    def _drop(self, name: str) -> None:
        self._unread.discard(name)
        self._values.pop(name, None)
        if watch := self._watches.pop(name, None):
            watch.cancel()

    def _changed(self) -> None:
        if not self._cancelled:
            self._on_change(self)

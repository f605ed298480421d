"""A registry in memory: what the stores and commands need of `registry.session.Session`, without ZooKeeper.

`tests/contract/fabric_profiles` holds it to the same promises as the real one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from registry.channel import PLAIN
from registry.errors import NodeExists, NodeNotEmpty, NoSuchNode, RegistryError, VersionConflict
from registry.session import Node, SessionState


@dataclass
class _Znode:
    data: bytes = b""
    version: int = 0
    ephemeral: bool = False
    children: dict[str, _Znode] = field(default_factory=dict)
    sequence: int = 0


class MemoryWatch:
    """A watch that is told by hand: `MemorySession` calls all of them after each change."""

    def __init__(
        self, session: MemorySession, watches: list[MemoryWatch], notify: Callable[[], None]
    ) -> None:
        self._session = session
        self._watches = watches
        self.notify = notify
        watches.append(self)

    def data(self, path: str) -> bytes | None:
        """A znode's data."""
        node = self._session.get_or_none(path)
        return None if node is None else node.data

    def names(self, path: str) -> list[str]:
        """The sorted names of a znode's children."""
        return self._session.children(path) if self._session.exists(path) else []

    def cancel(self) -> None:
        """Never call again."""
        self._watches.remove(self)


class MemorySession:
    """A tree of znodes. `before_write` lets a test act as somebody else just before a write."""

    url = "memory:2181"
    channel = PLAIN
    session_id = 1
    state = SessionState.CONNECTED

    def __init__(self) -> None:
        self._root = _Znode()
        self._watches: list[MemoryWatch] = []
        self.before_write: Callable[[str], None] = lambda path: None

    def start(self, timeout_s: float = 10.0) -> None:
        """Nothing to connect to."""

    def close(self) -> None:
        """Nothing to end."""

    def _find(self, path: str) -> _Znode:
        node = self._root
        for name in path.strip("/").split("/") if path != "/" else []:
            if name not in node.children:
                raise NoSuchNode(f"There is no znode {path}.")
            node = node.children[name]
        return node

    def get(self, path: str) -> Node:
        """Read a znode."""
        node = self._find(path)
        return Node(
            data=node.data,
            version=node.version,
            ephemeral_owner=1 if node.ephemeral else 0,
            czxid=0,
            mzxid=0,
            ctime_ms=0,
            mtime_ms=0,
            children_count=len(node.children),
        )

    def get_or_none(self, path: str) -> Node | None:
        """Read a znode, None when it does not exist."""
        try:
            return self.get(path)
        except NoSuchNode:
            return None

    def exists(self, path: str) -> bool:
        """Whether the znode exists."""
        return self.get_or_none(path) is not None

    def children(self, path: str) -> list[str]:
        """Read the names of a znode's children, sorted."""
        return sorted(self._find(path).children)

    def set(self, path: str, data: bytes, version: int = -1) -> None:
        """Write a znode's data, if `version` is its version or -1."""
        self.before_write(path)
        node = self._find(path)
        if version not in (-1, node.version):
            raise VersionConflict(f"The znode {path} was changed.")
        node.data = data
        node.version += 1
        self._changed()

    def put(self, path: str, data: bytes) -> None:
        """Write a znode's data; make it and its parents if they are missing."""
        if self.exists(path):
            self.set(path, data)
        else:
            self.create(path, data)

    def create(
        self,
        path: str,
        data: bytes = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        make_parents: bool = True,
    ) -> str:
        """Make a znode."""
        self.before_write(path)
        parent_path, _, name = path.rpartition("/")
        parent = self._root
        for step in parent_path.strip("/").split("/") if parent_path else []:
            if step not in parent.children:
                if not make_parents:
                    raise NoSuchNode(f"There is no znode {parent_path}.")
                parent.children[step] = _Znode()
            parent = parent.children[step]
        if sequential:
            name = f"{name}{parent.sequence:010}"
        parent.sequence += 1
        if name in parent.children:
            raise NodeExists(f"The znode {path} exists.")
        parent.children[name] = _Znode(data, ephemeral=ephemeral)
        self._changed()
        return f"{parent_path}/{name}"

    def delete(self, path: str, *, recursive: bool = False, missing_ok: bool = False) -> None:
        """Delete a znode, with everything below it if `recursive`."""
        self.before_write(path)
        parent_path, _, name = path.rpartition("/")
        try:
            node = self._find(path)
        except NoSuchNode:
            if missing_ok:
                return
            raise
        if node.children and not recursive:
            raise NodeNotEmpty(f"The znode {path} has children.")
        del self._find(parent_path or "/").children[name]
        self._changed()

    def put_json(self, path: str, value: object) -> None:
        """Write a znode's data as JSON."""
        self.put(path, json.dumps(value).encode())

    def watch_tree(self, path: str, on_change: Callable[[], None]) -> MemoryWatch:
        """Call now, and after every change anywhere."""
        watch = MemoryWatch(self, self._watches, on_change)
        on_change()
        return watch

    def watch_children(self, path: str, on_change: Callable[[list[str]], None]) -> MemoryWatch:
        """Call now, and after every change anywhere, with the children's names."""

        def notify() -> None:
            on_change(self.children(path) if self.exists(path) else [])

        watch = MemoryWatch(self, self._watches, notify)
        notify()
        return watch

    def watch_data(self, path: str, on_change: Callable[[bytes | None], None]) -> MemoryWatch:
        """Call now, and after every change anywhere, with the data; None if the znode does not exist."""

        def notify() -> None:
            node = self.get_or_none(path)
            on_change(None if node is None else node.data)

        watch = MemoryWatch(self, self._watches, notify)
        notify()
        return watch

    def get_later(self, path: str, done: Callable[[Node | RegistryError], None]) -> None:
        """Read a znode; `done` gets it or the error, at once."""
        try:
            found: Node | RegistryError = self.get(path)
        except NoSuchNode as error:
            found = error
        done(found)

    def add_state_listener(self, listener: object) -> None:
        """The state never changes."""

    def remove_state_listener(self, listener: object) -> None:
        """The state never changes."""

    def _changed(self) -> None:
        for watch in list(self._watches):
            watch.notify()

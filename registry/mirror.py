"""Znodes in memory, kept current by watches, and read like a session: for whoever reads often.

What was read last is what is found, also while ZooKeeper is away. Everything happens in the owner's thread.
"""

from collections.abc import Callable, Sequence
from functools import partial

from registry.errors import NoSuchNode
from registry.kazoo_edge import Node
from registry.nonblocking import NonblockingSession
from registry.watches import TreeWatch


class Mirror:
    """All znodes at and below some paths.

    Attributes:
        complete: whether all of them have been read once.
        revision: counts the changes.
    """

    def __init__(
        self, session: NonblockingSession, roots: Sequence[str], on_change: Callable[[], None]
    ) -> None:
        """Begin to read.

        Args:
            session: Where they are.
            roots: The paths; none of them lies below another one.
            on_change: Called after each change, once they have all been read.
        """
        self.complete = False
        self.revision = 0
        self._on_change = on_change
        self._unread = set(roots)
        self._trees: dict[str, TreeWatch] = {}
        for root in roots:
            self._trees[root] = session.watch_tree(root, partial(self._changed, root))

    def cancel(self) -> None:
        """Follow them no longer."""
        for tree in self._trees.values():
            tree.cancel()

    def get_or_none(self, path: str) -> Node | None:
        """A znode, of which only the data is meant; None if it does not exist.

        A session's `Node` has more; here all of it but the data is 0.
        """
        for root, tree in self._trees.items():
            if path == root or path.startswith(f"{root}/"):
                data = tree.data(path)
                return None if data is None else Node(data, 0, 0, 0, 0, 0, 0, 0)
        raise AssertionError(f"{path} is not mirrored")

    def exists(self, path: str) -> bool:
        """Whether the znode exists."""
        return self.get_or_none(path) is not None

    def children(self, path: str) -> list[str]:
        """The sorted names of a znode's children.

        Raises:
            NoSuchNode: it does not exist.
        """
        if not self.exists(path):
            raise NoSuchNode(f"There is no znode {path}.")
        return next(tree.names(path) for root, tree in self._trees.items() if path.startswith(root))

    def _changed(self, root: str) -> None:
        self._unread.discard(root)
        self.complete = not self._unread
        self.revision += 1
        if self.complete:
            self._on_change()

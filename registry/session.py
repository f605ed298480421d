"""A typed ZooKeeper session.

Methods that block may be called from any thread but an event loop's; in a reactor's process, from a worker
thread. Methods that end in ``_later`` and the watches, inherited, never block.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from registry import paths
from registry.address import path_of
from registry.dead_session import close_dead_session
from registry.errors import (
    AuthenticationFailed,
    InvalidRecord,
    NodeExists,
    NodeNotEmpty,
    NoPermission,
    NoSuchNode,
    RegistryError,
    RegistryUnavailable,
)
from registry.kazoo_channel import channel_error
from registry.kazoo_edge import (
    FAILURES,
    REPEATABLE,
    Node,
    SessionState,
    access_for,
    converted,
    is_own,
    make_path,
    node_of,
)
from registry.nonblocking import NonblockingSession
from registry.password import ToldPassword, parse_told

__all__ = ["Node", "Session", "SessionState", "close_dead_session"]

GIVE_BATCH = 200
"""Of how many znodes the access lists are changed without waiting in between."""

ZOOKEEPERS_OWN = "/zookeeper"
"""What the server keeps for itself, below the root of the whole ensemble."""

DATA_BYTES_MAX = 1_000_000
"""ZooKeeper ends the connection over a request above 1 MiB (``jute.maxbuffer``) instead of answering it."""


class Session(NonblockingSession):
    """A session with everything."""

    def start(self, timeout_s: float = 10.0) -> None:
        """Connect and check the password. Blocks.

        Raises:
            RegistryUnavailable: no server answered within `timeout_s`, or the url is not an address.
            AuthenticationFailed: a fabric exists there, and its password is another one.
            LoginFailed: the servers do not take the login by SASL, or ask for one.
            ChannelNotSecured: the servers are there, but the connection is not as safe as it is to be.
        """
        super().start(timeout_s)
        try:
            self.get_or_none(paths.ROOT)
            if (told := self.told_password()) is not None:
                self.adopt(told)
        except NoPermission as error:
            self.close()
            if self._password:
                raise AuthenticationFailed(f"The password for ZooKeeper at {self.url} is wrong.") from error
            raise AuthenticationFailed(f"ZooKeeper at {self.url} asks for a password.") from error
        except RegistryError:
            self.close()
            raise

    def like(self, url: str) -> Session:
        """Return a session of the same user with other servers, to be started."""
        return Session(url, self._password, session_timeout_s=self._session_timeout_s, channel=self.channel)

    def make_root(self) -> None:
        """Make the path that the address ends in, if it has one and it is not there. Blocks.

        Raises:
            NoPermission: the ensemble does not let us.
        """
        if (path := path_of(self.url)) and not self.exists("/"):
            ensemble = self.url.partition("/")[0]
            make_path(ensemble, path, self._password, self._operation_timeout_s, self.channel)

    def follow_ensemble(self) -> None:
        """Look for servers that join the ensemble, too, from now on. Blocks nobody."""
        given, slash, root = self.url.partition("/")

        def moved(data: bytes | None) -> None:
            told, _, told_root = (data or b"").decode(errors="replace").partition("/")
            if told and told_root == root:
                hosts = dict.fromkeys([*told.split(","), *given.split(",")])
                self.move_to(",".join(hosts) + slash + root)

        self.watch_data(paths.ensemble_url(), moved)

    # Reading and writing, blocking

    def get(self, path: str) -> Node:
        """Read a znode.

        Raises:
            NoSuchNode: it does not exist.
            NoPermission: its access list does not admit this session.
            RegistryUnavailable: no server answered within the operation timeout. So for all methods below.
        """
        return node_of(self._call(path, lambda client: client.get_async(path)))

    def get_or_none(self, path: str) -> Node | None:
        """Read a znode, None when it does not exist."""
        try:
            return self.get(path)
        except NoSuchNode:
            return None

    def exists(self, path: str) -> bool:
        """Whether the znode exists. Needs no permission on it."""
        return self._call(path, lambda client: client.exists_async(path)) is not None

    def children(self, path: str) -> list[str]:
        """Read the names of a znode's children, sorted.

        Raises:
            NoSuchNode: it does not exist.
        """
        return sorted(self._call(path, lambda client: client.get_children_async(path)))

    def set(self, path: str, data: bytes, version: int = -1) -> None:
        """Write a znode's data, if `version` is its version or -1.

        Raises:
            NoSuchNode: it does not exist.
            VersionConflict: it has another version.
            InvalidRecord: above `DATA_BYTES_MAX`.
        """
        _check_size(path, data)
        # With a version, a repetition after a lost reply would find its own work and call it a conflict.
        self._call(path, lambda client: client.set_async(path, data, version), repeat=version == -1)

    def put(self, path: str, data: bytes) -> None:
        """Write a znode's data; make it and its parents if they are missing."""
        while True:
            try:
                self.set(path, data)
            except NoSuchNode:
                try:
                    self.create(path, data)
                except NodeExists:
                    continue
            return

    def create(
        self,
        path: str,
        data: bytes = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        make_parents: bool = True,
    ) -> str:
        """Make a znode, readable and writable with the ensemble's password only.

        A lost reply is made good by asking again, except for a sequential znode: then the outcome is unknown.

        Returns:
            Its path, with the number ZooKeeper gave it if `sequential`.

        Raises:
            NodeExists: it exists and is not what this call may have made.
            NoSuchNode: its parent does not exist, and `make_parents` is false; or there is not even the path
                that the address ends in: that one `make_root` makes, not a slip of the pen.
        """
        _check_size(path, data)
        if make_parents and (root := path_of(self.url)) and not self.exists("/"):
            raise NoSuchNode(f"There is no path {root} in the ensemble {self.url.partition('/')[0]}.")
        attempts = 0

        def begin(client: Any) -> Any:  # noqa: ANN401 - kazoo is not typed
            nonlocal attempts
            attempts += 1
            return client.create_async(
                path, data, ephemeral=ephemeral, sequence=sequential, makepath=make_parents
            )

        try:
            return str(self._call(path, begin, repeat=not sequential))
        except NodeExists:
            if attempts > 1 and (node := self.get_or_none(path)) and node.data == data:
                owner = self._session_id if ephemeral else 0
                if node.ephemeral_owner == owner:
                    return path
            raise

    def delete(self, path: str, *, recursive: bool = False, missing_ok: bool = False) -> None:
        """Delete a znode, with everything below it if `recursive`.

        Raises:
            NoSuchNode: it does not exist, and `missing_ok` is false.
            NodeNotEmpty: it has children, and `recursive` is false.
        """
        attempts = 0

        def begin(client: Any) -> Any:  # noqa: ANN401 - kazoo is not typed
            nonlocal attempts
            attempts += 1
            return client.delete_async(path)

        while True:
            try:
                if recursive:
                    for name in self.children(path):
                        self.delete(f"{path.rstrip('/')}/{name}", recursive=True, missing_ok=True)
                self._call(path, begin)
            except NodeNotEmpty:
                if recursive:
                    continue  # somebody has just added a child
                raise
            except NoSuchNode:
                if not missing_ok and attempts < 2:
                    raise
            return

    def told_password(self) -> ToldPassword | None:
        """Read what the registry says of the ensemble's password; None if it says nothing one can read."""
        node = self.get_or_none(paths.ensemble_password())
        with contextlib.suppress(InvalidRecord):
            return parse_told(node.data) if node else None
        return None

    def give_tree(self, passwords: Sequence[str], report: Callable[[int], None] = lambda count: None) -> int:
        """Give the fabric's znodes to these passwords of the ensemble, and to no other ones of it.

        That is all that lies at and below `/fabric`; and if the root of what this session sees is the
        ensemble's password's, everything except ZooKeeper's own. It goes from the top down: who does not know
        a password can make nothing below a znode that is given already.

        Args:
            passwords: Of the ensemble.
            report: Called with the number of znodes so far.

        Returns:
            How many of them had another access list.

        Raises:
            NoPermission: one of them does not let this session do so.
        """
        pending, count, changed = ["/"], 0, 0
        while pending:
            batch, pending = pending[-GIVE_BATCH:], pending[:-GIVE_BATCH]
            given, newly = self._give(batch, passwords)
            count += len(given)
            changed += newly
            pending += self._below(given)
            if batch == ["/"] and not given:
                pending.append(paths.ROOT)
            report(count)
        return changed

    def _give(self, batch: list[str], passwords: Sequence[str]) -> tuple[list[str], int]:
        """Give znodes to the passwords; return those that are, and how many were not before.

        The root may be somebody else's, and is left so.
        """
        answers = self._call_all(batch, lambda client, path: client.get_acls_async(path))
        lists = {path: answer[0] for path, answer in zip(batch, answers, strict=True) if answer is not None}
        given = {path: access for path, access in lists.items() if path != "/" or is_own(access)}
        wanted = {path: access_for(access, passwords) for path, access in given.items()}
        changed = [path for path, access in given.items() if set(access) != set(wanted[path])]
        self._call_all(changed, lambda client, path: client.set_acls_async(path, wanted[path]))
        return list(given), len(changed)

    def _below(self, parents: list[str]) -> list[str]:
        answers = self._call_all(parents, lambda client, path: client.get_children_async(path))
        found = [
            f"{parent.rstrip('/')}/{name}"
            for parent, names in zip(parents, answers, strict=True)
            for name in names or ()
        ]
        return [path for path in found if path != ZOOKEEPERS_OWN]

    def protect(self, path: str) -> None:
        """Give a znode that was there before us, such as ZooKeeper's root, to the ensemble's password alone.

        Raises:
            NoPermission: its access list does not let this session do so.
        """
        if self._password:
            self._call(path, lambda client: client.set_acls_async(path, client.default_acl))

    def get_json(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Read a znode that holds JSON.

        Raises:
            NoSuchNode: it does not exist.
            InvalidRecord: its content is not JSON.
        """
        try:
            return json.loads(self.get(path).data)
        except (ValueError, RecursionError) as error:
            raise InvalidRecord(f"{path} does not hold JSON: {error}") from error

    def put_json(self, path: str, value: Any) -> None:  # noqa: ANN401 - JSON
        """Write a znode's data as JSON; make it and its parents if they are missing."""
        self.put(path, json.dumps(value, ensure_ascii=False).encode())

    # kazoo is not typed.
    def _call(self, path: str, begin: Callable[[Any], Any], *, repeat: bool = True) -> Any:  # noqa: ANN401
        """Wait for a request, and repeat it while its reply gets lost, if that does no harm."""
        deadline = time.monotonic() + self._operation_timeout_s
        while True:
            if (client := self._client) is None:
                raise RegistryUnavailable(f"The session with ZooKeeper at {self.url} is not open.")
            try:
                return begin(client).get(timeout=max(deadline - time.monotonic(), 0.0))
            except REPEATABLE as error:
                if trouble := channel_error(client):
                    raise trouble from error
                if not repeat or not self._connected.wait(deadline - time.monotonic()):
                    raise converted(error, self.url, path) from error
            except FAILURES as error:
                raise converted(error, self.url, path) from error

    # kazoo is not typed.
    def _call_all(self, chosen: Sequence[str], begin: Callable[[Any, str], Any]) -> list[Any]:
        """Make a request for each path without waiting in between; None for what is not there."""
        client = self._client
        begun = {path: begin(client, path) for path in chosen} if client is not None else {}
        return [self._outcome(path, begun, begin) for path in chosen]

    # As above.
    def _outcome(self, path: str, begun: dict[str, Any], begin: Callable[[Any, str], Any]) -> Any:  # noqa: ANN401
        def next_attempt(client: Any) -> Any:  # noqa: ANN401 - kazoo is not typed
            return begun.pop(path) if path in begun else begin(client, path)

        try:
            return self._call(path, next_attempt)
        except NoSuchNode:
            return None


def _check_size(path: str, data: bytes) -> None:
    if len(data) > DATA_BYTES_MAX:
        raise InvalidRecord(
            f"{path}: {len(data)} bytes are above the limit of {DATA_BYTES_MAX} for one znode."
        )

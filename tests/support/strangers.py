"""What somebody who does not know the ensemble's password can do in a registry."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import OPEN_ACL_UNSAFE
from support.fabric import FabricForTests


@contextlib.contextmanager
def stranger(url: str, password: str | None) -> Iterator[KazooClient]:
    """A session of somebody who does not know the password."""
    client = KazooClient(url, auth_data=[("digest", f"fabric:{password}")] if password else None)
    client.start(timeout=30)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def tree(fabric: FabricForTests) -> list[str]:
    """All znodes but ZooKeeper's own, seen with the password."""
    with fabric.registry() as session:
        found, pending = [], ["/"]
        while pending:
            path = pending.pop()
            found.append(path)
            below = [f"{path.rstrip('/')}/{name}" for name in session.children(path)]
            pending += [one for one in below if one != "/zookeeper"]
    return found


def openings(url: str, password: str | None, paths: Iterable[str]) -> list[str]:
    """Try everything with each znode as a stranger; return what was possible."""
    opened = []
    with stranger(url, password) as client:
        attempts: dict[str, Callable[[str], Any]] = {
            "read": client.get,
            "listed": client.get_children,
            "written": lambda path: client.set(path, b"x"),
            "given away": lambda path: client.set_acls(path, OPEN_ACL_UNSAFE),
            "deleted": client.delete,
            "added to": lambda path: client.create(f"{path.rstrip('/')}/stranger", b"x"),
        }
        for path in paths:
            for what, attempt in attempts.items():
                if path == "/" and what == "deleted":
                    continue  # ZooKeeper deletes its root for nobody
                try:
                    attempt(path)
                except NoAuthError:
                    continue
                except Exception as error:  # noqa: BLE001 - every other answer is an opening
                    opened.append(f"{path} {what}: {error!r}")
                else:
                    opened.append(f"{path} can be {what}")
    return opened

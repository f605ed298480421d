"""Nobody without the ensemble's password sees or changes anything in the registry of a used fabric."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import OPEN_ACL_UNSAFE
from support.fabric import FabricForTests

from registry import paths

pytestmark = pytest.mark.integration

BROKER = "guarded"


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric with a pair of brokers, users, tokens, requirements, versions, secrets, and a takeover."""
    fabric = FabricForTests(tmp_path_factory.mktemp("acl"))
    try:
        fabric.create()
        fabric.run("mq-create", "--group", "default", "--networks-password", "other", BROKER)
        fabric.run("container-create-child", "--profile", f"mq-broker-default.{BROKER}", "root", "pair", "2")
        fabric.wait_master(BROKER, slaves=1)
        fabric.run("user-add", "ann", "--password", "ann-password", "--role", "operator")
        fabric.run("token-create", "--role", "operator", "ann", "test")
        fabric.run("version-create")
        fabric.run("encrypt-message", "-p", "correct horse battery", "secret")
        fabric.run("profile-edit", "--system", "a=b", "default")
        fabric.run("require-profile-set", "--minimum", "1", "default")
        fabric.run("zk-create", "/fabric/configs/mine", "data")
        yield fabric
    finally:
        fabric.end()


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
    """All znodes, seen with the password."""
    with fabric.registry() as session:
        found, pending = [], ["/"]
        while pending:
            path = pending.pop()
            found.append(path)
            pending += [f"{path.rstrip('/')}/{name}" for name in session.children(path)]
    return found


@pytest.mark.parametrize("password", [None, "wrong-password"])
def test_a_stranger_can_do_nothing_with_any_znode(fabric: FabricForTests, password: str | None) -> None:
    """Without a password, and with a wrong one: no data, no list, no change, nothing new, nothing deleted."""
    all_paths = tree(fabric)
    for expected in (
        paths.user("ann"),
        paths.audit(),
        paths.crypt_salt(),
        paths.requirements(),
        paths.amq_group("default"),
        "/fabric/configs/mine",
    ):
        assert expected in all_paths
    assert any(path.startswith(paths.tokens() + "/") for path in all_paths)
    assert any(path.startswith(paths.history() + "/") for path in all_paths)
    own = [path for path in all_paths if path != "/zookeeper" and not path.startswith("/zookeeper/")]
    assert len(own) > 100
    opened = []
    with stranger(fabric.home.read_registry_address().zookeeper_url, password) as client:
        attempts: dict[str, Callable[[str], Any]] = {
            "read": client.get,
            "listed": client.get_children,
            "written": lambda path: client.set(path, b"x"),
            "given away": lambda path: client.set_acls(path, OPEN_ACL_UNSAFE),
            "deleted": client.delete,
            "added to": lambda path: client.create(f"{path.rstrip('/')}/stranger", b"x"),
        }
        for path in own:
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
    assert opened == []
    assert tree(fabric)

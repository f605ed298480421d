"""Nobody without the ensemble's password sees or changes anything in the registry of a used fabric."""

from collections.abc import Iterator

import pytest
from support.fabric import FabricForTests
from support.strangers import openings, tree

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
    assert len(all_paths) > 100
    url = fabric.home.read_registry_address().zookeeper_url
    assert openings(url, password, all_paths) == []
    assert tree(fabric)

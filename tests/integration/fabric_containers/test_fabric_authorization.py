"""Authorization of a broker's destinations, changed in its profile while clients are connected."""

from collections.abc import Iterator

import pytest
from support.fabric import FabricForTests
from support.openwire_peer import OpenWirePeer, Refused
from support.waiting import wait_until

pytestmark = pytest.mark.integration

BROKER = "guarded"
CONTAINER = "guarding"
PROFILE = f"mq-broker-default.{BROKER}"
PID = f"io.fabric8.mq.fabric.server-{BROKER}"


@pytest.fixture
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric with one broker in a container of its own, and a user without roles."""
    fabric = FabricForTests(tmp_path_factory.mktemp("roles"))
    try:
        fabric.create("--profile=fabric")
        fabric.add_user("clerk", "clerks")
        fabric.run("mq-create", "--kind", "StandAlone", "--group", "default", BROKER)
        fabric.run("container-create-child", "--profile", PROFILE, "root", CONTAINER)
        fabric.wait_master(BROKER, slaves=0)
        yield fabric
    finally:
        fabric.end()


def test_a_change_in_the_profile_counts_without_a_restart(fabric: FabricForTests) -> None:
    """Lines that are added and taken away count within seconds; connections that may stay are not touched."""
    port = int(fabric.broker(BROKER)["services"][0].rpartition(":")[2])
    log = fabric.home.container(CONTAINER).log

    def edit(*arguments: str, changes: int) -> None:
        fabric.run("profile-edit", *arguments, PROFILE)
        changed = f"Broker {BROKER}: the authorization has changed"
        wait_until(
            lambda: log.read_text("utf-8").count(changed) == changes, 15, lambda: log.read_text("utf-8")
        )

    with (
        OpenWirePeer(port, "ID:clerk-1-1:1") as clerk,
        OpenWirePeer(port, "ID:admin-1-1:1") as admin,
    ):
        clerk.log_in("clerk", "clerk")
        admin.log_in()
        clerk.send("orders", "before", 1)
        edit("--pid", f"{PID}/authorization.queue.orders.read=clerks", changes=1)
        with pytest.raises(Refused, match="SecurityException: User clerk is not authorized to write to"):
            clerk.send("orders", "refused", 2)
        clerk.consume("orders")
        assert clerk.next_text() == "before"
        admin.send("orders", "from above", 1)
        assert clerk.next_text() == "from above"
        edit("--delete", "--pid", f"{PID}/authorization.queue.orders.read", changes=2)
        clerk.send("other", "after", 3)
    assert log.read_text("utf-8").count("has started.") == 1

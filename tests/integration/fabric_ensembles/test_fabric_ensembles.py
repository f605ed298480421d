"""The fabric's own ensemble: it grows and shrinks while messages flow, and what is refused."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fabric import FabricForTests
from support.flow import Flow
from support.waiting import wait_until

from fabric.ensemble_health import look_at

pytestmark = pytest.mark.integration

DELAY_MAX_S = 1.0
"""What a message may be late."""


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A root container with a broker pair and one more container."""
    made = FabricForTests(tmp_path_factory.mktemp("ensembles") / "home")
    try:
        made.create("--profile=fabric")
        made.run("mq-create", "shop", "--connectors=openwire")
        for name in ("east", "west"):
            made.run("container-create-child", "--profile=mq-broker-default.shop", "root", name)
        made.run("container-create-child", "root", "north", "2")
        made.wait_master("shop", slaves=1)
        for name in ("east", "west", "north", "north2"):
            made.wait_provisioned(name)
        yield made
    finally:
        made.end()


def _modes(url: str) -> list[str]:
    return sorted(server.mode or server.problem for server in look_at(url))


def _url(fabric: FabricForTests) -> str:
    return str(fabric.home.read_registry_address().zookeeper_url)


def test_ensemble_grows_and_shrinks_while_messages_flow(fabric: FabricForTests) -> None:
    """From one server to three to five, to three others, and to one: no message is lost or held up."""
    flow = Flow(fabric)
    sessions = {name: fabric.home.container(name).read_session() for name in ("root", "east", "west")}
    with flow.flowing():
        said = fabric.run("ensemble-add", "--force", "east", "west")
        assert said.strip() == f"Updated Zookeeper connection string: {_url(fabric)}"
        assert _modes(_url(fabric)) == ["follower", "follower", "leader"]
        fabric.run("ensemble-add", "--force", "north", "north2")
        assert len(_url(fabric).split(",")) == 5
        fabric.run("ensemble-remove", "--force", "root", "east")
        assert fabric.run("ensemble-list").split() == ["[id]", "west", "north", "north2"]
        assert not fabric.home.zookeeper.exists()
        fabric.run("ensemble-create", "--force", "root")
        assert _modes(_url(fabric)) == ["leader"]
    assert flow.received_s.keys() == flow.sent_s.keys()
    print(f"{len(flow.sent_s)} messages, the latest after {flow.delay_s:.3f} s")
    assert flow.delay_s < DELAY_MAX_S
    for name in ("root", "east", "west", "north", "north2"):
        fabric.wait_provisioned(name)
    assert fabric.run("ensemble-list").split() == ["[id]", "root"]
    assert sessions == {name: fabric.home.container(name).read_session() for name in sessions}


def test_lost_majority_is_told_and_comes_back(fabric: FabricForTests) -> None:
    """Without a majority nothing can be changed, which is said; with one again everything is as it was."""
    fabric.run("ensemble-create", "--force", "root", "east", "west")
    settings = [fabric.home.container(name).read_managed_zookeeper() for name in ("east", "west")]
    pids = [int((Path(one.data_directory) / "server.pid").read_text()) for one in settings if one]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        said = fabric.run("ensemble-remove", "--force", "east", "west", code=1)
        assert "The ensemble has no quorum: 0 of its 3 servers serve" in said
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: _modes(_url(fabric)) == ["follower", "follower", "leader"], 60)
    fabric.run("ensemble-create", "--force", "root")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ensemble-add", "nobody", "west"), "nobody"),
        (("ensemble-add", "west"), "An ensemble of 2 servers survives no more failures than one of 1."),
        (("ensemble-add", "root", "west"), "Container root is a member of the ensemble already."),
        (("ensemble-add", "west", "west"), "Container west is named twice."),
        (("ensemble-remove", "west"), "Container west is not a member of the ensemble."),
        (("ensemble-remove", "root"), "The last server of the ensemble cannot be removed"),
    ],
)
def test_what_makes_no_sense_is_refused(
    fabric: FabricForTests, arguments: tuple[str, ...], said: str
) -> None:
    """What cannot be is said before anything is changed or asked."""
    before = _url(fabric)
    assert said in fabric.run(*arguments, code=1)
    assert _url(fabric) == before


def test_container_that_is_down_is_refused(fabric: FabricForTests) -> None:
    """A container that is not connected cannot run a server; what to type is said."""
    fabric.run("container-stop", "north2")
    said = fabric.run("ensemble-add", "--force", "north", "north2", code=1)
    assert "Container north2 is not connected." in said
    assert "fabric container-start north2" in said
    fabric.run("container-start", "north2")


def test_server_that_does_not_come_up_is_undone(fabric: FabricForTests) -> None:
    """In the time given it did not follow: the ensemble is as it was, and the container runs no server."""
    north = fabric.pid("north")
    os.kill(north, signal.SIGSTOP)
    try:
        said = fabric.run("ensemble-add", "-f", "--migration-timeout=1000", "east", "north", code=1)
    finally:
        os.kill(north, signal.SIGCONT)
    assert "The ensemble is as it was" in said
    assert _modes(_url(fabric)) == ["leader"]
    wait_until(lambda: fabric.home.container("east").read_managed_zookeeper() is None, 30)
    wait_until(lambda: fabric.home.container("north").read_managed_zookeeper() is None, 30)


def test_summary_shows_each_server(fabric: FabricForTests) -> None:
    """Where the ensemble is, who runs it, and who leads."""
    record = json.loads(fabric.execute("ensemble-summary", "--output=json").stdout)
    assert record["containers"] == ["root"]
    assert [server["mode"] for server in record["servers"]] == ["leader"]
    assert record["sasl"] == "enabled"
    assert f"Ensemble URL: {record['url']}" in fabric.run("ensemble-summary")

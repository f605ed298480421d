"""An ensemble of three with TLS while its password is changed, and while agents die in a renewal.

Fault model: an agent is killed before its server has the turn, while that is away, and when it is back.
"""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from support.ensembles import Watchman, Writer, all_show, log_of, server_states
from support.fabric import FabricForTests
from support.flow import Flow
from support.strangers import openings, tree
from support.waiting import wait_until

from registry import paths
from registry.quorum import parse_servers
from registry.session import Session

pytestmark = pytest.mark.integration

NAMES = ("root", "east", "west")
DELAY_MAX_S = 5.0
"""What a message may be late while several commands are started beside it."""


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """Three containers with a server each, two of them with a broker."""
    made = FabricForTests(tmp_path_factory.mktemp("faults") / "home")
    try:
        made.create("--zookeeper-tls", "--profile=fabric")
        made.run("mq-create", "shop", "--connectors=openwire")
        for name in NAMES[1:]:
            made.run("container-create-child", "--profile=mq-broker-default.shop", "root", name)
        made.run("ensemble-add", "--force", *NAMES[1:])
        made.wait_master("shop", slaves=1)
        for name in NAMES:
            made.wait_provisioned(name)
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def ports(fabric: FabricForTests) -> dict[str, int]:
    """Where each container's server is reached on this host without TLS."""
    states = server_states(fabric, NAMES)
    return {name: parse_servers(state.server).popitem()[1].client_port for name, state in states.items()}


def test_the_password_is_changed_while_all_write_and_serve(
    fabric: FabricForTests, ports: dict[str, int]
) -> None:
    """Nobody loses a session, a message or a mastership, and the earlier password opens nothing."""
    sessions = {name: fabric.home.container(name).read_session() for name in NAMES}
    master = fabric.broker("shop")["masters"]
    flow = Flow(fabric)
    with flow.flowing(), Writer(fabric) as writer:
        said = fabric.run("ensemble-password", "other-secret")
        assert "The new one is used by: east, root, west." in said
        assert "is not accepted any more" in fabric.run("ensemble-password", "--commit")
    assert not writer.problems
    assert flow.received_s.keys() == flow.sent_s.keys()
    assert flow.delay_s < DELAY_MAX_S
    assert sessions == {name: fabric.home.container(name).read_session() for name in NAMES}
    assert fabric.broker("shop")["masters"] == master
    assert openings(f"127.0.0.1:{ports['root']}", "admin", tree(fabric)) == []


class Killer:
    """Sees whose turn it is, and kills one agent in each step of a renewal."""

    def __init__(self, fabric: FabricForTests, ports: dict[str, int], watchman: Watchman) -> None:
        self._fabric = fabric
        self._ports = ports
        self._watchman = watchman
        self._was_away = ""
        self._starting: list[subprocess.Popen[str]] = []
        self.killed: dict[str, str] = {}
        password = fabric.home.read_registry_address().zookeeper_password
        self._session = Session(",".join(f"127.0.0.1:{port}" for port in ports.values()), password)
        self._session.start()

    def close(self) -> None:
        """Look no longer."""
        self._session.close()
        for command in self._starting:
            command.wait(60)

    def look(self) -> bool:
        """Kill whom it is time for; returns whether no server is to be restarted."""
        turn, waiting = self._turn(), self._waiting()
        if before := waiting - {turn, "root"}:  # who knows the new authority only needs the root's agent
            self._kill("before it has the turn", min(before))
        if turn and not self._watchman.is_up(self._ports[turn]):
            self._was_away = turn
            self._kill("while its server is away", turn)
        elif turn and turn == self._was_away and turn not in self.killed.values():
            self._kill("when its server is back", turn)
        return not turn and not waiting

    def _turn(self) -> str:
        node = self._session.get_or_none(paths.ensemble_restart_turn())
        return "" if node is None else node.data.decode()

    def _waiting(self) -> set[str]:
        parent = paths.ensemble_restarts_waiting()
        return set(self._session.children(parent)) if self._session.exists(parent) else set()

    def _kill(self, step: str, name: str) -> None:
        if step not in self.killed:
            self.killed[step] = name
            os.kill(self._fabric.pid(name), signal.SIGKILL)
            if name == "root":  # a child's process is started again by its parent
                command = self._fabric.start("container-start", "root", output=subprocess.DEVNULL)
                self._starting.append(command)


def test_agents_are_killed_at_each_step_of_a_renewal(fabric: FabricForTests, ports: dict[str, int]) -> None:
    """One server is away at a time, the turn goes on, and nobody is left waiting; with another authority."""
    addresses = {name: state.url for name, state in server_states(fabric, NAMES).items()}
    have_all = all_show(fabric, addresses)
    with Watchman(list(ports.values())) as watchman:
        killer = Killer(fabric, ports, watchman)
        fabric.run("certificate-create", "--new-authority")
        wait_until(lambda: killer.look() and have_all(), 180, fabric.logs)
        killer.close()
    assert len(killer.killed) == 3, killer.killed
    assert watchman.away_max == 1
    assert watchman.were_away == set(ports.values())
    restarts = [what for _, what in log_of(fabric, *NAMES) if what.startswith("is restarted")]
    assert len(restarts) == len(NAMES)
    for name in NAMES:
        fabric.wait_provisioned(name)
    fabric.wait_master("shop", slaves=1)
    verdicts = fabric.json("doctor", "--only", "certificate")
    assert {one["state"] for one in verdicts} == {"ok"}, verdicts

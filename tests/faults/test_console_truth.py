"""What is held against the console: nothing of what is right, and everything that is planted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from faults import console
from faults.lab import BROKER, GROUP, Lab
from faults.plan import HOLD_S, Kind, Round

MASTER, SLAVE = "broker1", "broker2"


def container(host: str, *, connected: bool = True, status: str = "success") -> dict[str, Any]:
    """A row of containers."""
    return {"id": f"{host}-keeper", "connected": connected, "provision_status": status}


def finding(name: str, severity: str = "problem") -> dict[str, Any]:
    """Something that the console says is wrong."""
    return {"id": name, "severity": severity}


@dataclass
class ToldLab:
    """A lab that is nothing but what its console and its registry say.

    Attributes:
        masters, slaves: containers, as the console shows them.
        members: masters and slaves, as the registry has them.
    """

    masters: list[str]
    slaves: list[str]
    members: tuple[list[str], list[str]] = (["broker1-keeper"], ["broker2-keeper"])
    containers: list[dict[str, Any]] = field(default_factory=lambda: [container(MASTER), container(SLAVE)])
    findings: list[dict[str, Any]] = field(default_factory=list)
    queues: list[dict[str, Any]] = field(default_factory=list)

    def ask_console(self, path: str) -> object:
        """What its API answers."""
        row = {"group": GROUP, "name": BROKER, "masters": self.masters, "slaves": self.slaves}
        answers: Mapping[str, object] = {
            "/brokers": [{**row, "name": "another"}, row],
            "/containers": [
                {"id": "root", "connected": True, "provision_status": "success"},
                *self.containers,
            ],
            "/health": {"findings": self.findings},
        }
        return answers.get(path, {"items": self.queues})

    def fabric(self, *words: str) -> str:
        """What `cluster-list` answers."""
        assert words[0] == "cluster-list"
        masters, slaves = self.members
        return json.dumps([{"id": BROKER, "masters": masters, "slaves": slaves}])


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing changes here, so nothing is waited for."""
    monkeypatch.setattr(console, "MEANWHILE_S", 0.0)
    monkeypatch.setattr(console, "AFTERWARDS_S", 0.0)


def whole(**planted: Any) -> ToldLab:
    """A lab in which all is well, but for what is planted."""
    return ToldLab(**{"masters": ["broker1-keeper"], "slaves": ["broker2-keeper"], **planted})


def meanwhile(lab: ToldLab, kind: Kind, hold_s: float = 0.0) -> list[str]:
    """What is untrue while a fault lasts."""
    one = Round(1, kind, hold_s or HOLD_S[kind])
    return console.untrue_meanwhile(cast(Lab, lab), one, MASTER, SLAVE)


DOWN = finding(f"container-down:{MASTER}-keeper")
MOVED: dict[str, Any] = {
    "masters": ["broker2-keeper"],
    "slaves": [],
    "containers": [container(MASTER, connected=False), container(SLAVE)],
    "findings": [DOWN, finding("broker-no-slave:faults/keeper", "warning")],
}


def test_what_is_shown_while_a_fault_lasts_may_be_right() -> None:
    """Who took over, and that the other is gone; or that nothing has changed but a ZooKeeper."""
    assert meanwhile(whole(**MOVED), Kind.PAUSE) == []
    assert meanwhile(whole(), Kind.CLIENTS) == []
    assert meanwhile(whole(findings=[finding("zookeeper-quorum")]), Kind.QUORUM) == []


@pytest.mark.parametrize(
    ("kind", "planted"),
    [
        (Kind.PAUSE, {"masters": ["broker1-keeper"], "slaves": ["broker2-keeper"]}),
        (Kind.PAUSE, {"masters": ["broker1-keeper", "broker2-keeper"]}),
        (Kind.PAUSE, {"masters": []}),
        (Kind.PAUSE, {"containers": [container(MASTER), container(SLAVE)]}),
        (Kind.PAUSE, {"findings": []}),
        (Kind.CLIENTS, {}),
        (Kind.STORE, {}),
    ],
    ids=["not moved", "two masters", "no master", "still connected", "nothing said", "moved", "not gone"],
)
def test_what_is_planted_while_a_fault_lasts_is_found(kind: Kind, planted: dict[str, Any]) -> None:
    """A console that shows the state before the fault, or another one, is not true."""
    (told,) = meanwhile(whole(**{**MOVED, **planted}), kind)
    assert "the console shows" in told


def test_a_lost_zookeeper_is_to_be_told() -> None:
    """The state of brokers is the same; who looks has to know that it may be old."""
    assert meanwhile(whole(), Kind.QUORUM)
    assert meanwhile(whole(), Kind.ONE_ZOOKEEPER)


def test_what_nobody_can_have_noticed_is_not_asked_for() -> None:
    """A host that is paused for a second; a line that is bad."""
    assert meanwhile(whole(), Kind.PAUSE, 1.0) == []
    assert meanwhile(whole(), Kind.LINE) == []


@pytest.mark.parametrize(
    ("planted", "is_true"),
    [
        ({}, True),
        ({"findings": [finding("clocks", "warning"), finding("broker-silent", "note")]}, True),
        ({"findings": [DOWN]}, False),
        ({"masters": ["broker2-keeper"], "slaves": ["broker1-keeper"]}, False),
        ({"slaves": []}, False),
        ({"containers": [container(MASTER, connected=False), container(SLAVE)]}, False),
        ({"containers": [container(MASTER, status="error"), container(SLAVE)]}, False),
        ({"containers": [container(MASTER)]}, False),
    ],
)
def test_what_is_shown_when_all_is_well(planted: dict[str, Any], is_true: bool) -> None:
    """It shows what the registry holds, everybody there, and nothing wrong."""
    assert (console.untrue_afterwards(cast(Lab, whole(**planted))) == []) == is_true


def test_queues_that_were_read_to_their_end_are_shown_empty() -> None:
    """And they are shown at all."""
    empty, full = {"name": "recorded.1", "size": 0}, {"name": "recorded.2", "size": 3}
    assert console.untrue_queues(cast(Lab, whole(queues=[empty]))) == []
    (told,) = console.untrue_queues(cast(Lab, whole(queues=[empty, full])))
    assert told == "the console shows 3 messages in recorded.2"
    assert console.untrue_queues(cast(Lab, whole()))

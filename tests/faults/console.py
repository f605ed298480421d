"""What the console says, held against what is so: while a fault lasts, and when it is over.

What is so is known from elsewhere: who acknowledges from the clients, who is a member from the registry, and
what a fault takes away from the fault.
"""

from collections.abc import Callable
from dataclasses import dataclass

from faults.hosts import CommandFailed
from faults.lab import BROKER, BROKERS, GROUP, Lab, host_of, roles
from faults.plan import PROMISES, Round
from support.waiting import wait_until

MEANWHILE_S = 15.0
"""How long the console may lag: it looks at figures and ZooKeeper's servers every five seconds."""
AFTERWARDS_S = 60.0
BESIDES = ("clocks", "container-incomplete:root")
"""What may be said when all is well: a clock that was wrong is told for a minute more; and the console is
not encrypted here."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the console shows.

    Attributes:
        masters, slaves: hosts whose broker is one.
        connected: hosts whose container has a session with the registry.
        provisioned: hosts whose container is what its profiles ask for.
        wrong: what it says is wrong in the fabric; notes are left out.
    """

    masters: tuple[str, ...]
    slaves: tuple[str, ...]
    connected: frozenset[str]
    provisioned: frozenset[str]
    wrong: frozenset[str]


def look(lab: Lab) -> Shown:
    """Ask its API."""
    brokers = [row for row in lab.ask_console("/brokers") if (row["group"], row["name"]) == (GROUP, BROKER)]
    containers = [row for row in lab.ask_console("/containers") if row["id"].startswith(BROKERS)]
    findings = lab.ask_console("/health")["findings"]
    return Shown(
        tuple(host_of(name) for row in brokers for name in row["masters"]),
        tuple(host_of(name) for row in brokers for name in row["slaves"]),
        frozenset(host_of(row["id"]) for row in containers if row["connected"]),
        frozenset(host_of(row["id"]) for row in containers if row["provision_status"] == "success"),
        frozenset(finding["id"] for finding in findings if finding["severity"] != "note"),
    )


def untrue_meanwhile(lab: Lab, one: Round, master: str, slave: str) -> list[str]:
    """What the console shows wrong while a fault lasts; nothing is asked of it if nobody can have noticed.

    Args:
        lab: The hosts.
        one: The fault.
        master: The host it is done to, which was master.
        slave: The other one.
    """
    if not one.is_noticed or one.moves is None:
        return []
    promised = PROMISES[one.kind]
    serving = slave if one.moves else master

    def agrees(shown: Shown) -> bool:
        said = not promised.said or any(each.startswith(promised.said) for each in shown.wrong)
        is_gone = master not in shown.connected
        return shown.masters == (serving,) and is_gone == promised.is_gone and said

    state = "without a session" if promised.is_gone else "with one"
    truth = f"{serving} acknowledges, the container of {master} is {state}"
    return _disagreement(lab, agrees, MEANWHILE_S, f"{truth}, and it should say: {promised.said or '-'}")


def untrue_afterwards(lab: Lab) -> list[str]:
    """What the console shows wrong when all is well again: who is what, and that nothing is wrong."""
    masters, slaves = (tuple(host_of(name) for name in names) for names in roles(lab))

    def agrees(shown: Shown) -> bool:
        return (
            (shown.masters, shown.slaves) == (masters, slaves)
            and shown.connected == shown.provisioned == frozenset(BROKERS)
            and not [each for each in shown.wrong if not each.startswith(BESIDES)]
        )

    truth = f"masters {masters}, slaves {slaves}, and nothing is wrong"
    return _disagreement(lab, agrees, AFTERWARDS_S, truth)


def untrue_queues(lab: Lab) -> list[str]:
    """What the console shows wrong of queues that clients have read to their end."""
    found = lab.ask_console(f"/brokers/{GROUP}/{BROKER}/queues?filter=recorded.>")["items"]
    told = [f"the console shows {each['size']} messages in {each['name']}" for each in found if each["size"]]
    return told if found else ["the console shows none of the queues"]


def _disagreement(lab: Lab, agrees: Callable[[Shown], bool], timeout_s: float, truth: str) -> list[str]:
    shown: Shown | str = ""

    def is_so() -> bool:
        nonlocal shown
        try:
            shown = look(lab)
        except CommandFailed as failure:
            shown = str(failure)
            return False
        return agrees(shown)

    try:
        wait_until(is_so, timeout_s)
    except AssertionError:
        return [f"the console shows {shown}; it is so: {truth}"]
    return []

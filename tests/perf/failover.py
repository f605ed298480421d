"""How long clients wait when a master dies, stops or freezes, or ZooKeeper is away: ``./dev bench failover``.

Everything is real: the fabric's own commands set up containers in processes, brokers on one store and a
ZooKeeper; a producer sends every 5 ms through `discovery:`, a consumer counts. The longest gap between two
acknowledged sends is measured per round, and what was lost or stored twice. A process beside them, which only
writes and syncs, tells how long the machine itself stood still meanwhile.
The figures are printed, never asserted.
"""

import argparse
import dataclasses
import json
import logging
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from perf import backlog, ending
from perf.ledger import Findings
from perf.machine_watch import MachineWatch
from perf.process_facts import bytes_on_disk, memory
from perf.statistics_of_runs import machine, percentile, table
from perf.traffic import Traffic
from support.waiting import wait_until
from support.zookeeper import free_port

from fabric.create import end_fabric
from fabric.home import Home
from fabric.lab import CommandFailed, Commands
from mqclient import ConnectionFactory
from registry.server import ZooKeeperServer, find_zookeeper

BROKER = "benchbroker"
GROUP = "bench"
PROFILE = f"mq-broker-{GROUP}.{BROKER}"
PASSWORD = "bench-secret"

SEND_INTERVAL_S = 0.005
WARM_SENDS = 100
SENDS_AFTER_FAULT = 60
RECOVERY_TIMEOUT_S = 90.0
ZOOKEEPER_OUTAGE_S = 20.0
QUIET_S = 3.0
QUIET_AS_LONG_S = 27.0
"""With `--as-long`: as a round of ZooKeeper's outage, to compare with that."""
MEBIBYTE = 1024 * 1024
BACKLOG_BYTES_PER_MESSAGE = 4 * 1024
"""Of free disk: three times what it takes, since the store may hold as much again that is dead."""
#: Longer than the session timeout of 4 s and the takeover, shorter than the agent's patience of 10 s more.
FREEZE_S = 8.0


def say(text: str) -> None:
    """Tell whoever waits; only the figures go to standard output."""
    print(text, file=sys.stderr)


class Rig:
    """A fabric with a pair of brokers, its own ZooKeeper and a folder that is removed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.moved = 0
        self.backlog = 0
        self.quiet_s = QUIET_S
        self.commands = Commands(folder / "home", os.environ)
        self.zookeeper = ZooKeeperServer(find_zookeeper(), folder / "zookeeper", free_port())

    def start(self) -> None:
        """Set up by the walk-through's commands, on a ZooKeeper that the benchmark can kill."""
        self.zookeeper.start()
        self.zookeeper.wait_ready(60)
        run = self.commands.run
        run(
            *(
                "fabric",
                "create",
                "--clean",
                "--wait-for-provisioning",
                "--zookeeper-url",
                self.zookeeper.url,
            ),
            *("--zookeeper-password", PASSWORD, "--new-user", "admin", "--new-user-password", "admin"),
        )
        run("fabric", "container-remove-profile", "root", "mq-amq")
        run("fabric", "mq-create", "--group", GROUP, "--kind", "MasterSlave", BROKER)
        run("fabric", "container-create-child", "--profile", PROFILE, "root", "benchcontainer", "2")
        self.wait_pair()

    def stop(self) -> None:
        """Put the logs aside, end all containers, then ZooKeeper."""
        for log in self.commands.home.glob("containers/*/container.log"):
            shutil.copy(log, self.folder / f"{log.parent.name}.log")
        try:
            end_fabric(Home(self.commands.home), say)
        finally:
            self.zookeeper.kill()

    def factory(self) -> ConnectionFactory:
        """Connections that find the master through the registry."""
        return ConnectionFactory(
            f"discovery:(fabric:{GROUP})",
            user="admin",
            password="admin",
            zookeeper_url=self.zookeeper.url,
            zookeeper_password=PASSWORD,
        )

    def master(self) -> str:
        """The container that is master now."""
        master = self.commands.master(BROKER, GROUP)
        assert master is not None
        return master

    def wait_pair(self) -> None:
        """Wait until one container is master and the other its slave."""

        def complete() -> bool:
            return bool(self.commands.master(BROKER, GROUP) and self.commands.slaves(BROKER, GROUP))

        wait_until(complete, RECOVERY_TIMEOUT_S, "one master and one slave")

    def wait_warm(self) -> None:
        """Wait for a pair whose slave has read the backlog."""
        self.wait_pair()
        if self.backlog:
            (slave,) = self.commands.slaves(BROKER, GROUP)
            at_rest = backlog.AtRest(self.commands.process_id(slave))
            wait_until(at_rest, RECOVERY_TIMEOUT_S, "the slave has read the store")

    def fill(self, messages: int) -> None:
        """Put messages into a queue that nobody empties, and let the slave read them."""
        (row,) = [row for row in self.commands.members(GROUP) if row["id"] == BROKER]
        load = backlog.fill(backlog.port_of(row["services"]), messages)
        self.backlog = messages
        self.wait_warm()
        stores = [path for path in self.commands.home.glob("data/*") if path.is_dir()]
        taken = sum(map(bytes_on_disk, stores))
        used = [memory(self.commands.process_id(name)).now for name in (*row["masters"], *row["slaves"])]
        say(
            f"{messages} messages queued, {load.per_second:.0f}/s; {taken / MEBIBYTE:.0f} MiB on disk;"
            f" memory of master and slave: {', '.join(f'{each / MEBIBYTE:.0f} MiB' for each in used)}"
        )


Fault = Callable[[Rig, Traffic], float]
"""Strikes, waits until the producer got on, repairs what it broke; returns when it struck."""


def killed(rig: Rig, traffic: Traffic) -> float:
    """The master's process is killed; its container is started again without waiting out the back-off."""
    master = rig.master()
    pid = rig.commands.process_id(master)
    struck = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    traffic.wait_acknowledged_after(struck, SENDS_AFTER_FAULT, RECOVERY_TIMEOUT_S)
    rig.commands.run("fabric", "container-stop", master)
    rig.commands.run("fabric", "container-start", master)
    return struck


def stopped(rig: Rig, traffic: Traffic) -> float:
    """The master's container is stopped by its command, and started again afterwards."""
    master = rig.master()
    struck = time.monotonic()
    rig.commands.run("fabric", "container-stop", master)
    ended = time.monotonic()
    traffic.wait_acknowledged_after(ended, SENDS_AFTER_FAULT, RECOVERY_TIMEOUT_S)
    rig.commands.run("fabric", "container-start", master)
    return struck


def frozen(rig: Rig, traffic: Traffic) -> float:
    """The master's process is frozen for longer than its session lives, and woken."""
    pid = rig.commands.process_id(rig.master())
    struck = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        traffic.wait_acknowledged_after(struck, SENDS_AFTER_FAULT, RECOVERY_TIMEOUT_S)
        wait_until(lambda: time.monotonic() > struck + FREEZE_S, FREEZE_S + 5)
    finally:
        os.kill(pid, signal.SIGCONT)
    return struck


def zookeeper_away(rig: Rig, traffic: Traffic) -> float:
    """ZooKeeper is killed for a while; the same master serves on, and is still master afterwards."""
    master = rig.master()
    struck = time.monotonic()
    rig.zookeeper.kill()
    wait_until(lambda: time.monotonic() > struck + ZOOKEEPER_OUTAGE_S, ZOOKEEPER_OUTAGE_S + 5)
    rig.zookeeper.start()
    rig.zookeeper.wait_ready(60)
    returned = time.monotonic()
    # The sessions come back by their own patience; mastership that moved would show by then.
    wait_until(lambda: time.monotonic() > returned + 6, 10)
    rig.wait_pair()
    if rig.master() != master:
        rig.moved += 1
    return struck


def nothing(rig: Rig, traffic: Traffic) -> float:
    """No fault at all: what the machine itself does to the longest gap."""
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + rig.quiet_s, rig.quiet_s + 5)
    return began


FAULTS: dict[str, tuple[str, Fault]] = {
    "none": ("nothing, for comparison", nothing),
    "kill": ("master process killed (SIGKILL)", killed),
    "stop": ("`container-stop` of the master", stopped),
    "freeze": ("master frozen (SIGSTOP)", frozen),
    "zookeeper": ("ZooKeeper killed for 20 s and restarted", zookeeper_away),
}


def run_round(rig: Rig, traffic: Traffic, machine: MachineWatch, fault: Fault) -> Findings:
    """One round: steady traffic, the fault, recovery, and the count."""
    rig.wait_warm()
    ledger = traffic.begin_round()
    began = time.monotonic()
    traffic.wait_acknowledged_after(began, WARM_SENDS, RECOVERY_TIMEOUT_S)
    struck = fault(rig, traffic)
    rig.wait_pair()
    traffic.end_round()
    found = ledger.findings(struck)
    machine_ms = machine.longest_ms(found.gap_from, found.gap_from + found.gap_ms / 1000)
    return dataclasses.replace(found, machine_ms=machine_ms)


def report(results: dict[str, list[Findings]]) -> str:
    """The table of the figures, a row per fault."""
    rows = []
    for name, rounds in results.items():
        gaps = [findings.gap_ms for findings in rounds]
        rows.append(
            [
                FAULTS[name][0],
                str(len(rounds)),
                *(f"{percentile(gaps, percent):.0f} ms" for percent in (50, 99, 100)),
                f"{max(findings.gap_ms - findings.machine_ms for findings in rounds):.0f} ms",
                str(sum(findings.lost for findings in rounds)),
                str(sum(findings.duplicated for findings in rounds)),
                str(sum(findings.redelivered for findings in rounds)),
            ]
        )
    head = ["fault", "rounds", "50 %", "99 %", "max", "max beyond the machine's"]
    return table([*head, "lost", "duplicated", "redelivered"], rows)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="./dev bench failover", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30, help="rounds for each fault (30)")
    parser.add_argument(
        "--fault", action="append", choices=list(FAULTS), help="only this fault; may be given several times"
    )
    parser.add_argument(
        "--as-long",
        action="store_true",
        help="rounds without a fault last as long as those of ZooKeeper's outage",
    )
    parser.add_argument(
        "--zookeeper-rounds",
        type=int,
        help="rounds of the ZooKeeper outage, 30 s each (as --rounds)",
    )
    parser.add_argument(
        "--backlog", type=int, default=0, metavar="N", help="durable messages of 1 KiB queued before (0)"
    )
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no round after so long (no limit)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to a file as well")
    parser.add_argument("--folder", type=Path, help="where the fabric and its store lie (a temporary folder)")
    parser.add_argument("--keep", action="store_true", help="leave the folder with its logs behind")
    return parser.parse_args(arguments)


def measure(rig: Rig, wanted: argparse.Namespace) -> dict[str, list[Findings]]:
    """All rounds of all faults; prints a line for each as it ends."""
    results: dict[str, list[Findings]] = {}
    traffic = Traffic(rig.factory(), SEND_INTERVAL_S)
    beside = MachineWatch(rig.folder)
    beside.start()
    traffic.start()
    began = time.monotonic()
    try:
        for name in wanted.fault or FAULTS:
            count = wanted.rounds
            if name == "zookeeper" and wanted.zookeeper_rounds is not None:
                count = wanted.zookeeper_rounds
            for number in range(1, count + 1):
                if time.monotonic() - began > wanted.minutes * 60:
                    break
                findings = run_round(rig, traffic, beside, FAULTS[name][1])
                results.setdefault(name, []).append(findings)
                say(f"{name} {number}/{count}: {findings}")
    finally:
        traffic.stop()
        beside.stop()
    return results


def main(arguments: Sequence[str]) -> int:
    """Set up, measure, print, clean up."""
    wanted = parse(arguments)
    # A client's warnings of each lost connection are what is measured here, not news.
    logging.getLogger("mqclient").setLevel(logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="bench-failover-", dir=wanted.folder))
    rig = Rig(folder)
    if wanted.as_long:
        rig.quiet_s = QUIET_AS_LONG_S
    lacking = wanted.backlog * BACKLOG_BYTES_PER_MESSAGE - shutil.disk_usage(folder).free
    if lacking > 0:
        folder.rmdir()
        say(
            f"The disk lacks {lacking / MEBIBYTE:.0f} MiB for this: give another --folder, or fewer messages."
        )
        return 1
    try:
        rig.start()
        if wanted.backlog:
            rig.fill(wanted.backlog)
        results = measure(rig, wanted)
        facts = machine(folder)
    except CommandFailed as failure:
        say(str(failure))
        return 1
    finally:
        rig.stop()
        if wanted.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    facts["backlog"] = f"{wanted.backlog:,} messages"
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    print(report(results))
    if "zookeeper" in results:
        print(f"\nMastership moved over the outage in {rig.moved} of {len(results['zookeeper'])} rounds.")
    if wanted.json:
        rounds = {name: [dataclasses.asdict(one) for one in many] for name, many in results.items()}
        wanted.json.write_text(json.dumps({"machine": facts, "rounds": rounds}, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    ending.run(main, sys.argv[1:])

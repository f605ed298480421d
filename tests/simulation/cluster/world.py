"""A cluster: brokers, clients, a ZooKeeper, a network and a disk, run by a plan in virtual time.

Fault model: `faults` says what may go wrong, `support.fake_disk` what a disk does to what was not synced,
`network` what becomes of what is under way. After `plan.TROUBLE_S` everything is repaired; then all work must
come to an end, and one last master, after a power failure, must find what it should.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from simulation.cluster.clients import Consumer, Producer
from simulation.cluster.clock import Clock, Killed, Process
from simulation.cluster.contents import live_messages, subscribers
from simulation.cluster.disk import SharedDisk, host_files
from simulation.cluster.mishaps import FAULTS, repair
from simulation.cluster.network import Network
from simulation.cluster.plan import TROUBLE_S, Fault, Plan
from simulation.cluster.promises import Promises, is_topic
from simulation.cluster.simulated_broker import Mastership, SimulatedBroker
from simulation.cluster.zookeeper import ZooKeeperServer

from journal.care import RETRY_S
from journal.errors import JournalError
from journal.mastership import become_master
from journal.options import JournalOptions
from journal.report import Report
from journal.state import State

REST_S: Final = 1.0
PATIENCE_S: Final = 60.0
"""So long after the last fault everybody must be done."""
FILE_BYTES: Final = 3200
"""A few batches: every history sees several data files, checkpoints and compaction."""
FILES_AT_REST: Final = 5
"""P9 allows two; but here a batch is half a file, and the reserve, which upkeep counts, three."""
UPKEEP: Final = {
    "synced checkpoint": "checkpoint",
    "removed data": "data file removed",
    "handed": "part moved",
}


@dataclass
class Trigger:
    """A fault that waits for a step."""

    fault: Fault
    left: int


@dataclass
class Outcome:
    """How a history went.

    Attributes:
        plan: of it.
        violation: the promise that was broken, empty if none.
        counts: what happened how often.
        timeline: virtual seconds, who, what; only if it was asked for.
    """

    plan: Plan
    violation: str
    counts: dict[str, int] = field(default_factory=dict)
    timeline: list[tuple[float, str, str]] = field(default_factory=list)


class World:
    """One history."""

    def __init__(self, plan: Plan, *, is_recorded: bool = False) -> None:
        self.plan = plan
        self.clock = Clock()
        self.begin_s = self.clock.now_s
        self.promises = Promises()
        self.network = Network(self.clock, self._random("network"))
        self.disk = SharedDisk(plan.seed, plan.sector_bytes)
        self.options = JournalOptions(
            file_bytes=FILE_BYTES,
            read_bytes=600,
            batch_bytes_max=1500,
            allocated_bytes=1200,
            small_file_bytes=1200,
            reserve_bytes=2400,
            checkpoint_bytes=3000,
            move_records=3,
            carried_messages_max=2000 if plan.carries else -1,
        )
        self.zookeeper = ZooKeeperServer(self.network, self.clock, "zk", self._random("zk"))
        self.brokers = [
            SimulatedBroker(self, f"b{index}", self._random(f"b{index}")) for index in range(plan.brokers)
        ]
        queues = [each.queue for each in plan.consumers]
        self.producers = [
            Producer(self, f"p{index}", each, self._random(f"p{index}"))
            for index, each in enumerate(plan.producers)
        ]
        self.consumers = [
            Consumer(
                self,
                f"c{index}",
                each,
                self._random(f"c{index}"),
                is_alone=is_topic(each.queue) or queues.count(each.queue) == 1,
            )
            for index, each in enumerate(plan.consumers)
        ]
        self.masterships: list[Mastership] = []
        self.damages_told = 0
        self.counts: dict[str, int] = {}
        self.is_calm = False
        self.is_resting = False
        self.timeline: list[tuple[float, str, str]] | None = [] if is_recorded else None
        self._triggers: dict[str, list[Trigger]] = {}
        for fault in plan.faults:
            if fault.step:
                self._triggers.setdefault(fault.target, []).append(Trigger(fault, fault.count))

    def _random(self, name: str) -> random.Random:
        return random.Random(f"{self.plan.seed} {name}")

    # ---- what the parts say

    def note(self, who: str, text: str) -> None:
        """For the timeline."""
        if self.timeline is not None:
            self.timeline.append((self.clock.now_s - self.begin_s, who, text))

    def count(self, what: str) -> None:
        """Something happened."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def broker_at(self, host: str) -> SimulatedBroker:
        """The broker of a host."""
        return next(broker for broker in self.brokers if broker.name == host)

    def reached(self, process: SimulatedBroker, step: str) -> None:
        """A broker has done a step, or is about to make a call of the files seam; faults may strike.

        Raises:
            Killed: it does not survive that.
        """
        if self.timeline is not None and not step.startswith("disk"):
            self.note(process.name, step)
        if not self._triggers or self.is_calm:
            return
        for target, triggers in list(self._triggers.items()):
            if (
                target == process.name
                or (target == "master" and process.is_ruling)
                or (target == "heir" and process.is_taking_over and self.promises.reigns)
            ):
                self._strike(process, step, triggers)

    def _strike(self, process: SimulatedBroker, step: str, triggers: list[Trigger]) -> None:
        for trigger in list(triggers):
            fault = trigger.fault
            if not step.startswith(fault.step):
                continue
            trigger.left -= 1
            if trigger.left:
                continue
            triggers.remove(trigger)
            if not triggers:
                self._triggers.pop(fault.target, None)
            if fault.at_s:
                self.clock.call_later(fault.at_s, partial(self.strike, fault, process))
                continue
            incarnation = process.incarnation
            self.strike(fault, process)
            if process.incarnation != incarnation:
                raise Killed
            if step.startswith("disk") and process.paused_until_s > self.clock.now_s:
                self.clock.hold_up(process, process.paused_until_s - self.clock.now_s)

    def strike(self, fault: Fault, process: Process | None = None) -> None:
        """Something goes wrong."""
        if self.is_calm:
            return
        if process is None:
            process = self._target(fault.target)
        if process is None or (isinstance(process, SimulatedBroker) and not process.alive):
            return
        self.note("FAULT", f"{fault.kind} {process.name} {fault.other}".rstrip())
        self.count(f"fault {fault.kind}")
        FAULTS[fault.kind](self, fault, process)

    def _target(self, name: str) -> Process | None:
        everybody: list[Process] = [*self.brokers, *self.producers, *self.consumers, self.zookeeper]
        if name == "master":
            return next((b for b in self.brokers if b.mastership is not None), None)
        return next((each for each in everybody if each.name == name), None)

    def damage_reported(self, broker: SimulatedBroker, report: Report) -> None:
        """What recovery found."""
        self.count("takeover")
        if report.checkpoint:
            self.count("recovery from a checkpoint")
        self.damages_told += len(report.damages)
        if report.damages and not self.disk.damaged:
            self.promises.break_(f"{broker.name} reports damage: {report.damages[0]}")

    def upkeep_done(self, step: str) -> None:
        """A caretaker has done something."""
        for what, text in UPKEEP.items():
            if step.startswith(what):
                self.count(text)

    def message_damaged(self, text: str) -> None:
        """A message cannot be read."""
        self.damages_told += 1
        if not self.disk.damaged:
            self.promises.break_(f"a message cannot be read: {text}")

    def progress(self) -> None:
        """Perhaps everything is done, or it is over otherwise."""
        if self.promises.broken or (not self.is_resting and self._is_done()):
            self.clock.stopped = True

    # ---- the history

    def run(self) -> Outcome:
        """Live it."""
        for process in (*self.brokers, *self.producers, *self.consumers):
            process.start()
        for fault in self.plan.faults:
            if not fault.step:
                self.clock.call_later(fault.at_s, partial(self.strike, fault))
        self.clock.run(self.begin_s + TROUBLE_S)
        if not self.promises.broken:
            repair(self)
            self.is_calm = True
            self.clock.stopped = False
            self._finish()
        self.counts["event"] = self.clock.events
        return Outcome(self.plan, self.promises.broken, self.counts, self.timeline or [])

    def _finish(self) -> None:
        end_s = self.clock.now_s + PATIENCE_S
        while not self._is_done():
            if self.promises.broken:
                return
            if self.clock.now_s >= end_s:
                self.promises.break_(f"after {PATIENCE_S:g} s without faults {self._undone()}")
                return
            self.clock.run(end_s)
            self.clock.stopped = False
        self.promises.at_end()
        self._rest()
        told = self.damages_told + sum(each.journal.lost_messages for each in self.masterships)
        if not told and self.promises.lost_to_damage:
            self.promises.break_(f"{', '.join(self.promises.lost_to_damage)} is lost, and nobody was told")
        self._look_again()

    def _rest(self) -> None:
        """Nothing happens for a while; then the store is as small as it gets."""
        self.is_resting = True
        used = allowed = 0
        for rest_s in (REST_S, RETRY_S + REST_S):  # upkeep that has failed is tried again
            self.clock.run(self.clock.now_s + rest_s)
            master = next((b.mastership for b in self.brokers if b.mastership is not None), None)
            if master is None or self.promises.broken or self.disk.damaged:
                return
            used = self.disk.used_bytes(("data", "checkpoint"))
            allowed = 2 * master.journal.live_bytes + FILES_AT_REST * FILE_BYTES
            if used <= allowed:
                return
        self.promises.break_(f"P9: a store at rest takes {used} bytes, {allowed} are allowed")

    def _is_done(self) -> bool:
        return all(producer.is_done for producer in self.producers) and not self.promises.left

    def _undone(self) -> str:
        waiting = [producer.name for producer in self.producers if not producer.is_done]
        if waiting:
            return f"{', '.join(waiting)} waits for answers"
        left = sorted(self.promises.left)
        return f"{len(left)} messages are not consumed, {left[0]} is one"

    def _look_again(self) -> None:
        """After a power failure one last master looks at what is there."""
        for broker in self.brokers:
            broker.end()
        self.disk.power_failure()
        last = Process(self.clock, "last", self._random("last"))
        last.disk_call = lambda operation: None  # type: ignore[attr-defined]  # nothing happens to it
        files = host_files(self.disk, last)  # type: ignore[arg-type]  # see above
        state = State()
        try:
            for step in become_master(files, state, owner="last", salt=1, options=self.options):
                if step == "checked batch 1":
                    found = live_messages(files, state, self.message_damaged)
                    self.promises.serving(max(state.salts), found, subscribers(state))
        except JournalError as error:
            self.promises.break_(f"at the end the store cannot be opened: {error}")


def live(plan: Plan, *, is_recorded: bool = False) -> Outcome:
    """Run a plan; an error that nobody foresaw is a violation, too."""
    world: Any = World(plan, is_recorded=is_recorded)
    try:
        outcome: Outcome = world.run()
    except Exception as error:  # noqa: BLE001 - whatever the product raises is to be found, with its plan
        return Outcome(plan, f"{type(error).__name__}: {error}", world.counts, world.timeline or [])
    return outcome

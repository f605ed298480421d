"""Rounds of faults over a lab under load: strike, hold, heal, settle, and look at what it cost."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.check import Breach, check, check_store, following, longest_gap, slowest_producer, summary
from faults.console import look, untrue_afterwards, untrue_meanwhile, untrue_queues
from faults.history import ACKNOWLEDGED, FAULT, HEALED, Event, HistoryInvalid, event_of, write_history
from faults.lab import EpochWatch, Lab, NamespaceLab, Recorded, end_folder, inspection, wait_settled
from faults.plan import PROMISES, Round
from faults.strikes import Strikes
from perf.statistics_of_runs import table
from support.waiting import wait_until

FLOW_TIMEOUT_S = 90.0
END_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 5.0
FLOWS = 20
"""Acknowledgements after which messages count as flowing."""
CONSOLE = "console"
"""The kind of breach that the checker of histories cannot know of."""
PATIENCE = 5.0
"""A time of DESIGN is asserted with this factor: it is a promise of the product, not of the machine."""


class Recording:
    """The clients' process, and everything they and the epochs have said so far."""

    def __init__(self, lab: Recorded) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._bad: list[str] = []
        self._epochs = EpochWatch(lab, self.tell)
        self._epochs.start()
        self._process = lab.start_recorder()
        self._reader = threading.Thread(target=self._read, name="recording", daemon=True)
        self._reader.start()

    def tell(self, event: Event) -> None:
        """Write something down; any thread."""
        with self._lock:
            self._events.append(event)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed while its other end was still open
            for line in self._process.stdout:
                try:
                    self.tell(event_of(line))
                except HistoryInvalid:
                    self._bad.append(line)

    def events(self) -> list[Event]:
        """All so far, by time."""
        with self._lock:
            return sorted(self._events, key=lambda event: event.at)

    def acknowledged_after(self, moment: float) -> list[Event]:
        """What was acknowledged since."""
        with self._lock:
            return [event for event in self._events if event.what == ACKNOWLEDGED and event.at > moment]

    def wait_flow(self, moment: float, what: str) -> None:
        """Wait until every producer that follows the registry gets on after a moment.

        Raises:
            AssertionError: not in time, or the clients have ended.
        """

        def flows() -> bool:
            code = self._process.poll()
            assert code is None, f"the clients have ended with exit code {code}"
            since = self.acknowledged_after(moment)
            return len(since) >= FLOWS and {event.who for event in since} >= set(following(self.events()))

        wait_until(flows, FLOW_TIMEOUT_S, what)

    def finish(self) -> list[Event]:
        """End the sending, wait until all is received, and return the history."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("end\n")
            self._process.stdin.close()
            code = self._process.wait(END_TIMEOUT_S)
        finally:
            self.stop()
        assert code == 0, f"the clients have ended with exit code {code}"
        assert not self._bad, self._bad[:3]
        return self.events()

    def stop(self) -> None:
        """End the clients, however far they are."""
        self._process.kill()
        self._process.wait()
        self._reader.join(STOP_TIMEOUT_S)  # what it has started at its host may have the other end yet
        self._epochs.stop()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.close()


@dataclass(frozen=True, slots=True)
class Result:
    """A round, and what it cost.

    Attributes:
        moved: whether another host was master afterwards.
        gap_s: the longest time in which no client was answered.
        slowest_s: the longest time in which one client was not.
        problems: what was seen that must not be; of messages nothing is known yet.
    """

    round: Round
    moved: bool
    gap_s: float
    slowest_s: float
    problems: tuple[str, ...]


class Run:
    """Rounds over one lab; the history is one."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._strikes = Strikes(lab)
        look(lab)  # a console reads the registry when somebody opens it first
        self.recording = Recording(lab)
        self.results: list[Result] = []
        self.summary = ""

    def carry_out(self, one: Round) -> Result:
        """One round. It begins and ends with a master, a slave, and messages that flow."""
        master, slave = wait_settled(self._lab)
        self.recording.wait_flow(time.monotonic(), "messages flow before the fault")
        problems: list[str] = []
        struck = time.monotonic()
        self.recording.tell(Event(struck, FAULT, str(one)))
        with self._strikes.strike(one.kind, master):
            if one.moves:
                self._wait_moved(struck, slave, problems)
            hold(struck + one.hold_s - time.monotonic())
            problems += untrue_meanwhile(self._lab, one, master, slave)
        healed = time.monotonic()
        self.recording.tell(Event(healed, HEALED, str(one)))
        now, _ = wait_settled(self._lab)
        self.recording.wait_flow(time.monotonic(), f"messages flow after: {one}")
        moved = now != master
        if one.moves is False and moved:
            problems.append(f"the mastership has moved from {master} to {now}")
        problems += untrue_afterwards(self._lab)
        events = self.recording.events()
        gap, slowest = longest_gap(events, struck), slowest_producer(events, struck)
        promised = PROMISES[one.kind].gap_s
        if promised is not None and gap.seconds > promised * PATIENCE:
            problems.append(f"nobody was answered for {gap.seconds:.1f} s; {promised:.1f} s are promised")
        result = Result(one, moved, gap.seconds, slowest.seconds, tuple(problems))
        self.results.append(result)
        return result

    def _wait_moved(self, struck: float, slave: str, problems: list[str]) -> None:
        """The other broker acknowledges."""
        address = self._lab.hosts[slave].addresses

        def moved() -> bool:
            return any(event.broker in address for event in self.recording.acknowledged_after(struck))

        try:
            wait_until(moved, FLOW_TIMEOUT_S, f"{slave} acknowledges")
        except AssertionError as error:
            problems.append(str(error))

    def finish(self, history: Path) -> list[Breach]:
        """End the clients, write their history to a file, and check it, the journal and the console."""
        events = self.recording.finish()
        write_history(history, events)
        self.summary = summary(events)
        at = time.monotonic()
        shown = [Breach(CONSOLE, text, at) for text in untrue_queues(self._lab)]
        return [*check(events), *check_store(inspection(self._lab), at=at), *shown]

    def stop(self) -> None:
        """End the clients if they still run."""
        self.recording.stop()


@contextlib.contextmanager
def run_over(lab: NamespaceLab) -> Iterator[Run]:
    """A lab under load, and its end; its logs are printed if something goes wrong meanwhile."""
    run: Run | None = None
    try:
        lab.start()
        run = Run(lab)
        yield run
    except BaseException:
        print(lab.logs())
        raise
    finally:
        if run is not None:
            run.stop()
        lab.stop()
        end_folder(lab.folder)


def hold(seconds: float) -> None:
    """A fault lasts as long as the plan says; there is nothing to wait for."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, max(seconds, 0.0) + 5)


def report(results: Iterable[Result]) -> str:
    """The figures, a row for each round."""
    rows = []
    for result in results:
        promised = PROMISES[result.round.kind].gap_s
        rows.append(
            [
                result.round.kind.value,
                f"{result.round.hold_s:.1f} s",
                "yes" if result.moved else "no",
                f"{result.gap_s:.2f} s",
                f"{result.slowest_s:.2f} s",
                "" if promised is None else f"{promised:.1f} s",
                str(len(result.problems)),
            ]
        )
    head = ["fault", "lasted", "moved", "nobody answered", "slowest client", "promised", "problems"]
    return table(head, rows)


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, file=sys.stderr, flush=True)

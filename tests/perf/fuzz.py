"""Feeds a protocol's server with mutated streams until something is wrong, or the inputs are used up.

Wrong is: an exception, a connection that leaves something in the region, an answer out of proportion, a time
out of proportion, memory that grows. Each is written down as a file that `--replay` feeds again.
"""

from __future__ import annotations

import argparse
import gc
import logging
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perf.mutator import Mutator
from perf.process_facts import memory
from support.served import Served
from support.valid_streams import STREAMS, TOKENS, Stream

REGION_INPUTS = 200
"""Inputs before the region is made anew: what they have sent is its content, and no leak."""
ROUND_INPUTS = 5_000
"""Inputs between two looks at memory."""
REPORT_S = 10.0
"""Between two lines of progress."""
SLOW_S = 0.05
SLOW_PER_BYTE_S = 50e-6
"""What an input may cost: a constant, and so much per byte. Honest streams cost about a tenth."""
ANSWER_BYTES_MAX = 1 << 20
ANSWER_PER_BYTE = 512
"""What an input may be answered with, per byte; a whole frame may be one byte of STOMP, an error is 100."""
OBJECTS_GROWN_MAX = 50_000
"""Objects more than after the first round: what caches may take, of compiled selectors above all. One lost
object per input is noticed after 50,000 inputs."""
MEMORY_GROWN_KIB_MAX = 32 * 1024
"""The same of the process's memory, which the allocator keeps in pieces."""


class FaultFound(Exception):
    """Something is wrong with an input."""


@dataclass
class Findings:
    """What was seen.

    Attributes:
        ends: how the connections ended, by the beginning of the reason.
        slowest_s: the most that an input cost beyond its bytes' due.
        slowest: a name for that input.
    """

    inputs: int = 0
    octets: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: str = ""


class Fuzzer:
    """One protocol's.

    Args:
        protocol: the connector's name.
        seed: of all that happens by chance.
        folder: where bad inputs go.
    """

    def __init__(self, protocol: str, seed: int, folder: Path) -> None:
        self.protocol = protocol
        self.seed = seed
        self.findings = Findings()
        self._folder = folder
        self._streams = STREAMS[protocol]()
        self._chance = random.Random(seed)
        self._mutator = Mutator(seed, TOKENS[protocol], [each.tail for each in self._streams])
        self._served: dict[str, tuple[Served, int]] = {}

    def run(self, inputs: int, until_s: float) -> None:
        """Feed so many inputs, or as many as there is time for.

        Raises:
            FaultFound: the first one that is wrong.
        """
        began_s = time.monotonic()
        base: tuple[int, int] | None = None
        report_s = began_s
        while self.findings.inputs < inputs and time.monotonic() < until_s:
            for _ in range(min(ROUND_INPUTS, inputs - self.findings.inputs)):
                self._one()
            self._served.clear()
            gc.collect()
            now = len(gc.get_objects()), memory().now // 1024
            base = base or now
            if time.monotonic() >= report_s or self.findings.inputs >= inputs:
                report_s = time.monotonic() + REPORT_S
                self._report(time.monotonic() - began_s, now)
            grown = now[0] - base[0], now[1] - base[1]
            if grown[0] > OBJECTS_GROWN_MAX or grown[1] > MEMORY_GROWN_KIB_MAX:
                raise FaultFound(f"memory grows: {grown[0]} objects and {grown[1]} KiB since the first round")

    def _one(self) -> None:
        stream = self._chance.choice(self._streams)
        if self._chance.random() < 0.75:
            data = stream.head + self._mutator.mutate(stream.tail)
        else:
            data = self._mutator.mutate(stream.data)
        cuts = self._mutator.cuts(len(data))
        self.findings.inputs += 1
        self.findings.octets += len(data)
        try:
            self._feed(stream, data, cuts)
        except FaultFound as fault:
            raise self._keep(stream, data, cuts, str(fault)) from fault
        except Exception as error:
            raise self._keep(stream, data, cuts, traceback.format_exc()) from error

    def _feed(self, stream: Stream, data: bytes, cuts: Sequence[int]) -> None:
        served = self._region(stream)
        began_s = time.process_time()
        end = feed(served, data, cuts)
        cost_s = time.process_time() - began_s
        allowed_s = SLOW_S + SLOW_PER_BYTE_S * (len(data) + 40 * len(cuts))
        if cost_s > allowed_s:
            cost_s = min(cost_s, *(seconds_of(stream, self.protocol, data, cuts) for _ in range(3)))
            if cost_s > allowed_s:
                raise FaultFound(f"{len(data)} bytes cost {cost_s:.3f} s")
        self.findings.ends[end] += 1
        if cost_s - SLOW_PER_BYTE_S * len(data) > self.findings.slowest_s:
            self.findings.slowest_s = cost_s - SLOW_PER_BYTE_S * len(data)
            self.findings.slowest = f"input {self.findings.inputs}, {len(data)} bytes, {cost_s * 1000:.1f} ms"

    def _region(self, stream: Stream) -> Served:
        served, used = self._served.get(stream.name, (None, 0))
        if served is None or used >= REGION_INPUTS:
            served, used = Served(self.protocol, stream.properties), 0
        self._served[stream.name] = served, used + 1
        return served

    def _keep(self, stream: Stream, data: bytes, cuts: Sequence[int], what: str) -> FaultFound:
        """Write an input down."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.protocol}-{self.seed}-{self.findings.inputs}"
        path = self._folder / f"{name}.bin"
        path.write_bytes(data)
        properties = "".join(f"{key}={value}\n" for key, value in stream.properties.items())
        (self._folder / f"{name}.txt").write_text(
            f"stream: {stream.name}\ncuts: {' '.join(map(str, cuts))}\n{properties}\n{what}\n", "utf-8"
        )
        again = f"./dev fuzz --protocol {self.protocol} --replay {path}"
        return FaultFound(f"{what}\nThe input is in {path}; feed it again with:\n  {again}")

    def _report(self, seconds: float, memory: tuple[int, int]) -> None:
        found = self.findings
        print(
            f"{self.protocol}: {found.inputs:,} inputs, {found.octets / 1e6:,.0f} MB, {seconds:,.0f} s, "
            f"{found.inputs / seconds:,.0f} a second; {memory[0]:,} objects, {memory[1] / 1024:,.0f} MiB; "
            f"slowest: {found.slowest}",
            flush=True,
        )

    def summary(self) -> str:
        """How the connections ended."""
        rows = [f"  {count:>10,}  {end}" for end, count in self.findings.ends.most_common(25)]
        return "\n".join([f"{self.protocol}: how the connections ended", *rows])


def feed(served: Served, data: bytes, cuts: Sequence[int]) -> str:
    """Have a new client say something and go away; returns how its connection ended.

    Raises:
        FaultFound: something is left, or the answer is out of proportion.
    """
    served.connect()
    server = served.server
    served.feed(data, cuts)
    served.settle()
    served.pass_time(0.5)
    end = server.close_reason if server.closing else "open"
    served.hang_up()
    if len(served.said) > ANSWER_BYTES_MAX + ANSWER_PER_BYTE * len(data):
        raise FaultFound(f"{len(data)} bytes are answered with {len(served.said)}")
    if served.region.connections:
        raise FaultFound(f"the region still has {served.region.connections}")
    return " ".join(end[:60].split()) or "in good order"


def seconds_of(stream: Stream, protocol: str, data: bytes, cuts: Sequence[int]) -> float:
    """What an input costs a new broker."""
    served = Served(protocol, stream.properties)
    began_s = time.process_time()
    feed(served, data, cuts)
    return time.process_time() - began_s


def replay(protocol: str, path: Path) -> None:
    """Feed one input again to each kind of broker, whole and byte by byte."""
    data = path.read_bytes()
    for stream in STREAMS[protocol]():
        for cuts in ([], list(range(1, len(data)))):
            seconds = seconds_of(stream, protocol, data, cuts)
            print(f"{stream.name}, {len(cuts) + 1} pieces: {seconds * 1000:.1f} ms")


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--protocol", choices=[*STREAMS, "all"], default="all")
    parser.add_argument("--inputs", type=int, default=100_000, help="per protocol; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="other seeds, other inputs; default: %(default)s")
    parser.add_argument("--minutes", type=float, default=600.0, help="at most, in all; default: %(default)s")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="folder of bad inputs")
    parser.add_argument("--replay", type=Path, help="feed this file again instead")
    wanted = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if wanted.replay:
        if wanted.protocol == "all":
            parser.error("--replay needs --protocol")
        replay(wanted.protocol, wanted.replay)
        return 0
    until_s = time.monotonic() + wanted.minutes * 60
    for protocol in [*STREAMS] if wanted.protocol == "all" else [wanted.protocol]:
        fuzzer = Fuzzer(protocol, wanted.seed, wanted.failures)
        try:
            fuzzer.run(wanted.inputs, until_s)
        except FaultFound as fault:
            print(f"{protocol}: WRONG after {fuzzer.findings.inputs:,} inputs:\n{fault}", file=sys.stderr)
            return 1
        finally:
            print(fuzzer.summary(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

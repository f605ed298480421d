"""What every fuzzer does besides its inputs: counts, time, memory, progress that can be gone on with.

Inputs come in blocks; what is in a block follows from the seed and the block's number alone. So a run that
was ended goes on with the block where it was.
"""

from __future__ import annotations

import gc
import json
import random
import time
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from perf.process_facts import memory

REPORT_S = 10.0
"""Between two lines of progress."""
SLOW_S = 0.05
SLOW_PER_BYTE_S = 50e-6
"""What an input may cost: a constant, and so much per byte. Honest streams cost about a tenth."""
ANSWER_BYTES_MAX = 1 << 20
ANSWER_PER_BYTE = 512
"""What an input may be answered with, per byte; a whole frame may be one byte of STOMP, an error is 100."""
OBJECTS_GROWN_MAX = 50_000
"""Objects more than after the first block: what caches may take, of compiled selectors above all. One lost
object per input is noticed after 50,000 inputs."""
MEMORY_GROWN_KIB_MAX = 32 * 1024
"""The same of the process's memory, which the allocator keeps in pieces."""


ENDS_MAX = 200
"""Different ends of connections that are counted apart; their texts quote what came."""
OTHERS = "others"


class FaultFound(Exception):
    """Something is wrong with an input."""


@dataclass
class Findings:
    """What was seen, earlier runs included that this one goes on with.

    Attributes:
        ends: how the connections ended, by the beginning of the reason.
        slowest_s: the most that an input cost beyond its bytes' due.
        slowest: a name for that input.
    """

    inputs: int = 0
    octets: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: str = "none"

    def end(self, reason: str) -> None:
        """Note how a connection ended; empty: it was open when all was said."""
        text = " ".join(reason[:60].split()) or "open"
        self.ends[text if text in self.ends or len(self.ends) < ENDS_MAX else OTHERS] += 1

    def time(self, cost_s: float, size: int) -> None:
        """Note what an input cost."""
        beyond_s = cost_s - SLOW_PER_BYTE_S * size
        if beyond_s > self.slowest_s:
            self.slowest_s = beyond_s
            self.slowest = f"input {self.inputs}, {size} bytes, {cost_s * 1000:.1f} ms"


def check_answer(said: int, heard: int) -> None:
    """Say so if an answer is out of proportion."""
    if said > ANSWER_BYTES_MAX + ANSWER_PER_BYTE * heard:
        raise FaultFound(f"{heard} bytes are answered with {said}")


class Progress:
    """A file that tells how far each fuzzer has come; without one nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, dict[str, object]] = {}
        if path is not None and path.exists():
            self._known = json.loads(path.read_text("utf-8"))

    def read(self, name: str) -> Findings:
        """What a fuzzer has seen so far."""
        known = self._known.get(name)
        if known is None:
            return Findings()
        found = Findings(**known)  # type: ignore[arg-type] # as it was written
        found.ends = Counter(found.ends)
        return found

    def write(self, name: str, findings: Findings) -> None:
        """Keep that."""
        self._known[name] = {**vars(findings), "ends": dict(findings.ends)}
        if self._path is not None:
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(self._known, indent=1), "utf-8")
            fresh.replace(self._path)


class Fuzzer(ABC):
    """Feeds one protocol.

    Args:
        protocol: the connector's name.
        seed: of all that happens by chance.
        folder: where bad inputs go.
    """

    kind: ClassVar[str]
    """What is fed."""
    block_inputs: ClassVar[int]
    """Inputs between two looks at memory."""

    def __init__(self, protocol: str, seed: int, folder: Path) -> None:
        self.protocol = protocol
        self.seed = seed
        self.findings = Findings()
        self._folder = folder

    @property
    def name(self) -> str:
        """For the file of progress."""
        return f"{self.protocol}, {self.kind}, seed {self.seed}"

    @abstractmethod
    def feed_block(self, chance: random.Random, seed: str) -> None:
        """Feed the next `block_inputs`; count them in `findings`.

        Args:
            chance: decides what.
            seed: for what else happens by chance.

        Raises:
            FaultFound: the first one that is wrong.
        """

    def run(self, inputs: int, until_s: float, progress: Progress) -> None:
        """Feed until there were so many inputs, earlier runs included, or as many as there is time for.

        Raises:
            FaultFound: the first one that is wrong.
        """
        found = self.findings = progress.read(self.name)
        earlier_s, began_s = found.seconds, time.monotonic()
        base: tuple[int, int] | None = None
        report_s = began_s + REPORT_S
        while found.inputs < inputs and time.monotonic() < until_s:
            seed = f"{self.protocol}/{self.seed}/{found.inputs // self.block_inputs}"
            self.feed_block(random.Random(seed), seed)
            gc.collect()
            sizes = memory()
            now = len(gc.get_objects()), sizes.now // 1024
            base = base or now
            found.peak_bytes = max(found.peak_bytes, sizes.peak)
            found.seconds = earlier_s + time.monotonic() - began_s
            progress.write(self.name, found)
            if time.monotonic() >= report_s:
                report_s = time.monotonic() + REPORT_S
                print(self.line(now[0]), flush=True)
            grown = now[0] - base[0], now[1] - base[1]
            if grown[0] > OBJECTS_GROWN_MAX or grown[1] > MEMORY_GROWN_KIB_MAX:
                raise FaultFound(f"memory grows: {grown[0]} objects and {grown[1]} KiB since the first block")

    def line(self, objects: int = 0) -> str:
        """How far it is."""
        found = self.findings
        kept = f"; {objects:,} objects" if objects else ""
        return (
            f"{self.name}: {found.inputs:,} inputs, {found.octets / 1e6:,.0f} MB, {found.seconds:,.0f} s, "
            f"{found.inputs / max(found.seconds, 1e-9):,.0f} a second; slowest: {found.slowest}; "
            f"peak memory {found.peak_bytes / 2**20:,.0f} MiB{kept}"
        )

    def summary(self) -> str:
        """How the connections ended, and how many inputs there were."""
        rows = [f"  {count:>10,}  {end}" for end, count in self.findings.ends.most_common(25)]
        return "\n".join([f"{self.name}: how the connections ended", *rows, self.line()])

    def keep(
        self, error: Exception, stream: str, data: bytes, cuts: Sequence[int], properties: Mapping[str, str]
    ) -> FaultFound:
        """Write an input down that is wrong."""
        what = str(error) if isinstance(error, FaultFound) else "".join(traceback.format_exception(error))
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self.protocol}-{self.kind}-{self.seed}-{self.findings.inputs}.bin"
        path.write_bytes(data)
        given = "".join(f"{key}={value}\n" for key, value in properties.items())
        path.with_suffix(".txt").write_text(
            f"stream: {stream}\ncuts: {' '.join(map(str, cuts))}\n{given}\n{what}\n", "utf-8"
        )
        again = f"./dev fuzz --protocol {self.protocol} --replay {path}"
        return FaultFound(f"{what}\nThe input is in {path}; feed it again with:\n  {again}")

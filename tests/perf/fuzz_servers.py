"""Whole streams for a protocol's server over a region in memory: what is left behind shows there."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

from perf.fuzz_run import SLOW_PER_BYTE_S, SLOW_S, FaultFound, Fuzzer, check_answer
from perf.mutator import Mutator
from support.served import Served
from support.valid_streams import STREAMS, TOKENS, Stream

REGION_INPUTS = 200
"""Inputs before the region is made anew: what they have sent is its content, and no leak."""


class ServerFuzzer(Fuzzer):
    """See the module."""

    kind = "servers"
    block_inputs = 5_000

    def __init__(self, protocol: str, seed: int, folder: Path) -> None:
        super().__init__(protocol, seed, folder)
        self._streams = STREAMS[protocol]()
        self._served: dict[str, tuple[Served, int]] = {}

    def feed_block(self, chance: random.Random, seed: str) -> None:
        """See `Fuzzer`."""
        mutator = Mutator(seed, TOKENS[self.protocol], [each.tail for each in self._streams])
        for _ in range(self.block_inputs):
            self._one(chance, mutator)
        self._served.clear()

    def _one(self, chance: random.Random, mutator: Mutator) -> None:
        stream = chance.choice(self._streams)
        if chance.random() < 0.75:
            data = stream.head + mutator.mutate(stream.tail)
        else:
            data = mutator.mutate(stream.data)
        cuts = mutator.cuts(len(data))
        self.findings.inputs += 1
        self.findings.octets += len(data)
        try:
            self._feed(stream, data, cuts)
        except Exception as error:
            raise self.keep(error, stream.name, data, cuts, stream.properties) from error

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
        self.findings.end(end)
        self.findings.time(cost_s, len(data))

    def _region(self, stream: Stream) -> Served:
        served, used = self._served.get(stream.name, (None, 0))
        if served is None or used >= REGION_INPUTS:
            served, used = Served(self.protocol, stream.properties), 0
        self._served[stream.name] = served, used + 1
        return served


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
    check_answer(len(served.said), len(data))
    if served.region.connections:
        raise FaultFound(f"the region still has {served.region.connections}")
    return end or "in good order"


def seconds_of(stream: Stream, protocol: str, data: bytes, cuts: Sequence[int]) -> float:
    """What an input costs a new broker."""
    served = Served(protocol, stream.properties)
    began_s = time.process_time()
    feed(served, data, cuts)
    return time.process_time() - began_s


def replay(protocol: str, data: bytes) -> None:
    """Feed one input again to each kind of broker, whole and byte by byte."""
    for stream in STREAMS[protocol]():
        for cuts in ([], list(range(1, len(data)))):
            seconds = seconds_of(stream, protocol, data, cuts)
            print(f"{stream.name}, {len(cuts) + 1} pieces: {seconds * 1000:.1f} ms")

"""What compaction costs: the journal alone at its utmost, and a broker under the full load of its clients.

In both one message in four stays for a while, among others that are consumed at once, so that every data file
is soon mostly dead. The same load without compaction is measured in turn with it.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from perf.bench_broker import BenchBroker
from perf.lean_client import send_windowed
from perf.lean_consumer import LeanConsumer
from perf.statistics_of_runs import median
from perf.store_table import Row, at_least, episodes

if TYPE_CHECKING:
    from perf.store import Bench

REPETITIONS = 2
PRODUCERS, WINDOW = 8, 100
KEEPING = 2
"""Of the producers: their messages stay."""
LAG = 20_000
"""How many of them stay, the youngest."""
WARM_UP_S = 4.0
"""Until data files are compacted one after the other."""


def bench_compaction(bench: Bench) -> list[Row]:
    """The rates with compaction beside those without."""
    return [*_alone(bench), *_in_a_broker(bench)]


def _alone(bench: Bench) -> list[Row]:
    moving: list[float] = []
    still: list[float] = []
    shares: list[float] = []
    for _ in range(REPETITIONS):
        for moves in (True, False):
            store = bench.store("compaction")
            options = ["--seconds", str(2 * bench.wanted.seconds), *(["--moves"] if moves else [])]
            facts = bench.journal("compact", store, *options)
            shutil.rmtree(store)
            (began, first), (ended, last) = facts["counts"][len(facts["counts"]) // 4], facts["counts"][-1]
            (moving if moves else still).append((last - first) / (ended - began))
            if moves:
                took = ended - facts["counts"][0][0]
                spans = episodes(facts["compacting"])
                shares.append(sum(end - begin for begin, end in spans) / took)
    print(f"compacting: {moving}, without: {still}, share of time: {shares}", file=sys.stderr)
    ratio = median(moving) / median(still)
    value = f"{median(moving):,.0f} messages/s, compacting {median(shares) * 100:.0f} % of the time"
    return [Row("journal alone, at its utmost, while it compacts", value, f"{ratio:.2f} of without")]


def _in_a_broker(bench: Bench) -> list[Row]:
    rates: dict[bool, list[float]] = {True: [], False: []}
    shares: list[float] = []
    for number in range(2 * REPETITIONS):
        moves = number % 4 in (0, 3)
        per_second, share = _loaded(bench, moves=moves)
        rates[moves].append(per_second)
        if moves:
            shares.append(share)
    print(f"broker compacting: {rates[True]}, without: {rates[False]}, share: {shares}", file=sys.stderr)
    value = f"{median(rates[True]):,.0f} messages/s, compacting {median(shares) * 100:.0f} % of the time"
    what = f"broker that compacts, {PRODUCERS} producers, window {WINDOW}, 2 consumers, 1 message in 4 stays"
    return [at_least(what, value, median(rates[True]) / median(rates[False]), 0.9, "without")]


def _loaded(bench: Bench, *, moves: bool) -> tuple[float, float]:
    """Messages stored per second by a broker, and the share of the time in which it compacts."""
    with BenchBroker(bench.store("compaction"), *([] if moves else ["--no-moves"])) as broker:
        producers = bench.producers(broker, PRODUCERS - KEEPING, "bench.consumed")
        producers += bench.producers(broker, KEEPING, "bench.kept")
        consumers = [
            LeanConsumer(broker.port, "bench.consumed", f"consumer-{broker.pid}"),
            LeanConsumer(broker.port, "bench.kept", f"keeper-{broker.pid}", LAG),
        ]
        send_windowed(producers, WINDOW, seconds=WARM_UP_S)
        began = len(broker.facts()["watch"]["compacting"])
        load = send_windowed(producers, WINDOW, seconds=2 * bench.wanted.seconds)
        spans = episodes(broker.facts()["watch"]["compacting"][began:])
        for client in [*producers, *consumers]:
            client.close()
    shutil.rmtree(bench.folder / "compaction")
    return load.per_second, sum(end - begin for begin, end in spans) / load.seconds

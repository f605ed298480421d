"""Feeds a protocol with mutated streams until something is wrong, or the inputs are used up.

Wrong is: an exception, a connection that leaves something in the region, an answer out of proportion, a time
out of proportion, memory that grows. Each is written down as a file that `--replay` feeds again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from perf import fuzz_cores, fuzz_servers
from perf.fuzz_cores import CoreFuzzer
from perf.fuzz_run import FaultFound, Fuzzer, Progress
from perf.fuzz_servers import ServerFuzzer
from support.valid_streams import STREAMS

FUZZERS: dict[str, type[Fuzzer]] = {each.kind: each for each in (CoreFuzzer, ServerFuzzer)}


def replay(protocol: str, path: Path) -> None:
    """Feed one input again to both."""
    data = path.read_bytes()
    fuzz_servers.replay(protocol, data)
    fuzz_cores.replay(protocol, data)


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--protocol", choices=[*STREAMS, "all"], default="all")
    parser.add_argument(
        "--of",
        choices=[*FUZZERS],
        default="servers",
        help="cores: small inputs for what reads bytes, tens of thousands a second; "
        "servers: whole streams for what serves clients, about a thousand a second; default: %(default)s",
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="per protocol; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="other seeds, other inputs; default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=36_000.0, help="at most, in all; default: %(default)s"
    )
    parser.add_argument(
        "--progress", type=Path, help="file that tells how far it is; a later run goes on there"
    )
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="folder of bad inputs")
    parser.add_argument("--replay", type=Path, help="feed this file again instead")
    wanted = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if wanted.replay:
        if wanted.protocol == "all":
            parser.error("--replay needs --protocol")
        replay(wanted.protocol, wanted.replay)
        return 0
    until_s = time.monotonic() + wanted.seconds
    progress = Progress(wanted.progress)
    for protocol in [*STREAMS] if wanted.protocol == "all" else [wanted.protocol]:
        fuzzer = FUZZERS[wanted.of](protocol, wanted.seed, wanted.failures)
        try:
            fuzzer.run(wanted.inputs, until_s, progress)
        except FaultFound as fault:
            print(f"{fuzzer.name}: WRONG after {fuzzer.findings.inputs:,} inputs:\n{fault}", file=sys.stderr)
            return 1
        finally:
            print(fuzzer.summary(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

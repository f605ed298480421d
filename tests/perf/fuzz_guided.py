"""Feeds a core with inputs that are led by which branches they reach, as far as atheris is installed.

`atheris` is Google's fuzzer for Python, and no dependency of this project: it has wheels for few systems. See
`docs/explanation/fuzzing.md` for how it is run. All options but the first are libFuzzer's.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["broker"]):
    from perf.fuzz_cores import CORES, frames, streams
    from perf.fuzz_run import check_answer


def main() -> None:
    """Fuzz the protocol that is named first; the honest frames are what it begins with."""
    protocol = sys.argv[1] if len(sys.argv) > 1 else ""
    if protocol not in CORES:
        sys.exit(f"usage: python -m perf.fuzz_guided {'|'.join(CORES)} [OPTIONS OF LIBFUZZER]")
    logging.disable(logging.CRITICAL)
    beginnings = streams(protocol)
    make = CORES[protocol]

    def feed(data: bytes) -> None:
        """The first byte chooses the stream behind whose login the rest comes."""
        if not data:
            return
        core = make(beginnings[data[0] % len(beginnings)])
        core.said()
        core.feed(data[1:])
        check_answer(core.said(), len(data))

    with tempfile.TemporaryDirectory() as corpus:
        for number, stream in enumerate(beginnings):
            for at, frame in enumerate(frames(protocol, stream.tail)):
                (Path(corpus) / f"{number}-{at}").write_bytes(bytes((number,)) + frame)
        atheris.Setup([sys.argv[0], *sys.argv[2:], corpus], feed)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

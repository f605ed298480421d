"""Whoever stops a benchmark finds nothing of it left."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import pathlib, signal, sys, threading
from perf import ending

def main(arguments):
    path = pathlib.Path(arguments[0])
    path.mkdir()
    try:
        print("ready", flush=True)
        threading.Event().wait(60)
    finally:
        path.rmdir()
    return 0

ending.run(main, sys.argv[1:])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_in_a_clean_up(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT both let the benchmark clean up, also if SIGINT was ignored when it was started."""
    folder = tmp_path / "benchmark"
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[1],
        )
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(30) == 130
    assert not folder.exists()

"""A benchmark that is told to stop leaves nothing behind, however it is told."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

STOPPED_EXIT_CODE = 130


def stop_once(number: int, frame: FrameType | None) -> None:
    """The first signal interrupts whatever is done; later ones do not interrupt the clean-up."""
    del number, frame
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _go_on)  # not SIG_IGN: processes started from here would inherit that
    raise KeyboardInterrupt


def _go_on(number: int, frame: FrameType | None) -> None:
    """Finish cleaning up."""
    del number, frame


def run(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> None:
    """Run a benchmark's main and end the process; SIGTERM stops it as Ctrl-C does.

    Also where SIGINT was ignored, as it is for programs that a script starts in the background.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop_once)
    try:
        code = main(arguments)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        code = STOPPED_EXIT_CODE
    sys.exit(code)

"""A bar on a terminal, for work that takes longer than a moment; nobody else sees anything of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

FIRST_S: Final = 0.5
"""Work that is over sooner shows no bar."""
INTERVAL_S: Final = 0.1
"""Between two drawings."""
BAR_CHARACTERS: Final = 24
LINE_CHARACTERS: Final = 79
"""A terminal has 80."""

Advance = Callable[[int], None]
"""Says that so much more is done."""


class Progress:
    """Draws on one line, which is empty again when the work is over.

    Args:
        stream: of a terminal; None: nothing is drawn.
        now_s: a clock.
    """

    def __init__(self, stream: TextIO | None = None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now_s = now_s

    @contextmanager
    def doing(self, what: str, total: int) -> Iterator[Advance]:
        """While something is done; call what it gives with each step.

        Args:
            what: like "exporting messages".
            total: of all steps; 0: nobody knows, and the steps are counted.
        """
        stream = self._stream
        if stream is None:
            yield _ignore
            return
        began_s = self._now_s()
        due_s = began_s + FIRST_S
        done = 0

        def advance(steps: int) -> None:
            nonlocal done, due_s
            done += steps
            now_s = self._now_s()
            if now_s >= due_s:
                due_s = now_s + INTERVAL_S
                _draw(stream, _line(what, done, total, now_s - began_s))

        try:
            yield advance
        finally:
            if due_s > began_s + FIRST_S:  # something was drawn
                _draw(stream, "")
                stream.write("\r")
                stream.flush()


def _ignore(_steps: int) -> None:
    """Nobody looks."""


def _draw(stream: TextIO, line: str) -> None:
    stream.write("\r" + line.ljust(LINE_CHARACTERS)[:LINE_CHARACTERS])
    stream.flush()


def _line(what: str, done: int, total: int, elapsed_s: float) -> str:
    if not total:
        return f"{what}: {done}, {elapsed_s:.0f} s"
    share = min(done / total, 1.0)
    bar = "#" * int(share * BAR_CHARACTERS)
    left_s = elapsed_s * (1 - share) / share if share else 0.0
    return f"{what} [{bar.ljust(BAR_CHARACTERS, '.')}] {share:4.0%}, {left_s:.0f} s left"

"""Ctrl-C that is not lost on the way.

kazoo wakes its own thread under a bare `except:` (`KazooClient._call`), which swallows the KeyboardInterrupt
of a SIGINT that arrives just then, and the command would run on. So there the interrupt is put off until
that function has been left.
"""

import signal
from types import FrameType

RETRY_S = 0.01
"""How long a put-off interrupt waits; the function it waits for takes microseconds."""

_SWALLOWING = ("kazoo.client", "_call")


def install() -> None:
    """Handle SIGINT, with the help of SIGALRM. Only in the main thread of a program of our own."""
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGALRM, interrupt)


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, now or as soon as it cannot be swallowed."""
    if would_be_swallowed(frame):
        signal.setitimer(signal.ITIMER_REAL, RETRY_S)
        return
    raise KeyboardInterrupt


def would_be_swallowed(frame: FrameType | None) -> bool:
    """Whether the code that runs was called from where exceptions are swallowed."""
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) == _SWALLOWING:
            return True
        frame = frame.f_back
    return False

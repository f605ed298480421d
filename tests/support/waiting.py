"""Waiting for conditions, never for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_INTERVAL_S = 0.002
LAST_INTERVAL_S = 0.05
PATIENCE_S = 30.0
"""Nothing here takes so long; a machine that is busy with other things may."""


def wait_until(
    predicate: Callable[[], T], timeout_s: float = PATIENCE_S, message: str | Callable[[], str] = ""
) -> T:
    """Call `predicate` until it returns something true, and return that.

    Args:
        predicate: Called in this thread, often at first, then every 50 ms.
        timeout_s: Longest wait in seconds.
        message: What was waited for; a function is called when the time is up, to say what was seen instead.

    Raises:
        AssertionError: the time is up.
    """
    deadline = time.monotonic() + timeout_s
    interval_s = FIRST_INTERVAL_S
    while not (value := predicate()):
        if time.monotonic() > deadline:
            text = message() if callable(message) else message
            raise AssertionError(f"not within {timeout_s:g} s: {text or predicate}")
        time.sleep(interval_s)
        interval_s = min(interval_s * 1.5, LAST_INTERVAL_S)
    return value

"""Ctrl-C that is not lost."""

import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from fabric.cli.interrupt import install, interrupt, would_be_swallowed


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the handlers back that were there before."""
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGALRM)]
    install()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before:
            signal.signal(number, handler)


def frame_below(module: str, name: str) -> FrameType:
    """A frame of a function called by another one of this module and name."""
    source = f"def {name}(then): return then()"
    space: dict[str, Callable[[Callable[[], FrameType]], FrameType]] = {}
    exec(source, {"__name__": module}, space)
    return space[name](lambda: sys._getframe(0))


@pytest.mark.usefixtures("handlers")
def test_it_interrupts_at_once() -> None:
    """Wherever exceptions are not swallowed."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_where_it_would_be_swallowed() -> None:
    """In kazoo's `_call` and whatever that calls, nowhere else."""
    assert would_be_swallowed(frame_below("kazoo.client", "_call"))
    assert not would_be_swallowed(frame_below("kazoo.client", "other"))
    assert not would_be_swallowed(frame_below("elsewhere", "_call"))
    assert not would_be_swallowed(None)


@pytest.mark.usefixtures("handlers")
def test_it_comes_later_instead() -> None:
    """A put-off interrupt is raised as soon as the function has been left."""
    interrupt(signal.SIGINT, frame_below("kazoo.client", "_call"))
    with pytest.raises(KeyboardInterrupt):
        signal.sigtimedwait([], 10)


def test_kazoo_still_does_so() -> None:
    """If this fails, look where it swallows now, or remove all this."""
    import inspect

    from kazoo.client import KazooClient

    assert "except:" in inspect.getsource(KazooClient._call)

"""The bar of long work."""

import io

import pytest

from journal.progress import LINE_CHARACTERS, Progress


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


def test_short_work_shows_nothing() -> None:
    """What is over in a moment draws no bar."""
    stream = io.StringIO()
    with Progress(stream, Clock()).doing("reading", 10) as advance:
        advance(10)
    assert stream.getvalue() == ""


def test_long_work_shows_a_bar_that_goes_away() -> None:
    """Half of the work shows half a bar and the time left, on one line, which is empty in the end."""
    stream, clock = io.StringIO(), Clock()
    with Progress(stream, clock).doing("verifying", 200) as advance:
        clock.now_s = 10.0
        advance(100)
        drawn = stream.getvalue()
        clock.now_s = 10.05  # too soon for another drawing
        advance(1)
        assert stream.getvalue() == drawn
    assert "\rverifying [############............]  50%, 10 s left" in drawn
    assert stream.getvalue().endswith("\r" + " " * LINE_CHARACTERS + "\r")
    assert "\n" not in stream.getvalue()


def test_work_of_unknown_length_is_counted() -> None:
    """Without a total the steps and the seconds are shown."""
    stream, clock = io.StringIO(), Clock()
    with Progress(stream, clock).doing("reading the log, batches", 0) as advance:
        clock.now_s = 3.0
        advance(7)
    assert "reading the log, batches: 7, 3 s" in stream.getvalue()


def test_the_line_is_emptied_after_an_error_too() -> None:
    """An error message never stands behind a bar."""
    stream, clock = io.StringIO(), Clock()
    with pytest.raises(ValueError, match="x"), Progress(stream, clock).doing("work", 1) as advance:
        clock.now_s = 2.0
        advance(5)
        raise ValueError("x")
    assert stream.getvalue().endswith(" \r")


def test_nobody_looks() -> None:
    """Without a terminal nothing is drawn."""
    with Progress().doing("work", 1) as advance:
        advance(1)

"""A client whose connection's thread ends: when it is started again, and when not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest
from kazoo.exceptions import WriterNotClosedException
from support.waiting import wait_until

from registry.revival import PAUSE_MAX_S, PAUSE_S, Revival


class Client:
    """What a revival uses of a kazoo client. `failures` are raised by its next starts."""

    def __init__(self) -> None:
        self.on_end: Callable[[Exception | None], None] = lambda error: None
        self.failures: list[Exception] = []
        self.started = 0
        self.calls: list[str] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def start_async(self) -> None:
        """Start, or fail as planned."""
        self.entered.set()
        assert self.go_on.wait(30)
        if self.failures:
            raise self.failures.pop(0)
        self.started += 1
        self.calls.append("start")

    def stop(self) -> None:
        """Stop, or fail as planned."""
        self.calls.append("stop")
        if self.failures:
            raise self.failures.pop(0)

    def close(self) -> None:
        """Release nothing."""
        self.calls.append("close")


@pytest.fixture
def client() -> Client:
    """One that works."""
    return Client()


@pytest.fixture
def revival(client: Client, monkeypatch: pytest.MonkeyPatch) -> Revival:
    """One that waits for a moment only."""
    monkeypatch.setattr("registry.revival.PAUSE_S", 0.001)
    monkeypatch.setattr("registry.revival.PAUSE_MAX_S", 0.002)
    return Revival(client, "zk1:2181")


def test_it_is_started_again_after_each_end(
    client: Client, revival: Revival, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever ended it; the error is kept until there is a connection, and is in the log."""
    for number, error in enumerate([RuntimeError("first"), ValueError("second"), None], 1):
        client.on_end(error)
        wait_until(lambda number=number: client.started == number)
        assert revival.error is error
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition("(")[2].partition(");")[0] for text in said] == [
        "RuntimeError('first')",
        "ValueError('second')",
        "ZooKeeper refused to authenticate us",
    ]
    client.on_end(RuntimeError("third"))
    wait_until(lambda: client.started == 4)
    revival.connected()
    assert revival.error is None


def test_a_start_that_fails_is_repeated(
    client: Client, caplog: pytest.LogCaptureFixture, revival: Revival
) -> None:
    """The system may have no more threads or files for a while."""
    caplog.set_level(logging.ERROR)
    client.failures = [OSError(24, "Too many open files"), RuntimeError("can't start new thread")]
    client.on_end(RuntimeError("planted"))
    wait_until(lambda: client.started == 1)
    assert "Too many open files" in caplog.text
    assert "can't start new thread" in caplog.text


def test_a_client_that_is_ended_stays_ended(client: Client, revival: Revival) -> None:
    """Neither its orderly end nor an error after it counts; an end waits for a start that is under way."""
    client.go_on.clear()
    client.on_end(RuntimeError("planted"))
    assert client.entered.wait(30)
    ending = threading.Thread(target=revival.dispose)
    ending.start()
    client.go_on.set()
    ending.join(30)
    assert client.calls == ["start", "stop", "close"]
    client.on_end(None)
    client.on_end(RuntimeError("late"))
    assert client.calls == ["start", "stop", "close"]
    wait_until(lambda: all(thread.name != "registry-revive" for thread in threading.enumerate()))


def test_a_connection_that_does_not_end(
    client: Client, revival: Revival, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left behind, and it is said."""
    client.failures = [WriterNotClosedException("still open")]
    revival.dispose()
    assert "did not end in time" in caplog.text


def test_pauses_are_bounded() -> None:
    """A thread that dies at once is not started in a tight loop, and one that recovers is soon."""
    assert 0.1 <= PAUSE_S < PAUSE_MAX_S <= 10

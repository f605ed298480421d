"""What management tells an audit log: who asked for what, and what has become of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from support.management import managed, text_message
from support.region import QUEUE, Peer, new_region, settle

from broker.destination import Destination, DestinationKind
from broker.management.audit import NOT_MASTER
from broker.management.endpoint import ASKER_CHARACTERS_MAX, DESTINATION, ManagementEndpoint
from broker.management.transfers import UNREAD_STEP

MANAGEMENT = Destination.queue(DESTINATION)
REPLIES = Destination(DestinationKind.TEMP_QUEUE, "cli:1")
ASKER = {"user": "ann", "role": "operator", "source": "192.0.2.9"}


class Scene:
    """A managed region with a queue, and a client with the role admin."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.region = new_region()
        management, _ = managed(self.region)
        self.endpoint = ManagementEndpoint(management)
        self.peer = Peer(self.region, "cli")
        self.peer.connection.user = "admin"
        self.peer.consume("answers", REPLIES)
        self._caplog = caplog

    def fill(self, count: int) -> None:
        """Send so many messages."""
        sender = Peer(self.region, "sender")
        for number in range(count):
            sender.send(f"m{number}")
        settle(self.region)

    def ask(self, operation: str, asker: object = None, **arguments: Any) -> None:
        """Ask; nothing is done before the region's next turn."""
        said = {"operation": operation, "arguments": arguments} | ({} if asker is None else {"asker": asker})
        message = text_message(1, json.dumps(said), MANAGEMENT, persistent=False)
        message.reply_to = REPLIES
        self.peer.connection.send(message)

    def run(self, times: int = 20, step_ms: int = 300) -> None:
        """Let time pass."""
        for _ in range(times):
            self.region.now_ms += step_ms
            settle(self.region)

    @property
    def audited(self) -> list[dict[str, Any]]:
        """All that was told."""
        found = [getattr(record, "audited", None) for record in self._caplog.records]
        return [each for each in found if each is not None]

    @property
    def results(self) -> list[str]:
        """How it ended."""
        return [str(each["result"]) for each in self.audited]


@pytest.fixture
def scene(caplog: pytest.LogCaptureFixture) -> Iterator[Scene]:
    """A broker whose audit is listened to."""
    caplog.set_level(logging.INFO, "broker.audit")
    yield Scene(caplog)


def test_a_job_is_told_when_it_begins_and_when_it_is_over(scene: Scene) -> None:
    """With who, what, and how many messages."""
    scene.fill(3)
    scene.ask("purge", queue=QUEUE.name)
    assert scene.results == ["begun as job 1"]
    scene.run()
    begun, ended = scene.audited
    assert ended["result"] == "done: job 1, 3 messages"
    same = ("user", "remote", "action")
    assert [begun[name] for name in same] == [ended[name] for name in same]
    assert ended["user"] == "admin" and ended["action"].startswith("purge ")
    scene.run()
    assert len(scene.audited) == 2


def test_what_fails_meanwhile_says_why(scene: Scene) -> None:
    """Also how far it came."""
    scene.fill(2 * UNREAD_STEP)
    scene.ask("purge", queue=QUEUE.name)
    settle(scene.region)
    del scene.region.targets[QUEUE]
    scene.run()
    result = scene.results[-1]
    assert result.startswith(f"failed: job 1, {UNREAD_STEP} messages") and "was deleted meanwhile" in result


def test_what_is_cancelled_says_what_was_left(scene: Scene) -> None:
    """Both are told: who cancelled, and the job's end."""
    scene.fill(3 * UNREAD_STEP)
    scene.ask("purge", queue=QUEUE.name)
    settle(scene.region)
    scene.ask("cancel", job=1)
    scene.run()
    done = f"cancelled: job 1, {UNREAD_STEP} messages, {2 * UNREAD_STEP} not looked at"
    assert sorted(scene.results) == sorted(["begun as job 1", done, "done"])


def test_jobs_that_end_with_the_mastership_are_broken_off(scene: Scene) -> None:
    """Nobody waits for their end in vain."""
    scene.fill(3 * UNREAD_STEP)
    scene.ask("purge", ASKER, queue=QUEUE.name)
    settle(scene.region)
    scene.endpoint.close()
    scene.endpoint.close()
    assert len(scene.audited) == 2
    assert scene.results[1].startswith("broken off: job 1, ") and scene.results[1].endswith(NOT_MASTER)
    assert scene.audited[1]["asker"] == ASKER


def test_whose_job_ran_on_is_named(scene: Scene) -> None:
    """The console waits for half a second; it tells itself what is over by then."""
    scene.fill(1)
    scene.ask("purge", ASKER, queue=QUEUE.name)
    scene.run()
    assert "asker" not in scene.audited[-1]
    scene.fill(5 * UNREAD_STEP)
    scene.ask("purge", ASKER, queue=QUEUE.name)
    scene.run()
    assert scene.results[-1] == f"done: job 2, {5 * UNREAD_STEP} messages"
    assert scene.audited[-1]["asker"] == ASKER and scene.audited[-1]["user"] == "admin"
    assert "asker" not in scene.audited[-2]


@pytest.mark.parametrize("asker", [1, [], "ann", {"user": 1}, {"user": "ann", "role": None}])
def test_an_asker_that_is_none_is_refused(scene: Scene, asker: object) -> None:
    """Nothing is begun."""
    scene.ask("pause", asker, queue=QUEUE.name)
    scene.run()
    assert scene.audited == []


def test_an_asker_is_cut(scene: Scene) -> None:
    """Whatever somebody claims, the log keeps so much of it."""
    scene.fill(5 * UNREAD_STEP)
    scene.ask("purge", {"user": "x" * 10_000}, queue=QUEUE.name)
    scene.run()
    assert scene.audited[-1]["asker"] == {"user": "x" * ASKER_CHARACTERS_MAX, "role": "", "source": ""}


def test_the_content_of_messages_is_left_out(scene: Scene) -> None:
    """Text, bytes and properties; the id of what was sent is there."""
    for content in ({"text": "s3cr3t"}, {"base64": "czNjcjN0"}, {"properties": {"a": "s3cr3t"}}):
        scene.ask("send", destination="orders", **content)
        scene.run()
    assert len(scene.audited) == 6
    assert "s3cr3t" not in repr(scene.audited) and "czNjcjN0" not in repr(scene.audited)
    assert scene.results[1].startswith("done: job 1, ID:")


def test_what_only_looks_is_not_told(scene: Scene) -> None:
    """Unless it was refused."""
    scene.ask("queues")
    assert scene.audited == []
    scene.peer.connection.user = "bob"
    scene.ask("queues")
    assert scene.results[0].startswith("refused: User bob is not authorized")

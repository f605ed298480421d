"""Management over messages: requests, answers, progress, refusals; nothing is stored of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.management import managed, text_message
from support.region import QUEUE, MemoryStore, Peer, new_region, settle

from broker.destination import Destination, DestinationKind
from broker.errors import RequestInvalid, SpaceLacking
from broker.management.endpoint import DESTINATION, REQUEST_CHARACTERS_MAX, ManagementEndpoint
from broker.management.operations import OPERATIONS
from broker.management.preview import preview
from broker.management.transfers import UNREAD_STEP
from broker.message import BodyKind, Message
from broker.region.region import Region
from broker.region.usage import UsageLimits

MANAGEMENT = Destination.queue(DESTINATION)
REPLIES = Destination(DestinationKind.TEMP_QUEUE, "cli:1")


class Asker:
    """A client with a queue for its answers."""

    def __init__(self, region: Region, user: str = "admin") -> None:
        self.region = region
        self.peer = Peer(region, "cli")
        self.peer.connection.user = user
        self.peer.consume("answers", REPLIES)
        self.count = 0

    def send(self, text: str, **fields: Any) -> None:
        """Send any text as a request."""
        self.count += 1
        message = text_message(self.count, text, MANAGEMENT, persistent=False)
        fields = {"reply_to": REPLIES, "correlation_id": str(self.count), **fields}
        for name, value in fields.items():
            setattr(message, name, value)
        self.peer.connection.send(message)
        settle(self.region)

    def ask(self, operation: str, **arguments: Any) -> Any:
        """Ask, and return the last answer to it."""
        self.send(json.dumps({"version": 1, "operation": operation, "arguments": arguments}))
        for _ in range(100):
            settle(self.region)
        return self.answers()[-1]

    def answers(self) -> list[Any]:
        """All answers so far, each a JSON object."""
        found = []
        for message in self.peer.client.messages:
            assert message.body_kind is BodyKind.TEXT
            text, cut = preview(message, 1 << 20)
            assert not cut
            found.append(json.loads(text))
        return found


def asker(user: str = "admin", region: Region | None = None) -> Asker:
    """A client of a managed region."""
    region = region or new_region()
    management, _ = managed(region)
    ManagementEndpoint(management)
    return Asker(region, user)


def test_a_look_is_answered_at_once() -> None:
    """With the request's correlation id; the queue of requests does not exist, nothing is stored."""
    client = asker()
    client.peer.connection.add_producer("p", MANAGEMENT)
    answer = client.ask("queues", filter="cli")
    assert (answer["version"], answer["status"]) == (1, "ok")
    assert [each["name"] for each in answer["result"]["items"]] == ["cli:1"]
    assert client.peer.client.messages[0].correlation_id == "1"
    assert MANAGEMENT not in client.region.targets
    assert isinstance(client.region.store, MemoryStore)
    assert client.region.store.batches == []


def test_a_change_is_answered_when_it_is_durable() -> None:
    """With its job."""
    client = asker()
    Peer(client.region).send("m")
    settle(client.region)
    client.send(json.dumps({"operation": "purge", "arguments": {"queue": QUEUE.name}}))
    settle(client.region)
    assert [each["status"] for each in client.answers()] == ["ok"]
    result = client.answers()[0]["result"]
    assert (result["operation"], result["state"], result["changed"]) == ("purge", "done", 1)
    region = client.region
    Peer(region, "c3").send("m2")
    settle(region)
    client.peer.connection.send(_request(9, "purge", queue=QUEUE.name))
    region.dispatch()
    assert len(client.answers()) == 1, "not durable yet"
    settle(region)
    assert len(client.answers()) == 2


def _request(number: int, operation: str, **arguments: Any) -> Message:
    text = json.dumps({"version": 1, "operation": operation, "arguments": arguments})
    message = text_message(number, text, MANAGEMENT, persistent=False)
    message.reply_to, message.correlation_id = REPLIES, str(number)
    return message


def test_a_long_change_says_how_far_it_is() -> None:
    """Not at every step, but now and then."""
    client = asker()
    region = client.region
    peer = Peer(region)
    for number in range(5 * UNREAD_STEP):
        peer.send(f"m{number}")
    settle(region)
    client.peer.connection.send(_request(9, "purge", queue=QUEUE.name))
    for _ in range(10):
        region.now_ms += 300
        settle(region)
    statuses = [each["status"] for each in client.answers()]
    assert statuses == ["running", "running", "ok"]
    looked_at = [each["result"]["looked_at"] for each in client.answers()]
    assert looked_at == sorted(looked_at)
    assert client.answers()[0]["result"]["total"] == 5 * UNREAD_STEP


def test_without_the_role_everything_is_refused() -> None:
    """Also what only looks; nothing is done."""
    region = new_region()
    Peer(region).send("m")
    settle(region)
    client = asker("bob", region)
    for operation in OPERATIONS:
        answer = client.ask(operation, queue=QUEUE.name)
        assert answer["status"] == "error"
        assert answer["error"]["code"] == "forbidden"
        assert "bob" in answer["error"]["message"]
    assert len(region.store.state.queues[QUEUE.uri]) == 1


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is JSON"),
        ("{", "is JSON"),
        ("[" * 100_000, "is JSON"),
        ("[]", "JSON object"),
        ('{"operation": 7}', "names its 'operation'"),
        ('{"operation": "queues", "arguments": []}', "'arguments'"),
        ('{"version": 2, "operation": "queues"}', "version 1, not 2"),
        ('{"operation": "explode"}', "no operation 'explode', only: broker, browse"),
        ('{"operation": "purge"}', "'queue' is missing"),
        ('{"operation": "purge", "arguments": {"queue": "q", "selecter": "x"}}', "no argument 'selecter'"),
        ('{"operation": "purge", "arguments": {"queue": 7}}', "'queue' cannot be 7: a text"),
        ('{"operation": "purge", "arguments": {"queue": "q", "refs": ["1"]}}', "each of it a whole number"),
        ('{"operation": "queues", "arguments": {"limit": true}}', "'limit' cannot be True: a whole number"),
        ('{"operation": "send", "arguments": {"destination": "q", "properties": []}}', "an object"),
        ('{"operation": "send", "arguments": {"destination": "q", "text": 5}}', "'text' cannot be 5: a text"),
        ('{"operation": "broker", "arguments": {"a": 1}}', "only: none at all"),
        ('"' + "x" * REQUEST_CHARACTERS_MAX + '"', "longer than"),
    ],
)
def test_what_is_no_request_is_answered_with_what_is_wrong(text: str, wrong: str) -> None:
    """And does nothing."""
    client = asker()
    client.send(text)
    (answer,) = client.answers()
    assert (answer["status"], answer["error"]["code"]) == ("error", "bad_request")
    assert wrong in answer["error"]["message"]


def test_codes_tell_programs_what_is_wrong() -> None:
    """Whether the request or a later step found it."""
    client = asker()
    assert client.ask("queue", queue="nowhere")["error"]["code"] == "not_found"
    Peer(client.region).send("m")
    settle(client.region)
    answer = client.ask("purge", queue=QUEUE.name, selector="a = = 1")
    assert answer["error"]["code"] == "invalid_selector"
    assert "5" in answer["error"]["message"]
    assert client.ask("move", queue=QUEUE.name, target=QUEUE.name)["error"]["code"] == "not_possible"
    answer = client.ask("create", destination=DESTINATION)
    assert (answer["status"], answer["error"]["code"]) == ("error", "not_possible")
    assert answer["error"]["job"]["state"] == "failed"


def test_a_request_that_is_no_text_or_wants_no_answer() -> None:
    """The one is answered, of the other its sender hears as of any send that is refused."""
    client = asker()
    client.send("{}", body_kind=BodyKind.BYTES)
    assert "text message" in client.answers()[0]["error"]["message"]
    with pytest.raises(RequestInvalid, match="JMSReplyTo"):
        client.send("{}", reply_to=None)


def test_a_job_goes_on_when_its_asker_has_gone() -> None:
    """Its answers go nowhere."""
    client = asker()
    region = client.region
    peer = Peer(region)
    for number in range(UNREAD_STEP + 1):
        peer.send(f"m{number}")
    settle(region)
    client.peer.connection.send(_request(9, "purge", queue=QUEUE.name))
    region.dispatch()
    client.peer.connection.close()
    for _ in range(10):
        settle(region)
    assert len(region.store.state.queues[QUEUE.uri]) == 0
    assert client.answers() == []


@pytest.mark.parametrize(("user", "answers"), [("admin", 1), ("bob", 0)])
def test_who_can_make_space_is_answered_when_there_is_none(user: str, answers: int) -> None:
    """Others are not: their answers would take what there is not."""
    region = new_region(usage=UsageLimits(memory_bytes_max=2_000, flow_control=False))
    peer = Peer(region)
    with pytest.raises(SpaceLacking):
        for number in range(100):
            peer.send(f"m{number}", persistent=False)
    client = asker(user, region)
    client.send(json.dumps({"operation": "usage"}))
    assert len(client.answers()) == answers


def test_every_operation_is_described() -> None:
    """In the reference, with a heading of its own."""
    text = (Path(__file__).parents[3] / "docs" / "reference" / "management.md").read_text()
    headings = {line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")}
    assert headings == set(OPERATIONS)

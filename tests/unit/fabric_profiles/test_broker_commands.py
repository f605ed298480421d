"""The commands that ask brokers, as they are typed, against a registry and a broker in memory."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from support.management import finished, managed
from support.memory_session import MemorySession
from support.region import TOPIC, Peer, new_region, settle
from support.scheduling import schedule

from broker.destination import Destination
from broker.management.errors import ManagementError
from broker.management.jobs import Job
from broker.management.operations import carry_out, plain_of
from broker.region.region import Region
from broker.xa import Xid
from fabric import brokers
from fabric.brokers import BrokerClient, Login, find_broker, url_of
from fabric.cli import asking, broker_access
from fabric.cli.context import CommandContext
from fabric.cli.main import fabric
from fabric.clusters import ClusterRow, Member
from fabric.errors import BrokerNotFound, BrokerRefused, BrokerUnreachable, NoMaster
from registry import paths

Run = Callable[..., Result]
ORDERS = Destination.queue("orders")


class FakeClient(BrokerClient):
    """The client of a broker in memory.

    Attributes:
        region: of all of them.
        logins: with what was logged in.
        fails: raised by the next questions, in this order.
    """

    region: Region
    logins: list[tuple[str, str, str]]
    fails: list[Exception]

    def __init__(
        self, name: str, url: str, login: Login, *, answer_s: float = 30.0, trust_store: str = ""
    ) -> None:
        del trust_store
        self.name = name
        self.answer_s = answer_s
        self.logins.append((url, login.user, login.password))

    def _ask(
        self, operation: str, on_progress: Any, arguments: dict[str, object], asker: object = None
    ) -> Any:
        assert asker is None, "commands are typed by whom the broker sees"
        if self.fails:
            raise self.fails.pop(0)
        _, operator = managed(self.region)
        try:
            found = carry_out(operator, operation, json.loads(json.dumps(arguments)))
        except ManagementError as error:
            raise BrokerRefused(str(error), "", error.code) from error
        if not isinstance(found, Job):
            return found
        if on_progress is not None:
            on_progress(plain_of(found.info()))
        info = finished(self.region, found)
        if info.state == "failed":
            raise BrokerRefused(info.error, "", found.code)
        return plain_of(info)

    def _guarded(self, do: Callable[[], Any]) -> Any:
        return do()

    def close(self) -> None:
        """Nothing to leave."""


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> Region:
    """What the broker holds: four orders, one of them at a consumer."""
    region = new_region()
    peer = Peer(region, "c1", client_id="shop")
    for number in range(4):
        peer.send(f"m{number}", ORDERS, type="odd" if number % 2 else None)
    peer.consume("k", ORDERS, prefetch_size=1)
    peer.consume("d", TOPIC, subscription_name="invoices")
    peer.connection.remove_consumer("d")
    settle(region)
    FakeClient.region, FakeClient.logins, FakeClient.fails = region, [], []
    monkeypatch.setattr(brokers, "BrokerClient", FakeClient)
    return region


@pytest.fixture
def run(region: Region, session: MemorySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; it must end with the exit code given."""
    del region
    monkeypatch.setattr(CommandContext, "session", session)
    monkeypatch.setenv("FABRIC_HOME", str(tmp_path))
    monkeypatch.setenv("FABRIC_PASSWORD", "secret")
    member(session, "kept", "node", "tcp://127.0.0.1:61616")
    member(session, "kept", "node2")

    def run(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(fabric, arguments, input=stdin)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run


def member(
    session: MemorySession, broker: str, container: str, *services: str, group: str = "default"
) -> None:
    """A broker's member in the registry."""
    content = {"id": broker, "container": container, "services": services, "ready": True}
    path = f"{paths.amq_group(group)}/0"
    session.create(path, json.dumps(content).encode(), sequential=True, make_parents=True)


# Lists


def test_queue_list(run: Run) -> None:
    """A row per queue; scripts get all that the broker says."""
    assert run("queue-list").output.splitlines() == [
        "[queue]  [size]  [in flight]  [consumers]  [producers]  [enqueued]  [dequeued]  [expired]  [state]",
        "orders   4       1            1            0            4           0           0",
    ]
    (record,) = json.loads(run("queue-list", "ord*", "--output", "json").output)
    assert (record["name"], record["counters"]["enqueued"]) == ("orders", 4)
    assert yaml.safe_load(run("queue-list", "nothing", "--output", "yaml").output) == []
    assert FakeClient.logins[0] == ("tcp://127.0.0.1:61616", "admin", "secret")


def test_topic_subscription_and_connection_list(run: Run) -> None:
    """Each with what people ask for first."""
    assert run("topic-list").output.splitlines()[1].split() == ["prices", "1", "0", "0", "0", "0", "0", "0"]
    assert run("subscription-list").output.splitlines()[1].split()[:4] == ["shop", "invoices", "prices", "no"]
    assert run("connection-list").output.splitlines()[1].split()[:2] == ["c1", "shop"]


def test_broker_list(run: Run, session: MemorySession, monkeypatch: pytest.MonkeyPatch) -> None:
    """With figures if there is a password; a broker without master has none; one that is silent says why."""
    member(session, "idle", "node3", group="other")
    lines = run("broker-list").output.splitlines()
    assert lines[1].split()[:8] == ["kept", "default", "node", "node2", "1", "1", "1", "4"]
    assert lines[1].endswith("ok")
    assert lines[2].endswith("no master")
    FakeClient.fails = [BrokerUnreachable("kept", "it is silent")]
    assert "cannot be asked: it is silent" in run("broker-list", "default").output
    monkeypatch.delenv("FABRIC_PASSWORD")
    (record,) = json.loads(run("broker-list", "default", "--output", "json").output)
    assert (record["figures"], record["slaves"]) == (None, ["node2"])
    assert "No broker is running in the group nobody" in run("broker-list", "nobody").output


def test_watching_goes_on_while_the_master_changes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is new is printed, what is the same is not; Ctrl-C ends it."""
    pauses = iter([None, None, None])

    class Pause:
        def wait(self, seconds: float) -> None:
            del seconds
            if next(pauses, KeyboardInterrupt) is KeyboardInterrupt:
                raise KeyboardInterrupt

    monkeypatch.setattr(broker_access.threading, "Event", Pause)
    FakeClient.fails = [BrokerUnreachable("kept", "it is gone"), BrokerUnreachable("kept", "it is gone")]
    output = run("queue-list", "--watch", code=130).output
    assert output.count("cannot be asked: it is gone. Waiting for it.") == 1
    assert output.count("orders") == 1


# Messages


def test_queue_browse(run: Run) -> None:
    """A line each, or everything of each."""
    lines = run("queue-browse", "orders", "--limit", "2").output.splitlines()
    assert lines[0].split("  ")[0] == "[ref]"
    assert [line.split()[1] for line in lines[1:]] == ["m0", "m1"]
    assert lines[1].endswith("m0")
    text = run("queue-browse", "orders", "--selector", "JMSType = 'odd'", "-v").output
    assert text.count("Message ID:") == 2
    assert "Type:                          odd" in text
    records = json.loads(run("queue-browse", "orders", "--output", "json").output)
    assert [record["state"] for record in records] == ["in flight", "waiting", "waiting", "waiting"]


def test_queue_purge_asks_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal `--yes` must say so; with one the answer counts."""
    output = run("queue-purge", "orders", code=2).output
    assert "Remove all messages of orders?" in output
    assert "--yes" in output
    monkeypatch.setattr(broker_access, "sys", _Terminal())
    run("queue-purge", "orders", stdin="n\n", code=130)
    assert len(json.loads(run("queue-browse", "orders", "--output", "json").output)) == 4
    output = run("queue-purge", "orders", "--selector", "JMSType = 'odd'", stdin="y\n").output
    assert "Remove the selected messages of orders?" in output
    assert "2 messages purged, 1 are at consumers and stay there." in output


class _Terminal:
    """A `sys` whose standard streams are a terminal's."""

    def __init__(self) -> None:
        self.stdin = self.stdout = self.stderr = self

    @staticmethod
    def isatty() -> bool:
        """They are."""
        return True


def test_progress_is_for_people(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal only, and wiped away at the end."""
    assert "looked at" not in run("queue-purge", "orders", "--yes").output
    monkeypatch.setattr(broker_access, "sys", _Terminal())
    output = run("queue-purge", "orders", "--yes").output
    assert "0 purged, 0 of 0 looked at\r" in output


def test_queue_move_and_copy(run: Run) -> None:
    """To a queue that need not exist."""
    assert run("queue-copy", "orders", "copies").output == (
        "3 messages copied, 1 are at consumers and stay there.\n"
    )
    output = run(
        "queue-move", "copies", "topic://news", "--id", "m1", "--id", "m2", "--output", "json"
    ).output
    assert json.loads(output)["changed"] == 2
    assert "[queue]" in run("queue-list", "copies").output
    output = run("queue-retry", "copies").output
    assert output == "1 messages given back.\n"


def test_queue_delete_pause_and_resume(run: Run) -> None:
    """Each says what is now."""
    run("queue-copy", "orders", "copies")
    assert run("queue-delete", "copies", "--yes").output == "Queue copies is deleted, with 3 messages.\n"
    assert run("queue-pause", "orders").output == "Queue orders is paused.\n"
    assert run("queue-list").output.splitlines()[1].endswith("paused")
    run("queue-resume", "orders")
    assert not run("queue-list").output.splitlines()[1].endswith("paused")
    assert "consumers" in run("queue-delete", "orders", "--yes", code=1).output


def test_schedules(run: Run, region: Region) -> None:
    """What is to be delivered later is listed and cancelled."""
    Peer(region, "c3").send("later", ORDERS, **schedule(delay=3_600_000))
    settle(region)
    job_id, *_ = run("schedule-list").output.splitlines()[1].split()
    assert run("schedule-list").output.splitlines()[1].endswith("queue://orders  later")
    assert run("schedule-remove", job_id, "--yes").output == f"The scheduled message {job_id} is cancelled.\n"
    assert len(run("schedule-list").output.splitlines()) == 1


def test_transactions(run: Run, region: Region) -> None:
    """Prepared branches are listed and ended."""
    peer = Peer(region, "c4")
    xid = Xid(1, b"global", b"1").text
    for number, end in enumerate(("commit", "rollback")):
        region.branches.begin(peer.connection, xid)
        peer.send(f"t{number}", ORDERS, transaction=xid)
        region.branches.prepare(peer.connection, xid)
        settle(region)
        assert run("transaction-list").output.splitlines()[1].split()[:2] == [xid, "prepared"]
        assert run(f"transaction-{end}", xid, "--yes").output.startswith(f"The branch {xid} is ")
        assert "[xid]" in run("transaction-list", xid).output
        run("transaction-forget", xid)
        assert len(run("transaction-list").output.splitlines()) == 1
    assert "no such transaction" in run("transaction-commit", xid, "--yes", code=1).output


def test_clients_are_sent_away(run: Run, region: Region) -> None:
    """A subscription is ended, a connection closed."""
    output = run("subscription-remove", "shop", "invoices", "--yes").output
    assert output == "The subscription invoices of shop is ended, with 0 messages.\n"
    assert run("connection-close", "c1", "--yes").output == "The connection c1 is closed.\n"
    assert region.connections == {}


# What is wrong


def test_the_brokers_refusal_is_the_error(run: Run) -> None:
    """In its words, with exit code 1."""
    assert "There is no queue nowhere." in run("queue-browse", "nowhere", code=1).output
    output = run("queue-purge", "orders", "--selector", "a = = 1", "--yes", code=1).output
    assert "5" in output
    assert "are there already" in run("queue-move", "orders", "orders", code=1).output


def test_which_broker_is_meant(run: Run, session: MemorySession) -> None:
    """The only one of the group, or the one that is named; it must have a master."""
    output = run("queue-list", "--group", "nobody", code=1).output
    assert "No broker is running in the group nobody." in output
    assert "fabric broker-list" in output
    member(session, "waiting", "node5")
    output = run("queue-list", code=1).output
    assert "has several brokers: kept, waiting." in output
    assert "--broker" in output
    output = run("queue-list", "--broker", "waiting", code=1).output
    assert "Broker waiting has no master now; its slaves are: node5." in output
    assert "fabric cluster-list amq/default" in output
    assert "orders" in run("queue-list", "--broker", "kept").output
    assert "Those it has: kept, waiting." in run("queue-list", "--broker", "x", code=1).output


def test_without_a_password_it_is_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal; elsewhere the error says how to give it."""
    monkeypatch.delenv("FABRIC_PASSWORD")
    output = run("queue-list", code=2).output
    assert "--password" in output
    assert "FABRIC_PASSWORD" in output
    monkeypatch.setattr(asking, "sys", _Terminal())
    assert "orders" in run("queue-list", "--user", "ann", stdin="typed\n").output
    assert FakeClient.logins[-1][1:] == ("ann", "typed")


def row(*services: str, slaves: int = 0) -> ClusterRow:
    """A broker with one master, if it has services."""
    members = [Member(f"/g/{n}", "b", f"s{n}", (), serving=False, ready=True) for n in range(slaves)]
    if services:
        members.append(Member("/g/9", "b", "m", services, serving=True, ready=True))
    return ClusterRow("/g", "b", tuple(members))


def test_finding_a_broker() -> None:
    """As the commands do."""
    master = row("amqp://h:1", "tcp://h:2")
    assert find_broker([master], "g", None) is master
    assert url_of(master) == "tcp://h:2"
    with pytest.raises(BrokerUnreachable, match="only amqp://h:1"):
        url_of(row("amqp://h:1"))
    with pytest.raises(NoMaster, match="none"):
        find_broker([row()], "g", "b")
    with pytest.raises(BrokerNotFound):
        find_broker([], "g", None)


def test_a_silent_broker_is_not_waited_for_for_ever() -> None:
    """The time is the user's choice; answers to earlier questions are passed over."""

    class Message:
        def __init__(self, correlation_id: str, **content: object) -> None:
            self.correlation_id = correlation_id
            self.text = json.dumps(content)

    class Endless:
        def __init__(self, messages: list[Message]) -> None:
            self.messages: Iterator[Message] = iter(messages)

        def receive(self, timeout_s: float) -> Message | None:
            assert timeout_s <= 5
            return next(self.messages, None)

        def send(self, message: object, mode: object) -> None:
            del message, mode

    client = object.__new__(BrokerClient)
    client.name, client._answer_s, client._count = "b", 5.0, 1
    client._replies = None  # type: ignore[assignment]  # nothing is sent
    messages = [
        Message("1", status="ok", result="late"),
        Message("2", status="running", result={"changed": 1}),
        Message("2", status="ok", result="right"),
    ]
    endless: Any = Endless(messages)
    client._consumer = client._producer = endless
    told: list[object] = []
    assert client.change("purge", told.append) == "right"
    assert told == [{"changed": 1}]
    with pytest.raises(BrokerUnreachable, match=r"did not answer 'queues' within 5 s\."):
        client.ask("queues")
    assert "mqclient" in sys.modules

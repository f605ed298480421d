"""Operators look into a fabric's brokers and change what is there, also while the master changes."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from support.fabric import FabricForTests
from support.waiting import wait_until

pytestmark = pytest.mark.integration

BROKER = "kept"
PROFILE = f"mq-broker-default.{BROKER}"
CLIENT = ("--brokerUrl", "discovery:fabric:default", "--user", "admin", "--password", "admin")
WHICH = ("--broker", BROKER, "--password", "admin")
MANY = 3_000


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric with one broker in two containers, and a user without roles."""
    fabric = FabricForTests(tmp_path_factory.mktemp("queues"))
    try:
        fabric.create("--profile=fabric")
        fabric.add_user("clerk", "clerks")
        fabric.run("mq-create", "--group", "default", BROKER)
        fabric.run("container-create-child", "--profile", PROFILE, "root", "keeping", "2")
        fabric.wait_master(BROKER, slaves=1)
        yield fabric
    finally:
        fabric.end()


def send(fabric: FabricForTests, queue: str, count: int) -> None:
    """Send `test message: 0` and so on."""
    arguments = (*CLIENT, "--destination", f"queue://{queue}", "--count", str(count))
    fabric.run("producer", *arguments, program="mq-client")


def rows(fabric: FabricForTests, command: str, *arguments: str) -> Any:
    """What a list shows."""
    return fabric.json(command, *arguments, *WHICH)


def audited(fabric: FabricForTests, *arguments: str) -> list[dict[str, Any]]:
    """The entries that brokers have written, the newest first."""
    entries: list[dict[str, Any]] = fabric.json("audit-list", *arguments)
    return [entry for entry in entries if entry["origin"] == "broker"]


def size(fabric: FabricForTests, queue: str) -> int:
    """How many messages a queue holds; 0 if there is none of that name."""
    found = [row["size"] for row in rows(fabric, "queue-list", queue) if row["name"] == queue]
    return int(found[0]) if found else 0


def test_a_day_of_an_operator(fabric: FabricForTests) -> None:
    """List, browse, move, copy, purge, pause, delete; each command says what it did."""
    send(fabric, "orders", 10)
    (row,) = fabric.json("broker-list", "default", "--password", "admin")
    assert (row["broker"], len(row["masters"]), len(row["slaves"])) == (BROKER, 1, 1)
    assert row["figures"]["messages"] == 10
    table = fabric.run("queue-list", *WHICH).splitlines()
    assert table[0].split("  ")[0] == "[queue]"
    assert any(line.split()[:2] == ["orders", "10"] for line in table)
    shown = fabric.run("queue-browse", "orders", "--limit", "2", *WHICH)
    assert "test message: 0" in shown
    assert "test message: 2" not in shown
    assert fabric.run("queue-move", "orders", "later", "--count", "4", *WHICH) == "4 messages moved.\n"
    assert fabric.run("queue-copy", "later", "copies", *WHICH) == "4 messages copied.\n"
    assert fabric.run("queue-purge", "later", "--yes", *WHICH) == "4 messages purged.\n"
    assert (size(fabric, "orders"), size(fabric, "later"), size(fabric, "copies")) == (6, 0, 4)
    fabric.run("queue-pause", "orders", *WHICH)
    assert "paused" in fabric.run("queue-list", "orders", *WHICH)
    fabric.run("queue-resume", "orders", *WHICH)
    fabric.run("queue-delete", "copies", "--yes", *WHICH)
    assert "copies" not in fabric.run("queue-list", *WHICH)
    (connection,) = rows(fabric, "connection-list")
    assert connection["user"] == "admin"
    log = "".join(path.read_text() for path in fabric.home.containers.glob("keeping*/*.log"))
    assert "admin (tcp://" in log
    assert "purge queue://later: done, 4 messages" in log


def test_what_is_wrong_is_said(fabric: FabricForTests) -> None:
    """Without the role, without the queue, with a selector that is none, of a broker there is not."""
    send(fabric, "wrong", 1)
    clerk = ("--user", "clerk", "--password", "clerk", "--broker", BROKER)
    output = fabric.run("queue-purge", "wrong", "--yes", *clerk, code=1)
    assert "User clerk is not authorized" in output
    assert "role admin" in output
    output = fabric.run("queue-list", "--broker", BROKER, "--password", "guessed", code=1)
    assert "password is invalid" in output
    assert "--password" in output
    assert "no queue nowhere" in fabric.run("queue-browse", "nowhere", *WHICH, code=1)
    output = fabric.run("queue-move", "wrong", "other", "--selector", "a = = 1", *WHICH, code=1)
    assert "5" in output
    assert "are there already" in fabric.run("queue-move", "wrong", "wrong", *WHICH, code=1)
    output = fabric.run("queue-list", "--broker", "other", "--password", "admin", code=1)
    assert "has no broker other" in output
    assert BROKER in output
    output = fabric.run("queue-list", "--group", "nobody", "--password", "admin", code=1)
    assert "No broker is running in the group nobody" in output
    assert "--yes" in fabric.run("queue-purge", "wrong", *WHICH, code=2)
    assert size(fabric, "wrong") == 1


def test_a_move_that_is_killed_loses_and_doubles_nothing(fabric: FabricForTests) -> None:
    """Kill -9 of the master: what was moved is moved, the rest is where it was; asked again, it goes on."""
    send(fabric, "from", MANY)
    master = fabric.wait_master(BROKER, slaves=1)
    move = fabric.start("queue-move", "from", "to", *WHICH)
    log = fabric.home.container(master).log
    wait_until(lambda: "move queue://from to queue://to" in log.read_text(), 30, "the move has begun")
    os.kill(fabric.pid(master), signal.SIGKILL)
    move.communicate(timeout=60)
    wait_until(lambda: fabric.wait_master(BROKER, slaves=1) != master, 30, "the other is the master")
    moved = size(fabric, "to")
    assert size(fabric, "from") + moved == MANY
    job = json.loads(fabric.execute("queue-move", "from", "to", *WHICH, "--output", "json").stdout)
    assert job["changed"] == MANY - moved
    shown = fabric.json("queue-browse", "to", "--limit", str(2 * MANY), "--preview", "30", *WHICH)
    assert sorted(row["preview"] for row in shown) == sorted(f"test message: {n}" for n in range(MANY))


def test_without_a_master_it_says_so(fabric: FabricForTests) -> None:
    """Both containers are stopped, or only slaves are left."""
    fabric.run("container-stop", "keeping", "keeping2")
    output = fabric.run("queue-list", *WHICH, code=1)
    assert "No broker is running" in output or "has no master now" in output
    fabric.run("container-start", "keeping", "keeping2")
    fabric.wait_master(BROKER, slaves=1)


def test_the_audit_log_has_refused_clients_and_what_became_of_jobs(fabric: FabricForTests) -> None:
    """Who guessed, once, from where; who purged, when it began and how it ended."""
    guess = ("queue-list", "--broker", BROKER, "--user", "mallory", "--password", "guessed")
    for _ in range(3):
        fabric.run(*guess, code=1)
    wait_until(lambda: bool(audited(fabric, "--user", "mallory")), 60, fabric.logs)
    entry = audited(fabric, "--user", "mallory")[-1]
    assert (entry["action"], entry["source"], entry["count"]) == ("login", "127.0.0.1", 1)
    assert entry["result"].startswith("refused: ")
    send(fabric, "audited", 3)
    fabric.run("queue-purge", "audited", "--yes", *WHICH)

    def results() -> list[str]:
        return [each["result"] for each in audited(fabric, "--user", "admin") if "audited" in each["action"]]

    wait_until(lambda: len(results()) == 2, 60, fabric.logs)
    ended, begun = results()
    number = begun.removeprefix("begun as job ")
    assert ended == f"done: job {number}, 3 messages"

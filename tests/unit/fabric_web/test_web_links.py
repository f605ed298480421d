"""The console's connections to brokers: who is asked how, and what one slow broker costs others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from support.console_brokers import BROKER, GROUP, URL, BrokerWorld, MemoryClient
from twisted.internet.defer import CancelledError, Deferred

from fabric.errors import BrokerNotFound, BrokerRefused, BrokerUnreachable, NoMaster
from fabric.web.broker_links import AT_ONCE_IN_ALL_MAX, AT_ONCE_MAX, USER_PREFIX, WAITING_MAX, BrokerLinks
from fabric.web.errors import Refused
from fabric.web.shared import Shared
from registry import paths
from registry.users import UserRecord


class Threads:
    """Threads whose work is done when the test says so."""

    def __init__(self) -> None:
        self.begun: list[tuple[Callable[[], object], Deferred[object]]] = []

    def run(self, call: Callable[[], object]) -> Deferred[object]:
        """As `Surroundings.run_blocking`."""
        done: Deferred[object] = Deferred()
        self.begun.append((call, done))
        return done

    def finish(self) -> None:
        """Do what has begun, and what follows from it."""
        while self.begun:
            call, done = self.begun.pop(0)
            try:
                found = call()
            except Exception as error:  # noqa: BLE001 - as a thread pool: whatever is raised is the result
                done.errback(error)
            else:
                done.callback(found)


def asked(world: BrokerWorld, operation: str = "usage", **arguments: object) -> Deferred[Any]:
    """A question on its way."""
    return Deferred.fromCoroutine(world.console.links.ask(GROUP, BROKER, operation, **arguments))


def outcome(deferred: Deferred[Any]) -> Any:
    """What has come of it, the error if it is one."""
    found: list[Any] = []
    deferred.addBoth(lambda result: found.append(getattr(result, "value", result)))
    return found[0] if found else None


@pytest.fixture
def world() -> BrokerWorld:
    """A console that has read the registry."""
    made = BrokerWorld()
    made.client("viewer").get("/api/v1/brokers")
    return made


def test_the_user_of_the_console_ends_with_its_session(world: BrokerWorld) -> None:
    """An ephemeral znode with a hash; made anew if it is gone or somebody else's."""
    path = paths.user(f"{USER_PREFIX}root")
    assert outcome(asked(world))["disk_full"] is False
    node = world.registry.get_or_none(path)
    assert node is not None
    assert node.ephemeral_owner == 1
    assert UserRecord.parse(f"{USER_PREFIX}root", node.data).roles == ("admin",)
    world.registry.delete(path)
    world.registry.create(path, b"{}")
    for idle in world.console.links._idle.values():
        idle[1].clear()
    outcome(asked(world))
    again = world.registry.get_or_none(path)
    assert again is not None
    assert again.data == node.data


def test_a_connection_is_used_again(world: BrokerWorld) -> None:
    """Also after a refusal; not after an error, and not one of another master."""
    for _ in range(3):
        outcome(asked(world))
    assert isinstance(outcome(asked(world, "queue", queue="none")), BrokerRefused)
    assert (world.connected, world.closed) == (1, 0)
    world.answers = False
    assert isinstance(outcome(asked(world)), BrokerUnreachable)
    world.answers = True
    outcome(asked(world))
    assert (world.connected, world.closed) == (3, 2)
    for name in world.registry.children(paths.amq_group(GROUP)):
        world.registry.delete(f"{paths.amq_group(GROUP)}/{name}")
    assert isinstance(outcome(asked(world)), BrokerNotFound)
    world.broker(GROUP, BROKER, "second")
    assert isinstance(outcome(asked(world)), NoMaster)
    world.broker(GROUP, BROKER, "third", "tcp://127.0.0.1:61617")
    outcome(asked(world))
    assert (world.connected, world.closed) == (4, 3)


def test_a_broker_without_openwire_cannot_be_asked(world: BrokerWorld) -> None:
    """The error names what it has."""
    world.broker(GROUP, "other", "root", "mqtt://127.0.0.1:1883")
    error = outcome(Deferred.fromCoroutine(world.console.links.ask(GROUP, "other", "usage")))
    assert isinstance(error, BrokerUnreachable)
    assert "no OpenWire connector, only mqtt://127.0.0.1:1883" in str(error)


def test_questions_are_repeated_and_changes_are_not(world: BrokerWorld) -> None:
    """A connection that turns out to be broken is made anew for a question; a change may have been done."""
    outcome(asked(world))
    breaks: list[str] = []
    ask = MemoryClient.ask

    def break_once(client: MemoryClient, operation: str, **arguments: object) -> Any:
        if not breaks:
            breaks.append(operation)
            client.is_connected = False
            raise BrokerUnreachable(BROKER, "it is gone")
        return ask(client, operation, **arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryClient, "ask", break_once)
        assert outcome(asked(world))["disk_full"] is False
        breaks.clear()
        sending = world.console.links.change(GROUP, BROKER, "send", destination="orders", text="once")
        assert isinstance(outcome(Deferred.fromCoroutine(sending)), BrokerUnreachable)
    assert "send" not in world.asked


def test_a_slow_broker_keeps_only_its_own_waiting(world: BrokerWorld) -> None:
    """It holds a few threads; so many wait, more are refused; another broker is asked meanwhile."""
    threads = Threads()
    world.console._run_blocking = threads.run
    world.broker("other", "fast", "root", URL)
    many = [asked(world) for _ in range(AT_ONCE_MAX + WAITING_MAX)]
    # one logs in at a time, and each holds at most one thread
    assert 1 <= len(threads.begun) <= AT_ONCE_MAX
    refused = outcome(asked(world))
    assert isinstance(refused, Refused)
    assert refused.status == 503
    world.console.links.connect = cast("Any", lambda name, url, login: MemoryClient(world))
    fast = Deferred.fromCoroutine(world.console.links.ask("other", "fast", "usage"))
    threads.finish()
    assert outcome(fast)["disk_full"] is False
    assert all(outcome(each)["disk_full"] is False for each in many)


def test_all_brokers_together_leave_threads_for_others(world: BrokerWorld) -> None:
    """However many brokers are slow."""
    threads = Threads()
    world.console._run_blocking = threads.run
    world.console.links.connect = cast("Any", lambda name, url, login: MemoryClient(world))
    asking = []
    for number in range(10):
        world.broker("slow", f"b{number}", "root", URL)
        for _ in range(AT_ONCE_MAX):
            asking.append(Deferred.fromCoroutine(world.console.links.ask("slow", f"b{number}", "usage")))
    most = 0
    while threads.begun:
        most = max(most, len(threads.begun))
        call, done = threads.begun.pop(0)
        done.callback(call())
    assert most <= AT_ONCE_IN_ALL_MAX
    assert all(outcome(each)["disk_full"] is False for each in asking)


def test_who_has_gone_leaves_no_trace(world: BrokerWorld) -> None:
    """A question that nobody waits for any more frees its place, and its connection is closed."""
    outcome(asked(world))
    threads = Threads()
    world.console._run_blocking = threads.run
    gone = [asked(world) for _ in range(AT_ONCE_MAX + 3)]
    for each in gone:
        each.cancel()
        assert isinstance(outcome(each), CancelledError)
    world.console._run_blocking = BrokerWorld().console._run_blocking
    assert outcome(asked(world))["disk_full"] is False


def test_nothing_is_kept_after_the_end(world: BrokerWorld) -> None:
    """All connections are closed, and one that comes back later, too."""
    outcome(asked(world))
    links: BrokerLinks = world.console.links
    links.close()
    assert world.closed == 1
    outcome(asked(world))
    assert (world.connected, world.closed) == (2, 2)


def test_one_answer_for_all_who_wait() -> None:
    """Before it has come and after; an error, too."""
    gate: Deferred[int] = Deferred()

    async def work() -> int:
        return await gate

    shared = Shared(work())
    early = [Deferred.fromCoroutine(shared.result()) for _ in range(2)]
    gate.callback(7)
    assert [outcome(each) for each in early] == [7, 7]
    assert outcome(Deferred.fromCoroutine(shared.result())) == 7

    async def fail() -> int:
        raise Refused(503, "no")

    failed = Shared(fail())
    assert isinstance(outcome(Deferred.fromCoroutine(failed.result())), Refused)

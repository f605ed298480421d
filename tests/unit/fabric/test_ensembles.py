"""The fabric's own ensemble: what is refused, each step of a change, and how it is undone or repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from support.ensemble_bench import NUMBERS, Bench, Registry, server

from fabric.bootstrap import (
    FIRST_ENSEMBLE,
    member_profile,
    shared_profile,
)
from fabric.ensembles import (
    SERVERS_MAX,
    EnsembleError,
    ServerRequest,
    ServerState,
    ensemble_records,
    ensemble_table,
    parse_request,
    parse_state,
    servers_known,
)
from fabric.errors import ContainerNotFound, FabricError, StoredRecordInvalid
from registry import paths
from registry.ensemble import CONFIG
from registry.errors import EnsembleBusy, RegistryError, RegistryUnavailable
from registry.server import TICK_TIME_MS


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A fabric with one server."""
    return Bench(monkeypatch)


@pytest.fixture
def three(bench: Bench) -> Bench:
    """A fabric with three."""
    bench.ensemble.change(["east", "west"], [])
    bench.said.clear()
    bench.registry.changes.clear()
    bench.registry.moved.clear()
    return bench


# What is refused.


def refuse_external(bench: Bench) -> None:
    """The ensemble is others'."""
    bench.registry.put(paths.ensemble_members(FIRST_ENSEMBLE), b"")


def refuse_lone(bench: Bench) -> None:
    """The server cannot have companions."""
    bench.registry.put(CONFIG, b"")


def refuse_down(bench: Bench) -> None:
    """A container is down."""
    bench.stop("west")


def refuse_loopback(bench: Bench) -> None:
    """The server listens on its own host only."""
    bench.registry.write_servers([server(1, "127.0.0.1")])


def as_it_is(bench: Bench) -> None:
    """Nothing is planted."""


@pytest.mark.parametrize(
    ("plant", "joining", "leaving", "what", "do_next"),
    [
        (
            refuse_external,
            ["east", "west"],
            [],
            "does not run its ensemble itself",
            "10.0.0.1:2181 are looked after",
        ),
        (refuse_lone, ["east", "west"], [], "of root stands alone", "container-start root"),
        (refuse_down, ["east", "west"], [], "west is not connected", "fabric container-start west"),
        (refuse_loopback, ["east", "west"], [], "east is on another host", "--bind-address 0.0.0.0"),
        (as_it_is, ["east", "east"], [], "east is named twice", "once"),
        (as_it_is, ["east", "west"], ["east"], "east is named twice", "once"),
        (as_it_is, ["root", "east"], [], "root is a member of the ensemble already", "Members are: root."),
        (as_it_is, ["east"], ["west"], "west is not a member", "Members are: root."),
        (as_it_is, [], ["root"], "last server of the ensemble cannot be removed", "Leave one"),
        (as_it_is, ["east"], [], "of 2 servers survives no more failures than one of 1", "There are 1"),
    ],
)
def test_what_is_refused(
    bench: Bench,
    plant: Callable[[Bench], None],
    joining: Sequence[str],
    leaving: Sequence[str],
    what: str,
    do_next: str,
) -> None:
    """The error says why and what to do; nothing is changed, and no container is asked."""
    plant(bench)
    before = bench.picture()
    with pytest.raises(EnsembleError) as refused:
        bench.ensemble.change(joining, leaving)
    assert what in refused.value.what
    assert do_next in refused.value.do_next
    assert bench.picture() == before
    assert not any(bench.hosts[name].asked for name in ("east", "west"))
    assert bench.registry.changes == []


def test_an_unknown_container_is_refused(bench: Bench) -> None:
    """As everywhere."""
    with pytest.raises(ContainerNotFound, match="nobody"):
        bench.ensemble.change(["east", "nobody"], [])


def test_too_many_are_refused(bench: Bench) -> None:
    """Every write waits for more than half of them."""
    more = [f"c{number}" for number in range(SERVERS_MAX + 1)]
    for name in more:
        bench.add(name)
    with pytest.raises(EnsembleError, match=f"{SERVERS_MAX + 2} servers is too large"):
        bench.ensemble.change(more, [])


def test_a_server_on_loopback_gets_companions_on_its_host(bench: Bench) -> None:
    """There they reach each other."""
    bench.registry.write_servers([server(1, "127.0.0.1")])
    for name in ("here", "there"):
        bench.add(name, host="host-root")
    bench.ensemble.change(["here", "there"], [])
    assert bench.ensemble.members() == ["root", "here", "there"]


# The change.


def test_servers_join(bench: Bench) -> None:
    """They are started one after the other, get their votes in one step, are told to clients, and shown."""
    assert bench.ensemble.change(["east", "west"], []) == "10.0.0.1:2181,10.0.0.2:2181,10.0.0.3:2181"
    (asked,) = bench.hosts["west"].asked
    assert asked == ServerRequest(3, others=(server(1).line(),), tick_time_ms=500)
    assert bench.registry.changes == [([2, 3], [])]
    assert bench.registry.moved == ["10.0.0.1:2181"], "not to servers that have no vote yet"
    assert bench.said == [
        "Starting a ZooKeeper server in container east",
        "Starting a ZooKeeper server in container west",
        "Changing who has a vote",
    ]
    assert bench.ensemble.servers() == {name: server(NUMBERS[name]) for name in ("root", "east", "west")}
    shown = bench.profiles.get("fabric-ensemble-0000-2", "1.0")
    assert shown == member_profile(2, 2181, "0.0.0.0")
    assert bench.containers.profiles("east") == ("default", shown.id)


def test_servers_leave(three: Bench) -> None:
    """Clients are told first; then the votes end, then the servers with their data."""
    assert three.ensemble.change([], ["root", "west"]) == "10.0.0.2:2181"
    assert three.registry.moved == ["10.0.0.2:2181"]
    assert three.registry.changes == [([], [1, 3])]
    assert three.hosts["west"].asked[-1] == replace(three.hosts["west"].asked[0], wanted=False)
    assert three.ensemble.members() == ["east"]
    assert three.profile_ids() == ["fabric-ensemble-0000-2"]
    assert three.containers.profiles("west") == ("default",)
    assert three.registry.children(paths.ensemble_servers()) == ["east"]


def test_others_take_their_place(three: Bench) -> None:
    """All in one step; the numbers of servers that were there before are not used again at once."""
    assert three.ensemble.change(["north"], ["west"]).endswith(",10.0.0.4:2181")
    assert three.registry.changes == [([4], [3])]
    three.ensemble.change(["west"], ["north"])
    assert three.registry.changes[-1] == ([5], [4])


def test_one_that_is_down_leaves(three: Bench) -> None:
    """Nobody waits for it: it is told when it comes back."""
    three.stop("east")
    three.stop("west")
    three.ensemble.change([], ["east", "west"])
    assert three.ensemble.members() == ["root"]
    assert not parse_request(three.registry.get(paths.ensemble_server("east")).data).wanted


@pytest.mark.parametrize("written", ["200", "nonsense"])
def test_those_that_join_have_the_same_tick(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    """As the profile they share says; its default, if that cannot be read."""
    bench = Bench(monkeypatch, tick_time_ms=200)
    path = paths.profile("1.0", shared_profile())
    bench.registry.set(path, bench.registry.get(path).data.replace(b"200", written.encode()))
    bench.ensemble.change(["east", "west"], [])
    assert bench.hosts["east"].asked[0].tick_time_ms == (200 if written == "200" else TICK_TIME_MS)


# How it is undone.


def failing(
    bench: Bench, joining: Sequence[str], leaving: Sequence[str], timeout_s: float = 9.0
) -> EnsembleError:
    """Fail to change something; everything is as it was, and the error says so."""
    before = bench.picture()
    with pytest.raises(EnsembleError) as failed:
        bench.ensemble.change(joining, leaving, timeout_s)
    assert failed.value.what.endswith("The ensemble is as it was.")
    assert bench.picture() == before
    assert not any(bench.registry.exists(paths.ensemble_server(name)) for name in joining)
    return failed.value


def test_a_container_that_cannot_run_a_server(bench: Bench) -> None:
    """Its reason is told, and the one that had begun before it ends again."""
    bench.hosts["west"].error = "Java was not found."
    error = failing(bench, ["east", "west"], [])
    assert error.what.startswith("Container west cannot run a ZooKeeper server: Java was not found.")
    assert "fabric container-logs east" in error.do_next
    assert not bench.hosts["east"].asked[-1].wanted
    bench.hosts["west"].error = ""
    bench.ensemble.change(["east", "west"], [])
    assert len(bench.ensemble.members()) == 3


def test_a_container_that_does_nothing(bench: Bench) -> None:
    """It is given up after the time given."""
    bench.hosts["east"].is_silent = True
    error = failing(bench, ["east", "west"], [], 0.0)
    assert "The ZooKeeper server of container east was not started in time." in error.what


def test_a_server_that_does_not_follow(bench: Bench) -> None:
    """It was started, and clients are not served by it."""
    bench.registry.unreachable.add("10.0.0.2:2181")
    error = failing(bench, ["east", "west"], [], 0.0)
    assert "The ZooKeeper server of container east does not follow the others in time." in error.what


def test_a_server_that_does_not_end_holds_nobody_up(bench: Bench) -> None:
    """What is undone is waited for only so long."""
    host = bench.hosts["east"]
    bench.registry.unreachable.add("10.0.0.2:2181")

    def fall_silent(path: str) -> None:
        host.is_silent = bool(host.asked)

    bench.registry.before_write = fall_silent
    with pytest.raises(EnsembleError, match="The ensemble is as it was"):
        bench.ensemble.change(["east", "west"], [], 0.0)
    assert not parse_request(bench.registry.get(paths.ensemble_server("east")).data).wanted


@pytest.mark.parametrize(
    ("joining", "leaving"), [(["north", "south"], []), (["north"], ["east"]), ([], ["east", "west"])]
)
def test_an_ensemble_that_does_not_change(three: Bench, joining: list[str], leaving: list[str]) -> None:
    """Whoever joins ends again, and clients are told the old address."""
    three.registry.refusals = [EnsembleBusy("ZooKeeper does not change its servers now (NewConfigNoQuorum).")]
    error = failing(three, joining, leaving)
    assert "NewConfigNoQuorum" in error.what
    assert ("container-logs" if joining else "ensemble-summary") in error.do_next


def test_a_member_that_never_said_where_it_is(three: Bench) -> None:
    """Clients could not be told where to go: nobody leaves."""
    three.registry.delete(paths.ensemble_server_state("root"))
    error = failing(three, [], ["east", "west"])
    assert error.what.startswith("Container root has not said where its ZooKeeper server is.")
    assert "container-start root" in error.do_next


def test_without_a_secret_nothing_changes(bench: Bench) -> None:
    """What the registry says is in the error."""
    bench.registry.delete(paths.ensemble_secret())
    assert "secret" in failing(bench, ["east", "west"], []).what


def test_nothing_is_undone_if_the_votes_may_have_changed(bench: Bench) -> None:
    """A lost answer: those that joined vote, so they stay, and the same command completes it."""
    bench.registry.refusals = [RegistryUnavailable("The answer was lost.")]
    bench.registry.after = True
    with pytest.raises(RegistryUnavailable, match="The answer was lost"):
        bench.ensemble.change(["east", "west"], [])
    assert sorted(bench.registry.servers) == [1, 2, 3]
    assert bench.hosts["east"].asked[-1].wanted
    bench.ensemble.change(["east", "west"], [])
    assert bench.ensemble.members() == ["root", "east", "west"]
    assert sorted(bench.registry.servers) == [1, 2, 3]


def test_what_cannot_be_undone_hides_no_error(bench: Bench) -> None:
    """ZooKeeper is away: the first error counts, not that of its undoing."""
    bench.registry.refusals = [RegistryUnavailable("first")]

    def fail(path: str) -> None:
        if not bench.registry.refusals:
            raise RegistryUnavailable("second")

    bench.registry.before_write = fail
    with pytest.raises(RegistryUnavailable, match="first"):
        bench.ensemble.change(["east", "west"], [])


# How it is repeated.


class Interrupted(BaseException):
    """The command was ended in the middle."""


def cutting_off(registry: Registry, at: int) -> Callable[[str], None]:
    """Cut a command off at one of its writes; what containers write does not count."""
    count = 0

    def cut_off(path: str) -> None:
        nonlocal count
        count += not registry.is_host
        if count == at and not registry.is_host:
            raise Interrupted(path)

    return cut_off


@pytest.mark.parametrize(
    ("joining", "leaving"),
    [(["north", "south"], []), ([], ["root", "west"]), (["north"], ["root"]), ([], ["east", "west"])],
)
def test_a_command_that_was_cut_off_is_repeated(
    monkeypatch: pytest.MonkeyPatch, joining: list[str], leaving: list[str]
) -> None:
    """Wherever that was: afterwards everything is as if it had not been cut off."""

    def bench() -> Bench:
        made = Bench(monkeypatch)
        made.ensemble.change(["east", "west"], [])
        return made

    wanted = bench()
    wanted.ensemble.change(joining, leaving)
    steps = 0
    is_complete = False
    while not is_complete:
        steps += 1
        assert steps < 100
        made = bench()
        made.registry.before_write = cutting_off(made.registry, steps)
        try:
            made.ensemble.change(joining, leaving)
            is_complete = True
        except Interrupted:
            made.registry.before_write = lambda path: None
            try:
                made.ensemble.change(joining, leaving)
            except EnsembleError as error:  # it was complete but for what nobody waits for
                assert "member" in error.what
        assert made.picture() == wanted.picture(), f"cut off at write {steps}"
    assert steps > 5


# Records.


@pytest.mark.parametrize("data", [b"", b"[1]", b"\xff", b"{"])
def test_damaged_records_are_named(data: bytes) -> None:
    """Nothing is guessed."""
    for parse in (parse_request, parse_state):
        with pytest.raises(StoredRecordInvalid, match=paths.ensemble_servers()):
            parse(data)


@pytest.mark.parametrize("data", [b'{"id": "x"}', b'{"others": 5}', b'{"tick_time_ms": null}'])
def test_fields_of_another_kind_are_named(data: bytes) -> None:
    """They would be the containers' to stumble over."""
    with pytest.raises(StoredRecordInvalid, match="a field is not what it should be"):
        parse_request(data)


def test_records_are_read_as_written() -> None:
    """Unknown fields are no error."""
    request = ServerRequest(3, wanted=False, others=("a", "b"), tick_time_ms=200)
    assert parse_request(request.to_bytes()) == request
    state = ServerState("line", "url", "error")
    assert parse_state(state.to_bytes()) == state
    assert parse_state(b'{"new": 1}') == ServerState()
    assert parse_request(b'{"id": 7, "new": 1}') == ServerRequest(7)


def test_what_there_is(three: Bench) -> None:
    """As it is printed and given to scripts; a server of nobody known is called by its number."""
    three.registry.write_servers([*three.registry.servers.values(), server(9)])
    three.registry.write_servers(one for one in three.registry.servers.values() if one.id != 3)
    assert three.ensemble.servers()["server 9"] == server(9)
    assert ensemble_records(three.ensemble) == [
        {"id": "root", "server": 1, "address": "10.0.0.1:2181"},
        {"id": "east", "server": 2, "address": "10.0.0.2:2181"},
        {"id": "west", "server": 0, "address": ""},
    ]
    assert str(ensemble_table(three.ensemble.members())).split() == ["[id]", "root", "east", "west"]


def test_an_ensemble_that_is_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no members, and is found where the session found it."""
    bench = Bench(monkeypatch)
    bench.registry.delete(paths.ensemble_url())
    bench.registry.delete(paths.ensemble_servers(), recursive=True)
    bench.registry.delete(CONFIG)
    assert bench.ensemble.url == bench.registry.url
    assert bench.ensemble.servers() == {}
    assert servers_known(bench.registry) == []  # type: ignore[arg-type]  # a fake


def test_the_kinds_of_errors() -> None:
    """Commands print the one, and scripts see the other."""
    assert issubclass(EnsembleError, FabricError)
    assert not issubclass(EnsembleError, RegistryError)

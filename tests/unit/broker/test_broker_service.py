"""The broker's service: what it does when it is elected, fenced, stopped, or cannot serve."""

from collections.abc import Callable
from typing import Any

import pytest
from support.fake_reactor import FakeReactor
from twisted.internet.defer import Deferred, succeed

import broker.service
from broker.authorization import Authorization
from broker.config import BrokerConfig
from broker.errors import PortUnavailable, StoreIsAnother
from broker.security import PasswordAuthenticator
from broker.service import BrokerService
from journal.errors import JournalError, StoreFailed, StoreFenced
from registry.roles import Role


class FakeElection:
    """An election that keeps what it is told."""

    last_master = ""

    def __init__(self, *arguments: object, on_group_changed: Callable[[], None], **options: object) -> None:
        self.listener: Any = arguments[-1]
        self.on_group_changed = on_group_changed
        self.services: list[str] = []
        self.told: list[object] = []
        self.state = Role.SLAVE
        self.settled = True
        self.other_serves = False

    def start(self) -> None:
        """Joined."""
        self.told.append("start")

    def publish(self, services: tuple[str, ...]) -> None:
        """Serving."""
        self.told.append(services)
        self.state = Role.MASTER

    def failed(self, retry_delay_s: float = 0.0) -> None:
        """Not serving."""
        self.told.append(("failed", retry_delay_s))
        self.state = Role.SLAVE

    def give_way(self) -> bool:
        """Nobody waits."""
        return False

    def stopped(self) -> None:
        """Stepped down."""
        self.told.append("stopped")
        self.state = Role.SLAVE

    def stop(self, on_left: Callable[[], None]) -> None:
        """Left."""
        self.told.append("stop")
        on_left()


class FakeMastership:
    """A mastership that begins when told."""

    def __init__(self, *arguments: object, on_failed: Callable[..., None], **options: object) -> None:
        del arguments
        self.follower = options.get("follower")
        self.cluster: Any = options.get("cluster")
        self.on_failed = on_failed
        self.begun: Deferred[list[str]] = Deferred()
        self.did: list[str] = []
        self.clients = 3
        self.problem = self.notice = ""
        self.began_s = 0.0

    def usage(self) -> dict[str, object]:
        """Nothing is used."""
        return {"blockedSends": 0}

    async def begin(self) -> list[str]:
        """Wait to be told."""
        self.urls = await self.begun
        return self.urls

    def urls_at(self, host: str) -> list[str]:
        """As it was told, on that host."""
        return [url.replace("//h:", f"//{host}:") for url in self.urls]

    async def close(self) -> None:
        """Closed."""
        self.did.append("close")

    def change_rights(self, authorization: Authorization) -> None:
        """Changed."""
        self.did.append(f"{len(authorization.grants)} grants")

    def drop_clients(self) -> Deferred[None]:
        """Dropped."""
        self.did.append("drop")
        return succeed(None)


class FakeFollower:
    """Follows nothing; says whether it should."""

    following = 0

    def __init__(self, _files: object) -> None:
        self.polls = 0

    def start(self) -> None:
        """One more."""
        FakeFollower.following += 1

    def end(self) -> None:
        """One less."""
        FakeFollower.following -= 1


class Bench:
    """A service whose election and masterships are fakes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.masterships: list[FakeMastership] = []
        self.elections: list[FakeElection] = []
        self.now_s = 1000.0
        monkeypatch.setattr(broker.service, "Mastership", self._mastership)
        monkeypatch.setattr(broker.service, "BrokerElection", self._election)
        monkeypatch.setattr(broker.service, "FollowerThread", FakeFollower)
        FakeFollower.following = 0
        monkeypatch.setattr(broker.service.time, "monotonic", lambda: self.now_s)
        self.users = PasswordAuthenticator(lambda call, done: done(call()), {})
        config = self.config()
        self.service = BrokerService(
            None,
            config,
            None,
            container="c",
            advertised_host="h",
            bind_address="127.0.0.1",
            users=self.users,
        )
        self.service.startService()

    def config(self, **properties: str) -> BrokerConfig:
        """A configuration with these properties."""
        return BrokerConfig.from_properties(
            {"broker-name": "b", "startRetryDelay": "1000", **properties}, container="c"
        )

    def _mastership(self, *arguments: object, **options: Any) -> FakeMastership:
        self.masterships.append(FakeMastership(*arguments, **options))
        self.masterships[-1].began_s = self.now_s
        return self.masterships[-1]

    def _election(self, *arguments: object, **options: Any) -> FakeElection:
        self.elections.append(FakeElection(*arguments, **options))
        return self.elections[-1]

    @property
    def told(self) -> list[object]:
        """What the election was told."""
        return self.elections[-1].told

    def elect(self) -> FakeMastership:
        """It is elected."""
        self.service.take_over()
        return self.masterships[-1]

    def serve(self) -> FakeMastership:
        """It is elected and serves."""
        mastership = self.elect()
        mastership.begun.callback(["tcp://h:1"])
        return mastership

    def lose(self, mastership: FakeMastership, error: JournalError) -> None:
        """The journal has failed."""
        mastership.on_failed(mastership, error)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A started service."""
    return Bench(monkeypatch)


def test_an_elected_broker_publishes_once_it_serves(bench: Bench) -> None:
    """Nobody is sent to a broker that does not accept connections yet."""
    assert bench.told == ["start"]
    mastership = bench.elect()
    assert bench.told == ["start"]
    mastership.begun.callback(["tcp://h:1"])
    assert bench.told == ["start", ("tcp://h:1",)]
    status = bench.service.status()
    assert (status["role"], status["services"], status["connections"]) == ("master", ["tcp://h:1"], 3)


@pytest.mark.parametrize("error", [PortUnavailable("port 1 is taken"), StoreFailed("disk")])
def test_a_broker_that_cannot_serve_leaves_it_to_others_and_waits_longer_each_time(
    bench: Bench, error: Exception
) -> None:
    """The pause doubles up to startRetryDelay, and the status says why."""
    for expected_s in (0.25, 0.5, 1.0, 1.0):
        bench.elect().begun.errback(error)
        assert bench.told[-1] == ("failed", expected_s)
    assert bench.service.status()["error"] == str(error)
    bench.serve()
    assert bench.service.status()["error"] == ""


def test_an_error_is_over_when_another_broker_serves(bench: Bench) -> None:
    """A slave that could not take over is sound as soon as there is a master, and says so."""
    bench.elect().begun.errback(PortUnavailable("port 61616 is taken"))
    assert bench.service.status()["error"] == "port 61616 is taken"
    bench.elections[-1].other_serves = True
    assert bench.service.status()["error"] == ""
    bench.elections[-1].other_serves = False
    assert bench.service.status()["error"] == "port 61616 is taken"


def test_a_shortage_of_the_master_is_shown_as_long_as_it_lasts(bench: Bench) -> None:
    """`container-info` shows an error while producers wait for space; the figures are in the status, too."""
    bench.serve()
    assert bench.service.status()["usage"] == {"blockedSends": 0}
    bench.masterships[-1].problem = "storeUsage, 1 bytes, is used up"
    assert bench.service.status()["error"] == "storeUsage, 1 bytes, is used up"
    bench.masterships[-1].problem = ""
    assert bench.service.status()["error"] == ""


def test_an_unforeseen_error_is_a_failure_like_any_other(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A programming error leaves mastership to another broker instead of blocking it."""
    bench.elect().begun.errback(ZeroDivisionError("bug"))
    assert bench.told[-1] == ("failed", 0.25)
    assert "ZeroDivisionError" in caplog.text


def test_a_fenced_broker_comes_back_as_a_slave_at_once(bench: Bench) -> None:
    """The other broker is right; there is nothing to wait for."""
    bench.lose(bench.serve(), StoreFenced("live-1 is gone"))
    assert bench.told[-1] == ("failed", 0.0)
    assert bench.service.status()["services"] == []
    assert bench.service.status()["error"] == ""


def test_brokers_that_fence_each_other_slow_down(bench: Bench) -> None:
    """Two brokers elected apart, over one store, do not take it from each other a hundred times a second."""
    bench.lose(bench.serve(), StoreFenced("gone"))
    bench.lose(bench.serve(), StoreFenced("gone"))
    assert bench.told[-1][1] > 0


def test_a_long_mastership_forgives_earlier_failures(bench: Bench) -> None:
    """The first failure after a long time of service is treated as the first."""
    bench.elect().begun.errback(StoreFailed("disk"))
    bench.elect().begun.errback(StoreFailed("disk"))
    mastership = bench.serve()
    bench.now_s += 60
    bench.lose(mastership, StoreFailed("disk"))
    assert bench.told[-1] == ("failed", 0.25)


def test_stepping_down_closes_before_it_is_said(bench: Bench) -> None:
    """The next master is not let in before this one has made everything durable and dropped its clients."""
    mastership = bench.serve()
    bench.service.step_down("somebody is ahead")
    assert mastership.did == ["close", "drop"]
    assert bench.told[-1] == "stopped"


def test_a_step_down_during_the_take_over_waits_for_it(bench: Bench) -> None:
    """What has begun is brought to its end and then undone."""
    mastership = bench.elect()
    bench.service.step_down("somebody is ahead")
    assert mastership.did == []
    mastership.begun.callback(["tcp://h:1"])
    assert mastership.did == ["close", "drop"]
    assert bench.told == ["start", "stopped"]


def test_stopping_leaves_the_group_before_it_drops_its_clients(bench: Bench) -> None:
    """The slave begins while the clients are still being told."""
    mastership = bench.serve()
    done: list[None] = []
    bench.service.stopService().addCallback(done.append)
    assert mastership.did == ["close", "drop"]
    assert bench.told[-1] == "stop"
    assert done == [None]
    assert bench.service.status()["role"] == "offline"


def test_stopping_during_the_take_over_waits_for_it(bench: Bench) -> None:
    """A journal that is just being opened is closed again."""
    mastership = bench.elect()
    done: list[None] = []
    bench.service.stopService().addCallback(done.append)
    assert done == []
    mastership.begun.callback(["tcp://h:1"])
    assert done == [None]
    assert mastership.did == ["close", "drop"]
    assert ("tcp://h:1",) not in bench.told


def test_a_slave_stops_at_once(bench: Bench) -> None:
    """There is nothing to close."""
    done: list[None] = []
    bench.service.stopService().addCallback(done.append)
    assert (bench.told, done) == (["start", "stop"], [None])


def test_a_journal_that_fails_while_the_broker_stops_changes_nothing(bench: Bench) -> None:
    """Who has left the group does not fail in it."""
    mastership = bench.serve()
    bench.service.stopService()
    bench.lose(mastership, StoreFailed("disk"))
    assert bench.told[-1] == "stop"


def test_a_stopped_broker_can_be_started_again(bench: Bench) -> None:
    """With an election of its own."""
    bench.serve()
    bench.service.stopService()
    bench.service.startService()
    bench.serve()
    assert len(bench.elections) == 2
    assert bench.told == ["start", ("tcp://h:1",)]


def test_a_slave_follows_the_journal_and_hands_the_follower_over(bench: Bench) -> None:
    """P5: whoever waits to become master keeps the index warm, again after it was fenced."""
    assert FakeFollower.following == 1
    mastership = bench.serve()
    assert mastership.follower is not None
    FakeFollower.following -= 1  # the mastership's from now on
    bench.lose(mastership, StoreFenced("x"))
    assert FakeFollower.following == 1
    bench.service.stopService()
    assert FakeFollower.following == 0


def test_another_broker_that_was_faster_is_no_fault(bench: Bench) -> None:
    """Two brokers that start together may both be elected for a moment; the slower one reports no error."""
    bench.elect().begun.errback(StoreFenced("live-1 is gone"))
    assert bench.service.status()["error"] == ""
    assert bench.told[-1] != "start"


GRANT = {"authorization.queue.>.read": "users"}


def test_another_authorization_counts_while_the_broker_serves(bench: Bench) -> None:
    """It is taken over without a restart; anything else asks for one."""
    mastership = bench.serve()
    assert bench.service.reconfigure(bench.config(**GRANT))
    assert mastership.did == ["1 grants"]
    assert not bench.service.reconfigure(bench.config(**GRANT, memoryUsage="1 mb"))
    assert mastership.did == ["1 grants"]


def test_changed_users_change_rights(bench: Bench) -> None:
    """A change of the users' roles counts at once, until the broker is stopped."""
    mastership = bench.serve()
    bench.users.set_users({})
    assert mastership.did == ["0 grants"]
    bench.service.stopService()
    bench.users.set_users({})
    assert "0 grants" not in mastership.did[1:]


def test_an_authorization_changed_during_the_take_over_is_not_lost(bench: Bench) -> None:
    """The new master serves with what is configured when it begins to serve."""
    mastership = bench.elect()
    assert bench.service.reconfigure(bench.config(**GRANT))
    assert mastership.did == []
    mastership.begun.callback(["tcp://h:1"])
    assert mastership.did == ["1 grants"]


def test_a_mastership_knows_where_the_group_serves(bench: Bench) -> None:
    """What the brokers of the group publish is told to the clients of the one that serves."""
    mastership = bench.serve()
    (election,) = bench.elections
    election.services = ["tcp://h:1", "tcp://other:1"]
    election.on_group_changed()
    assert mastership.cluster.urls == ("tcp://h:1", "tcp://other:1")


def test_a_serving_broker_is_published_at_another_address(bench: Bench) -> None:
    """At once, and its connections stay; before it serves, it is only noted."""
    bench.service.advertise("early")
    assert bench.told == ["start"]
    mastership = bench.serve()
    assert bench.told == ["start", ("tcp://early:1",)]
    bench.service.advertise("new")
    assert bench.told[-1] == ("tcp://new:1",)
    assert bench.service.status()["services"] == ["tcp://new:1"]
    assert mastership.did == []


class FakeStore:
    """A store that is the broker's, or not."""

    def __init__(self) -> None:
        self.error: Exception | None = StoreIsAnother("not mounted")

    def establish(self) -> str:
        """Say so."""
        if self.error is not None:
            raise self.error
        return "a" * 32

    def check(self, expected: str) -> None:
        """Nothing is asked here."""


def test_a_broker_without_its_store_stays_out_of_the_election(bench: Bench) -> None:
    """It says why, looks again, and joins when the store is there."""
    reactor, store = FakeReactor(), FakeStore()
    service = BrokerService(
        reactor,
        bench.config(),
        None,
        container="c",
        advertised_host="h",
        bind_address="127.0.0.1",
        users=bench.users,
        store=store,
    )
    service.startService()
    reactor.turn()
    assert len(bench.elections) == 1, "the bench's own"
    assert (service.status()["role"], service.status()["error"]) == ("offline", "not mounted")
    store.error = None
    reactor.pass_time(1.0)
    assert len(bench.elections) == 2
    assert service.status()["error"] == ""
    service.stopService()
    store.error = StoreIsAnother("gone again")
    service.startService()
    reactor.turn()
    service.stopService()
    assert not [call for call in reactor.getDelayedCalls() if call.active()], "it does not look again"

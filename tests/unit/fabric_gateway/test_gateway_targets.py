"""Where clients can be led, step by step with a clock of our own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.gateway.balance import make_balance
from fabric.gateway.opening import PLAIN_SCHEMES, TLS_SCHEMES
from fabric.gateway.targets import LEFT_GRACE_S, RETRY_S_MAX, RETRY_S_MIN, Health, Targets
from registry.discovery import Master

SCHEMES = {scheme for known in (PLAIN_SCHEMES, TLS_SCHEMES) for some in known.values() for scheme in some}
TCP = PLAIN_SCHEMES["openwire"]


def master(broker: str, container: str, *urls: str) -> Master:
    """One that serves."""
    return Master(broker, container, urls)


class Scene:
    """The targets of one gateway at a time."""

    def __init__(self, leads_to: object = None, balance: str = "roundrobin") -> None:
        self.now_s = 100.0
        self.targets = Targets(make_balance(balance), leads_to or (lambda _: True), SCHEMES)
        self.targets.begin(self.now_s)

    def tell(self, *masters: Master, reached: bool | None = True) -> None:
        """The registry tells; then what is due is tried."""
        self.targets.set_masters(masters, self.now_s)
        if reached is not None:
            self.try_due(reached)

    def try_due(self, reached: bool = True) -> list[str]:
        """Try what is due."""
        due = self.targets.due(self.now_s)
        for target in due:
            self.targets.tried(target, reached, self.now_s)
        return [target.url for target in due]

    def chosen(self, schemes: tuple[str, ...] = TCP, client: str = "c") -> str | None:
        """The url that a client is led to."""
        target = self.targets.choose(schemes, client)
        return None if target is None else target.url

    def connect(self, schemes: tuple[str, ...] = TCP) -> None:
        """A client is there."""
        target = self.targets.choose(schemes, "c")
        assert target is not None
        target.connections += 1

    def lost(self) -> list[str]:
        """Whose clients are dropped."""
        return [target.url for target in self.targets.lost(self.now_s)]


def test_a_master_is_tried_before_anybody_is_led_there() -> None:
    """Until it has answered it takes nobody."""
    scene = Scene()
    scene.tell(master("b", "m", "tcp://h:1"), reached=None)
    assert scene.targets.deadline_s == scene.now_s
    assert scene.chosen() is None
    (target,) = scene.targets.due(scene.now_s)
    assert scene.chosen() is None
    assert scene.targets.due(scene.now_s) == []
    scene.targets.tried(target, True, scene.now_s)
    assert scene.chosen() == "tcp://h:1"
    assert scene.targets.deadline_s is None


def test_one_that_does_not_answer_is_tried_again() -> None:
    """Ever later, up to a limit; an answer makes the next failure begin anew."""
    scene = Scene()
    scene.tell(master("b", "m", "tcp://h:1"), reached=False)
    delays = []
    for _ in range(8):
        due_s = scene.targets.deadline_s
        assert due_s is not None
        delays.append(round(due_s - scene.now_s, 3))
        assert scene.targets.due(due_s - 0.001) == []
        scene.now_s = due_s
        assert scene.try_due(False) == ["tcp://h:1"]
    assert delays[:4] == [RETRY_S_MIN, 0.2, 0.4, 0.8]
    assert delays[-1] == RETRY_S_MAX
    scene.now_s += 10
    scene.try_due()
    assert scene.chosen() == "tcp://h:1"
    (target,) = scene.targets
    scene.targets.tried(target, False, scene.now_s)
    scene.targets.tried(target, False, scene.now_s)
    assert scene.chosen() is None
    assert scene.targets.deadline_s == scene.now_s + RETRY_S_MIN, "two clients that fail at a time count once"


def test_the_best_url_of_each_broker() -> None:
    """By the client's schemes in their order; brokers without one are not asked."""
    scene = Scene()
    scene.tell(
        master("a", "m", "auto://h:1", "nio://h:2", "tcp://h:3", "mqtt://h:4", "nonsense", "tcp://h:x"),
        master("b", "n", "mqtt://h:5", "mqtt+ssl://h:6"),
    )
    assert [scene.chosen() for _ in range(2)] == ["tcp://h:3", "tcp://h:3"]
    assert {scene.chosen(PLAIN_SCHEMES["mqtt"]) for _ in range(2)} == {"mqtt://h:4", "mqtt://h:5"}
    assert scene.chosen(TLS_SCHEMES["mqtt"]) in ("mqtt+ssl://h:6", "auto://h:1")
    assert scene.chosen(PLAIN_SCHEMES["stomp"]) == "auto://h:1"
    assert len(list(scene.targets)) == 6


def test_the_next_best_url_while_the_best_is_down() -> None:
    """A broker with two ways is reached by the other one."""
    scene = Scene()
    scene.tell(master("a", "m", "tcp://h:1", "auto://h:2"))
    scene.targets.tried(next(iter(scene.targets)), False, scene.now_s)
    assert scene.try_due() == ["auto://h:2"]
    assert scene.chosen() == "auto://h:2"


def test_one_url_that_fails_makes_the_others_doubtful() -> None:
    """A container that has let a client down is asked at its other ports; other containers are not."""
    scene = Scene()
    scene.tell(master("a", "m", "tcp://h:1", "mqtt://h:2"), master("b", "n", "tcp://h:3"))
    first = next(iter(scene.targets))
    scene.targets.tried(first, False, scene.now_s)
    assert scene.chosen(PLAIN_SCHEMES["mqtt"]) is None
    assert scene.try_due(False) == ["mqtt://h:2"]
    scene.now_s += 1
    assert sorted(scene.try_due(False)) == ["mqtt://h:2", "tcp://h:1"]
    assert scene.chosen() == "tcp://h:3"


def test_only_brokers_that_are_asked_for() -> None:
    """Others are not even tried."""
    scene = Scene(leads_to=lambda broker: broker.startswith("shop"))
    scene.tell(master("shop1", "m", "tcp://h:1"), master("other", "n", "tcp://h:2"))
    assert {scene.chosen() for _ in range(3)} == {"tcp://h:1"}


def test_a_takeover() -> None:
    """Clients of the old master are dropped when the new one has answered, not before."""
    scene = Scene()
    scene.tell(master("b", "m", "tcp://h:1"))
    scene.connect()
    scene.now_s += 60
    scene.tell(master("b", "s"))
    assert scene.chosen() is None
    assert scene.lost() == []
    scene.now_s += 0.2
    scene.tell(master("b", "s", "tcp://h:2"), reached=None)
    assert scene.lost() == []
    scene.try_due()
    assert scene.lost() == ["tcp://h:1"]
    assert scene.lost() == []
    assert scene.chosen() == "tcp://h:2"


def test_a_master_that_comes_back_keeps_its_clients() -> None:
    """It has lost its session and joins again: nobody is dropped, and it is tried again."""
    scene = Scene()
    scene.tell(master("b", "m", "tcp://h:1"))
    scene.connect()
    scene.tell(master("b", "s"))
    scene.now_s += LEFT_GRACE_S / 2
    scene.tell(master("b", "m", "tcp://h:1"))
    scene.now_s += 10 * LEFT_GRACE_S
    assert scene.lost() == []
    (target,) = scene.targets
    assert (target.connections, target.health) == (1, Health.UP)


def test_a_master_that_does_not_come_back() -> None:
    """Its clients are dropped after the grace, and time is asked for then."""
    scene = Scene()
    scene.tell(master("b", "m", "tcp://h:1"))
    scene.connect()
    scene.tell(master("b", "s"))
    assert scene.targets.deadline_s == scene.now_s + LEFT_GRACE_S
    scene.now_s += LEFT_GRACE_S
    assert scene.lost() == ["tcp://h:1"]
    assert scene.targets.deadline_s is None


def test_another_broker_does_not_count_as_a_successor() -> None:
    """Clients of `a` are not hurried because `b` is there."""
    scene = Scene()
    scene.tell(master("a", "m", "tcp://h:1"), master("b", "n", "tcp://h:2"))
    scene.connect()
    scene.tell(master("b", "n", "tcp://h:2"))
    assert scene.lost() == []
    scene.now_s += LEFT_GRACE_S
    assert scene.lost() == ["tcp://h:1"]


def test_the_same_url_in_another_container() -> None:
    """A new process on the port of an old one is another master: it is tried first."""
    scene = Scene()
    scene.tell(master("b", "m", "tcp://h:1"))
    scene.tell(master("b", "s", "tcp://h:1"), reached=None)
    assert scene.chosen() is None
    assert scene.try_due() == ["tcp://h:1"]


def test_time_without_a_master() -> None:
    """It is summed up, what is going on included."""
    scene = Scene()
    scene.now_s += 3
    assert scene.targets.lacking_s(scene.now_s) == 3
    scene.tell(master("b", "m", "tcp://h:1"))
    assert scene.targets.lacking_s(scene.now_s) == 0
    scene.now_s += 10
    assert scene.targets.lacked_s(scene.now_s) == 3
    scene.tell(master("b", "s"))
    scene.now_s += 2
    assert scene.targets.lacking_s(scene.now_s) == 2
    assert scene.targets.lacked_s(scene.now_s) == pytest.approx(5)


urls = st.sampled_from(["tcp://h:1", "tcp://h:2", "mqtt://h:3", "auto://h:4"])
groups = st.lists(
    st.builds(Master, st.sampled_from("ab"), st.sampled_from("mns"), st.lists(urls, max_size=2).map(tuple)),
    max_size=3,
)
steps = st.lists(st.one_of(groups, st.floats(0, 3), st.booleans(), st.just("client")), max_size=40)


@given(steps)
def test_whatever_happens(steps: list[object]) -> None:
    """Clients are only led to what the registry names and what has answered; each is dropped at most once."""
    scene = Scene(balance="leastconnections")
    named: set[str] = set()
    led = dropped = 0
    for step in steps:
        if isinstance(step, list):
            scene.targets.set_masters(step, scene.now_s)
            named = {url for one in step for url in one.urls}
        elif isinstance(step, bool):
            scene.try_due(step)
        elif isinstance(step, float):
            scene.now_s += step
        else:
            target = scene.targets.choose(TCP, "c")
            if target is not None:
                assert target.url in named
                assert target.health is Health.UP
                target.connections += 1
                led += 1
        for target in scene.targets.lost(scene.now_s):
            dropped += target.connections
            target.connections = 0
        due_s = scene.targets.deadline_s
        assert due_s is None or isinstance(due_s, float)
        assert scene.targets.has_master is any(one.health is Health.UP for one in scene.targets)
    assert dropped <= led

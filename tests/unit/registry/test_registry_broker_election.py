"""The election of brokers, step by step, with faults at chosen moments."""

import json

import pytest
from support.fake_zookeeper import FakeZooKeeper
from support.pump import Pump

from registry import paths
from registry.election import REJOIN_DELAY_MAX_S, REJOIN_DELAY_MIN_S, BrokerElection
from registry.group import Facts, Step, next_step
from registry.kazoo_edge import FIRST_REPLY_TIMEOUT_S, RECONNECT_DELAY_MAX_S
from registry.members import MemberRecord
from registry.roles import Role
from registry.watches import REFUSED_RETRY_DELAY_S

GROUP = paths.amq_group("g")


class Broker:
    """Notes what its election asks of it."""

    def __init__(self, pump: Pump, zookeeper: FakeZooKeeper, container: str) -> None:
        self.pump = pump
        self.asked: list[str] = []
        self.session = pump.open_session(zookeeper)
        self.election = BrokerElection(
            self.session, "g", "b", container, self, choose_delay_s=lambda least, most: (least + most) / 2
        )
        self.election.start()
        pump.run()

    def take_over(self) -> None:
        """Note it."""
        self.asked.append("take over")

    def step_down(self, reason: str) -> None:
        """Note it."""
        self.asked.append(f"step down: {reason}")

    def serve(self) -> None:
        """Answer a take-over."""
        self.election.publish(["tcp://h:1"])
        self.pump.run()

    @property
    def role(self) -> Role:
        """What it is."""
        return self.election.state


@pytest.fixture
def pump() -> Pump:
    """This thread as the owner's."""
    return Pump()


@pytest.fixture
def zookeeper() -> FakeZooKeeper:
    """A registry in memory."""
    return FakeZooKeeper()


def members(zookeeper: FakeZooKeeper) -> list[tuple[str, str, bool, list[str]]]:
    """Name, container, ready and services of each member."""
    found = []
    for name in sorted(zookeeper.children(GROUP)):
        record = json.loads(zookeeper.node(f"{GROUP}/{name}").data)
        found.append((name[-2:], record["container"], record["ready"], record["services"]))
    return found


@pytest.mark.parametrize("times", [1, 2, 3])
def test_lost_reply_to_the_creation(pump: Pump, zookeeper: FakeZooKeeper, times: int) -> None:
    """A creation whose reply is lost leaves exactly one member, which is ready and elected."""
    zookeeper.lost_replies = ["create"] * times
    broker = Broker(pump, zookeeper, "c")
    assert members(zookeeper) == [("00", "c", True, [])]
    assert broker.role is Role.TAKING_OVER


@pytest.mark.parametrize("kind", ["set", "get", "children", "exists"])
def test_lost_replies_to_other_requests(pump: Pump, zookeeper: FakeZooKeeper, kind: str) -> None:
    """Any other lost reply delays a broker, and nothing else."""
    zookeeper.lost_replies = [kind]
    broker = Broker(pump, zookeeper, "c")
    assert members(zookeeper) == [("00", "c", True, [])]
    assert broker.role is Role.TAKING_OVER
    broker.serve()
    zookeeper.lost_replies = [kind]
    slave = Broker(pump, zookeeper, "d")
    assert members(zookeeper) == [("00", "c", True, ["tcp://h:1"]), ("01", "d", True, [])]
    assert (broker.role, slave.role) == (Role.MASTER, Role.SLAVE)


def test_lost_replies_while_looking_for_a_lost_creation(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """The search for our znode survives lost replies of its own."""
    zookeeper.lost_replies = ["create", "children", "get", "get"]
    Broker(pump, zookeeper, "c")
    assert members(zookeeper) == [("00", "c", True, [])]


def test_session_lost_with_the_reply(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """If the session is lost together with the reply, the znode is gone with it and another one is made."""
    zookeeper.stop()
    zookeeper.start()
    session = pump.open_session(zookeeper)
    session.put(GROUP, b"")
    zookeeper.lost_replies = ["create"]
    broker = Broker(pump, zookeeper, "c")
    zookeeper.expire(broker.session.session_id)
    pump.advance(REJOIN_DELAY_MAX_S)
    assert [member[1:] for member in members(zookeeper)] == [("c", True, [])]


def test_stop_while_joining(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """A broker that stops before its creation was answered leaves no member behind, and says so."""
    left: list[bool] = []
    session = pump.open_session(zookeeper)
    session.put(GROUP, b"")
    election = BrokerElection(session, "g", "b", "c", Broker(pump, zookeeper, "other"))
    election.start()
    election.stop(lambda: left.append(True))
    assert left == []
    pump.run()
    assert left == [True]
    assert [member[1] for member in members(zookeeper)] == ["other"]


def test_stop_after_a_lost_creation(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """A member whose creation was not answered is found and deleted when its broker has stopped meanwhile."""
    broker = Broker(pump, zookeeper, "c")
    broker.election.failed()
    zookeeper.lost_replies = ["create"]
    while zookeeper.lost_replies:
        pump.posted.pop(0)()
    assert [member[:3] for member in members(zookeeper)] == [("01", "c", False)]
    broker.election.stop()
    pump.run()
    assert members(zookeeper) == []


@pytest.mark.parametrize("kind", ["create", "set"])
def test_refused_requests_are_tried_again_later(
    pump: Pump, zookeeper: FakeZooKeeper, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A request that ZooKeeper refuses is logged and made again after a while, not in a tight loop."""
    zookeeper.refused = [kind]
    broker = Broker(pump, zookeeper, "c")
    assert broker.asked == []
    assert "No permission" in caplog.text
    pump.advance(REFUSED_RETRY_DELAY_S)
    assert broker.asked == ["take over"]
    assert [member[1:] for member in members(zookeeper)] == [("c", True, [])]


def test_refused_deletion_is_tried_again(
    pump: Pump, zookeeper: FakeZooKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    """A deletion that ZooKeeper refuses is logged and tried again, and nobody has to wait for it."""
    left: list[bool] = []
    broker = Broker(pump, zookeeper, "c")
    zookeeper.refused = ["delete"]
    broker.election.stop(lambda: left.append(True))
    pump.run()
    assert left == [True]
    assert "Cannot delete" in caplog.text
    assert len(members(zookeeper)) == 1
    pump.advance(REFUSED_RETRY_DELAY_S)
    assert members(zookeeper) == []


def test_member_removed_while_it_is_written(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """If our znode is gone when we write to it, another one is made."""
    broker = Broker(pump, zookeeper, "c")
    zookeeper.delete(f"{GROUP}/00000000000")
    broker.serve()
    assert members(zookeeper) == [("01", "c", True, ["tcp://h:1"])]


def test_answer_that_outlived_its_session(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """An answer that comes when its session is already known to be lost changes nothing."""
    broker = Broker(pump, zookeeper, "c")
    broker.election.publish(["tcp://h:1"])
    answer = pump.posted.pop(0)
    zookeeper.expire(broker.session.session_id)
    pump.run()
    answer()
    pump.run()
    assert members(zookeeper) == [("01", "c", True, ["tcp://h:1"])]


def test_unreadable_members_while_looking_for_a_lost_creation(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """Garbage in the group does not hide our own znode from us, even under our own session."""
    broker = Broker(pump, zookeeper, "c")
    broker.session.create(f"{GROUP}/0", b"garbage", ephemeral=True, sequential=True)
    broker.election.failed()
    zookeeper.lost_replies = ["create"]
    pump.run()
    assert [name for name in zookeeper.children(GROUP) if name.endswith("02")]
    assert broker.role is Role.TAKING_OVER


def test_stop_during_an_outage(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """A stop without ZooKeeper is over at once; the znode goes when ZooKeeper is back."""
    left: list[bool] = []
    broker = Broker(pump, zookeeper, "c")
    zookeeper.stop()
    broker.election.stop(lambda: left.append(True))
    pump.run()
    assert left == [True]
    zookeeper.start()
    pump.run()
    assert members(zookeeper) == []
    broker.election.stop(lambda: left.append(True))
    assert left == [True, True]


def test_suspended_slave_does_not_take_over(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """What a slave learns when its connection is lost already elects nobody before it has looked again."""
    master = Broker(pump, zookeeper, "m")
    master.serve()
    slave = Broker(pump, zookeeper, "s")
    zookeeper.end_session(master.session.session_id)  # the news is on its way…
    zookeeper.stop()  # …when the connection is lost
    pump.run()
    assert slave.role is Role.SLAVE
    assert slave.asked == []
    zookeeper.start()
    pump.run()
    assert slave.role is Role.TAKING_OVER


def test_outage_moves_nothing(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """An outage that all sessions survive asks nothing of anybody (P6)."""
    master = Broker(pump, zookeeper, "m")
    master.serve()
    slave = Broker(pump, zookeeper, "s")
    before = members(zookeeper)
    zookeeper.stop()
    pump.advance(20)
    zookeeper.start()
    pump.advance(20)
    assert members(zookeeper) == before
    assert (master.asked, slave.asked) == (["take over"], [])


@pytest.mark.parametrize("order", ["ms", "sm"])
def test_outage_that_costs_all_sessions(pump: Pump, zookeeper: FakeZooKeeper, order: str) -> None:
    """A serving master joins again at once and a slave later, whoever finds ZooKeeper first (P6)."""
    master = Broker(pump, zookeeper, "m")
    master.serve()
    slave = Broker(pump, zookeeper, "s")
    zookeeper.stop()
    for broker in (master, slave):
        zookeeper.end_session(broker.session.session_id)
    slave_last = order == "ms"
    zookeeper.waiting.sort(key=lambda client: (client.session_id == slave.session.session_id) == slave_last)
    zookeeper.start()
    pump.run()
    assert [member[1:] for member in members(zookeeper)] == [("m", True, ["tcp://h:1"])]
    pump.advance(REJOIN_DELAY_MAX_S)
    assert [member[1:] for member in members(zookeeper)] == [("m", True, ["tcp://h:1"]), ("s", True, [])]
    assert (master.asked, slave.asked) == (["take over"], [])
    assert (master.role, slave.role) == (Role.MASTER, Role.SLAVE)


def test_a_master_finds_zookeeper_before_slaves_join() -> None:
    """The least delay of slaves is above the longest time to a master's second attempt to connect."""
    jitter = 1.2
    assert FIRST_REPLY_TIMEOUT_S + RECONNECT_DELAY_MAX_S * jitter < REJOIN_DELAY_MIN_S


def test_expired_master_steps_down_for_its_successor(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """A master that was silent too long finds a successor, steps down, and withdraws its services."""
    master = Broker(pump, zookeeper, "m")
    master.serve()
    slave = Broker(pump, zookeeper, "s")
    zookeeper.expire(master.session.session_id)
    pump.run()
    slave.serve()
    assert master.role is Role.STEPPING_DOWN
    assert master.asked[1].startswith("step down: s (")
    assert ("m", True, []) in [member[1:] for member in members(zookeeper)]
    master.election.stopped()
    pump.run()
    assert (master.role, slave.role) == (Role.SLAVE, Role.MASTER)
    assert [member[1:] for member in members(zookeeper)] == [("s", True, ["tcp://h:1"]), ("m", True, [])]


def test_failed_take_over_waits_before_it_is_tried_again(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """A lone broker that cannot take over is asked again after the delay it chose, not before."""
    broker = Broker(pump, zookeeper, "c")
    broker.election.failed(retry_delay_s=10)
    pump.advance(9.9)
    assert (broker.role, broker.asked) == (Role.SLAVE, ["take over"])
    assert members(zookeeper) == []
    pump.advance(0.2)
    assert broker.asked == ["take over"] * 2


def test_standby_takes_over_while_the_failed_one_waits(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """While the failed broker waits, its slave is asked at once."""
    broker = Broker(pump, zookeeper, "c")
    slave = Broker(pump, zookeeper, "d")
    broker.election.failed(retry_delay_s=10)
    pump.run()
    assert slave.asked == ["take over"]


def test_not_even_a_round_trip_before_take_over(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """The watch of the master's znode alone makes the slave take over: no request goes out before."""
    master = Broker(pump, zookeeper, "m")
    slave = Broker(pump, zookeeper, "s")
    zookeeper.end_session(master.session.session_id)
    asked_at_requests = []
    client = slave.session._client
    ask = client._ask
    client._ask = lambda *request: (asked_at_requests.append(list(slave.asked)), ask(*request))[1]
    pump.run()
    assert asked_at_requests[0] == ["take over"]


def test_member_that_vanishes_between_list_and_read(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """A member that is gone before it could be read holds up no election."""
    other = pump.open_session(zookeeper)
    path = other.create(f"{GROUP}/0", b'{"id": "b", "container": "x"}', ephemeral=True, sequential=True)
    broker = Broker(pump, zookeeper, "c")
    assert broker.role is Role.SLAVE
    other.delete(path)
    path = other.create(f"{GROUP}/0", b'{"id": "b", "container": "x"}', ephemeral=True, sequential=True)
    other.delete(path)
    pump.run()
    assert broker.role is Role.TAKING_OVER


def test_own_node_removed_twice(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """A member that is removed joins again, as often as it is removed."""
    broker = Broker(pump, zookeeper, "c")
    broker.serve()
    for _ in range(2):
        zookeeper.delete(f"{GROUP}/{broker.election.member_name}")
        pump.run()
    assert members(zookeeper) == [("02", "c", True, ["tcp://h:1"])]
    assert broker.role is Role.MASTER


def test_services_change_while_master(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """A master may publish other services; the same ones again cost no write."""
    broker = Broker(pump, zookeeper, "c")
    broker.serve()
    version = zookeeper.node(f"{GROUP}/{broker.election.member_name}").version
    broker.serve()
    assert zookeeper.node(f"{GROUP}/{broker.election.member_name}").version == version
    broker.election.publish(["tcp://h:2"])
    pump.run()
    assert members(zookeeper) == [("00", "c", True, ["tcp://h:2"])]


TARGET = MemberRecord("b", "c")


@pytest.mark.parametrize(
    ("facts", "connected", "discarded", "expected"),
    [
        (Facts(), True, False, Step.NOTHING),
        (Facts(wanted=True), False, True, Step.NOTHING),
        (Facts(wanted=True, busy=True, uncertain=True), True, True, Step.NOTHING),
        (Facts(wanted=True, uncertain=True), True, True, Step.FIND),
        (Facts(wanted=True), True, True, Step.DELETE),
        (Facts(wanted=True, held=True), True, True, Step.DELETE),
        (Facts(wanted=True), True, False, Step.CREATE),
        (Facts(wanted=True, held=True), True, False, Step.NOTHING),
        (Facts(wanted=True, name="0"), True, False, Step.WRITE),
        (Facts(wanted=True, name="0", written=TARGET), True, False, Step.NOTHING),
        (Facts(), True, True, Step.DELETE),
    ],
)
def test_next_step_of_a_membership(facts: Facts, connected: bool, discarded: bool, expected: Step) -> None:
    """One request at a time; first clear up what is uncertain, then delete, create, write."""
    assert next_step(facts, connected=connected, discarded=discarded, target=TARGET) is expected


def test_settled(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """A broker is settled once it serves, or is registered behind somebody; not while that is open."""
    first = Broker(pump, zookeeper, "c")
    assert (first.role, first.election.settled) == (Role.TAKING_OVER, False)
    first.serve()
    assert first.election.settled
    session = pump.open_session(zookeeper)
    second = BrokerElection(session, "g", "b", "d", first)
    second.start()
    assert (second.state, second.settled) == (Role.SLAVE, False)
    pump.run()
    assert (second.state, second.settled) == (Role.SLAVE, True)


def test_a_master_gives_way_to_a_slave_though_it_cannot_act_itself(
    pump: Pump, zookeeper: FakeZooKeeper
) -> None:
    """P5: a master that hangs on its store gives its place up; what it thinks of that later does no harm."""
    master, slave = Broker(pump, zookeeper, "c1"), Broker(pump, zookeeper, "c2")
    master.serve()
    assert master.election.give_way()
    pump.run()
    assert slave.asked == ["take over"]
    assert master.asked[0] == "take over"
    assert master.asked[1].startswith("step down: c2")
    assert [container for _, container, *_ in members(zookeeper)] == ["c2", "c1"]


def test_nobody_gives_way_to_nobody(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """A broker that is alone keeps its place, whatever its store does."""
    master = Broker(pump, zookeeper, "c1")
    master.serve()
    assert not master.election.give_way()
    pump.run()
    assert master.role is Role.MASTER


def test_who_has_no_session_gives_nothing_up(pump: Pump, zookeeper: FakeZooKeeper) -> None:
    """P6: without ZooKeeper nobody could take over."""
    master, _ = Broker(pump, zookeeper, "c1"), Broker(pump, zookeeper, "c2")
    master.serve()
    zookeeper.stop()
    pump.run()
    assert not master.election.give_way()

"""What is wrong in a fabric, from snapshots made by hand."""

from dataclasses import replace
from typing import Any

from support.figures import consumer, queue, topic, usage

from fabric.clusters import ClusterRow, Member
from fabric.ensemble_health import ServerHealth
from fabric.health import (
    NOTE,
    PROBLEM,
    USAGE_PERCENT_MAX,
    WARNING,
    BrokerFigures,
    Finding,
    Snapshot,
    counted,
    findings,
)
from fabric.mq import SERVER_PID_PREFIX
from fabric.mq_status import broker_groups
from fabric.profiles import Profile
from fabric.records import Alive, ContainerRecord, Provision
from fabric.requirements import ProfileRequirements, Requirements
from registry import paths

ALIVE = Alive(1, "host", 0.0)
ROOT = ContainerRecord("root", "1.0", ("fabric",), alive=ALIVE, provision=Provision("success"))
KEY = ("default", "orders")


def child(name: str, **changed: Any) -> ContainerRecord:
    """A container of root's that runs, with the broker's profile."""
    record = ContainerRecord(
        name, "1.0", ("mq-orders",), {"parent": "root"}, ALIVE, Provision("success", "", ())
    )
    return replace(record, **changed)


def required(profile: str, minimum: int | None, maximum: int | None = None) -> Requirements:
    """What one profile needs."""
    return Requirements((ProfileRequirements(profile, minimum, maximum),))


def member(container: str, *, serving: bool) -> Member:
    """A member of the broker's group."""
    services = ("tcp://host:61616",) if serving else ()
    return Member(f"{paths.amq_group('default')}/0{container}", "orders", container, services, serving, True)


def fabric(
    *containers: ContainerRecord,
    minimum: int | None = 2,
    maximum: int | None = None,
    master: str = "",
    slaves: tuple[str, ...] = (),
    kind: str = "MasterSlave",
    **more: Any,
) -> Snapshot:
    """A fabric whose profile mq-orders describes the broker orders."""
    values = {"broker-name": "orders", "group": "default", "kind": kind}
    profile = Profile("mq-orders", configuration={f"{SERVER_PID_PREFIX}orders": values})
    records = (ROOT, *containers)
    requirements = required("mq-orders", minimum, maximum)
    members = [member(name, serving=False) for name in slaves]
    if master:
        members.insert(0, member(master, serving=True))
    rows = [ClusterRow(paths.amq_group("default"), "orders", tuple(members))]
    profiles = {"mq-orders": profile, "fabric": Profile("fabric")}
    groups = tuple(broker_groups("1.0", profiles, records, requirements, rows))
    return Snapshot(containers=records, requirements=requirements, groups=groups, **more)


def one(snapshot: Snapshot) -> Finding:
    """The only finding there is."""
    found = findings(snapshot)
    assert len(found) == 1, found
    return found[0]


def well(**more: Any) -> Snapshot:
    """A fabric in which nothing is wrong, unless something is said."""
    return fabric(child("a"), child("b"), master="a", slaves=("b",), **more)


# ---- containers


def test_nothing_is_wrong_when_all_is_well() -> None:
    """A master, a slave, both provisioned: no finding."""
    assert findings(well()) == []


def test_a_container_that_should_run_and_does_not_is_a_problem() -> None:
    """Its parent's state decides what to do about it."""
    down = fabric(child("a", alive=None), child("b"), child("c"), master="b", slaves=("c",))
    found = one(down)
    assert (found.id, found.severity) == ("container-down:a", PROBLEM)
    assert "Its parent starts it again" in found.remedy
    assert found.link == "/containers/a"
    orphan = one(Snapshot(containers=(child("x", alive=None, fields={"parent": "gone"}),)))
    assert "Container gone, which runs it, is down" in orphan.remedy
    root = one(Snapshot(containers=(replace(ROOT, alive=None),)))
    assert root.remedy == "On its host: fabric container-start root"


def test_a_container_that_was_stopped_on_purpose_is_not_wrong() -> None:
    """Only what should run and does not is told."""
    stopped = ContainerRecord("x", "1.0", ("p",), {"parent": "root", "desired": "stopped"})
    assert findings(Snapshot(containers=(ROOT, stopped))) == []


def test_a_container_that_has_just_been_created_is_a_warning() -> None:
    """It has not been provisioned at all yet."""
    fresh = ContainerRecord("x", "1.0", ("p",), {"parent": "root"})
    found = one(Snapshot(containers=(ROOT, fresh)))
    assert (found.severity, found.what) == (WARNING, "Container x has not come up yet.")


def test_an_error_of_provisioning_is_told_with_its_first_line() -> None:
    """The rest stands on the container's page."""
    broken = child("a", profiles=("p",), provision=Provision("error", "Port 1 is taken\nTraceback"))
    found = one(Snapshot(containers=(ROOT, broken)))
    assert (found.id, found.severity) == ("container-error:a", PROBLEM)
    assert found.what == "Container a is not what its profiles ask for: Port 1 is taken."


def test_what_is_incomplete_is_a_warning() -> None:
    """A container that is provisioned may lack a protocol whose library is not installed."""
    partly = child("a", profiles=("p",), provision=Provision("success", "amqp needs a library"))
    found = one(Snapshot(containers=(ROOT, partly)))
    assert (found.id, found.severity) == ("container-incomplete:a", WARNING)


def test_an_error_of_the_past_is_not_told_of_a_container_that_is_down() -> None:
    """That it is down is enough."""
    gone = child("a", profiles=("p",), alive=None, provision=Provision("error", "x"))
    assert [found.id for found in findings(Snapshot(containers=(ROOT, gone)))] == ["container-down:a"]


# ---- required instances


def test_too_few_containers_of_a_profile_are_a_warning_and_none_a_problem() -> None:
    """A profile without brokers is spoken of by its numbers."""
    has = child("a", profiles=("web",))
    few = one(Snapshot(containers=(ROOT, has), requirements=required("web", 2)))
    assert (few.severity, few.what) == (WARNING, "Profile web is run by 1 of 2 required containers.")
    assert few.link == "/profiles/1.0/web"
    none = one(Snapshot(containers=(ROOT,), requirements=required("web", 2)))
    assert (none.severity, none.link) == (PROBLEM, "/profiles")


def test_more_containers_than_allowed_are_a_warning() -> None:
    """The maximum is told."""
    two = (child("a", profiles=("web",)), child("b", profiles=("web",)))
    found = one(Snapshot(containers=two, requirements=required("web", 0, 1)))
    assert found.what == "Profile web is run by 2 containers, and 1 at most should."


def test_requirements_that_are_met_or_say_nothing_are_no_finding() -> None:
    """At the minimum and at the maximum all is well."""
    has = child("a", profiles=("web",))
    for needs in (required("web", 1, 1), required("web", None), required("web", 0), Requirements()):
        assert findings(Snapshot(containers=(ROOT, has), requirements=needs)) == []


# ---- brokers


def test_a_broker_nobody_runs_is_told_once_with_a_page_that_creates_its_containers() -> None:
    """Not a second time as a profile that lacks containers."""
    found = one(fabric())
    assert (found.id, found.severity) == ("broker-nobody:default/orders", PROBLEM)
    assert found.link == "/containers/new?profile=mq-orders&version=1.0&parent=root&name=orders-1&number=2"


def test_a_broker_nobody_runs_and_none_requires_is_not_wrong() -> None:
    """The shipped profiles describe brokers that nobody may want."""
    assert findings(fabric(minimum=None)) == []


def test_a_master_without_a_slave_is_a_warning() -> None:
    """If its containers are too few, that is not told, too."""
    found = one(fabric(child("a"), master="a"))
    assert (found.id, found.severity) == ("broker-no-slave:default/orders", WARNING)
    assert "number=1" in found.link


def test_a_stand_alone_broker_needs_no_slave() -> None:
    """It has none ever."""
    assert findings(fabric(child("a"), master="a", kind="StandAlone", minimum=1)) == []


def test_enough_slaves_and_too_few_containers_are_the_profiles_finding() -> None:
    """Three are required, two run."""
    found = one(fabric(child("a"), child("b"), master="a", slaves=("b",), minimum=3))
    assert found.id == "instances:mq-orders"


def test_a_broker_without_a_master_is_a_problem() -> None:
    """Containers run it, and none of them serves."""
    found = one(fabric(child("a"), child("b"), slaves=("a", "b")))
    assert (found.id, found.severity) == ("broker-no-master:default/orders", PROBLEM)
    assert "a, b" in found.remedy
    assert found.link == "/mq/default/orders"


# ---- what masters say


def figures(at_s: float = 10.0, **given: Any) -> dict[tuple[str, str], BrokerFigures]:
    """Of the one broker."""
    return {KEY: BrokerFigures(at_s, given.pop("usage", usage()), **given)}


def test_space_above_the_limit_is_a_warning_and_none_left_a_problem() -> None:
    """Store, memory and temporary storage alike; at the limit itself all is well."""
    for name in ("store", "memory", "temp"):
        for percent, severity in ((USAGE_PERCENT_MAX + 1, WARNING), (100, PROBLEM)):
            found = one(well(figures=figures(usage=usage(**{name: percent}))))
            assert (found.id, found.severity) == (f"broker-usage-{name}:default/orders", severity)
        assert findings(well(figures=figures(usage=usage(**{name: USAGE_PERCENT_MAX})))) == []


def test_a_full_disk_and_blocked_producers_are_problems() -> None:
    """Each is a finding of its own, with the broker's words."""
    said = usage(disk_full=True, blocked_sends=3, blocked_connections=2, problem="The disk is full")
    ids = [found.id for found in findings(well(figures=figures(usage=said)))]
    assert ids == ["broker-blocked:default/orders", "broker-disk-full:default/orders"]


def test_dead_letters_are_told_while_they_become_more() -> None:
    """Those that only lie there are not; nor is another queue that grows."""
    for name in ("ActiveMQ.DLQ", "ActiveMQ.DLQ.Queue.in"):
        before = figures(5.0, queues={name: queue(name, 2)})
        now = figures(10.0, queues={name: queue(name, 7)})
        found = one(well(figures=now, before=before))
        assert found.what == f"{name} of broker orders has grown by 5 to 7 messages within 5 s."
        assert found.link == f"/mq/default/orders/queues/{name}"
        assert findings(well(figures=now, before=now)) == []
    other = {"ActiveMQ.DLQs": queue("ActiveMQ.DLQs", 1)}
    assert findings(well(figures=figures(10.0, queues=other), before=figures(5.0))) == []


def test_a_dead_letter_queue_that_was_not_there_has_grown_from_nothing() -> None:
    """Its first messages are told."""
    now = figures(10.0, queues={"ActiveMQ.DLQ": queue("ActiveMQ.DLQ", 1)})
    assert one(well(figures=now, before=figures(5.0))).severity == WARNING
    assert findings(well(figures=now)) == []


def test_a_consumer_is_slow_when_it_is_full_and_nothing_is_acknowledged() -> None:
    """And messages wait; a busy one is full, too, but its queue moves."""
    before = figures(5.0, queues={"in": queue("in", 5, dequeued=7)}, consumers=(consumer(10),))
    still = figures(10.0, queues={"in": queue("in", 5, dequeued=7)}, consumers=(consumer(10),))
    found = one(well(figures=still, before=before))
    assert (found.id, found.severity) == ("broker-slow:default/orders/queues/in", WARNING)
    assert "1 consumer of queue in" in found.what
    assert "conn-1" in found.remedy
    moved = figures(10.0, queues={"in": queue("in", 5, dequeued=8)}, consumers=(consumer(10),))
    empty = figures(10.0, queues={"in": queue("in", 0, dequeued=7)}, consumers=(consumer(10),))
    space = figures(10.0, queues={"in": queue("in", 5, dequeued=7)}, consumers=(consumer(9),))
    pulls = figures(10.0, queues={"in": queue("in", 5, dequeued=7)}, consumers=(consumer(10, prefetch=0),))
    early = figures(6.0, queues={"in": queue("in", 5, dequeued=7)}, consumers=(consumer(10),))
    for well_enough in (moved, empty, space, pulls, early):
        assert findings(well(figures=well_enough, before=before)) == []


def test_discarded_messages_of_a_topic_are_a_warning() -> None:
    """Its subscribers are too slow."""
    before = figures(5.0, topics={"t": topic("t", discarded=1)})
    now = figures(10.0, topics={"t": topic("t", discarded=2)})
    assert "1 message of topic t of broker orders was discarded" in one(well(figures=now, before=before)).what
    fresh = figures(5.0)
    assert findings(well(figures=now, before=fresh)) == []


def test_a_broker_that_does_not_tell_is_a_note_that_is_not_counted() -> None:
    """It serves, as far as the registry says."""
    silent = {KEY: BrokerFigures(10.0, problem="it has no OpenWire connector")}
    found = findings(well(figures=silent, before=silent))
    assert [one.severity for one in found] == [NOTE]
    assert counted(found) == 0


# ---- ZooKeeper and hosts

UP = ServerHealth("z1:2181", mode="leader")
DOWN = ServerHealth("z2:2181", problem="It does not answer: Connection refused.")
SECRET = ServerHealth("z3:2181", problem="It does not say how it is: srvr is not executed because …")


def test_a_server_of_three_that_is_down_is_a_warning_two_are_no_majority() -> None:
    """A server that must not tell counts as there."""
    assert findings(Snapshot(servers=(UP, SECRET))) == []
    warned = one(Snapshot(servers=(UP, UP, DOWN)))
    assert (warned.id, warned.severity) == ("zookeeper-server:z2:2181", WARNING)
    lost = one(Snapshot(servers=(UP, DOWN, DOWN)))
    assert (lost.id, lost.severity) == ("zookeeper-quorum", PROBLEM)
    assert one(Snapshot(servers=(DOWN,))).id == "zookeeper-quorum"


def test_a_lost_session_slow_answers_and_a_long_line_are_told() -> None:
    """Each is a finding of its own."""
    busy = replace(UP, outstanding=5000)
    ids = [found.id for found in findings(Snapshot(servers=(busy,), connected=False, round_trip_ms=900.0))]
    assert ids == ["zookeeper-lost", "zookeeper-outstanding:z1:2181", "zookeeper-slow"]
    assert findings(Snapshot(servers=(UP,), round_trip_ms=3.0)) == []


def test_clocks_that_are_apart_are_a_warning() -> None:
    """If those of two hosts are known."""
    assert findings(Snapshot(clocks_s={"a": 100.0})) == []
    assert findings(Snapshot(clocks_s={"a": 0.0, "b": 4.0})) == []
    found = one(Snapshot(clocks_s={"a": -1.0, "b": 9.0, "c": 0.0}))
    assert "hosts a and b are 10 s apart" in found.what


def test_the_worst_comes_first() -> None:
    """Problems, then warnings, then notes."""
    silent = {KEY: BrokerFigures(10.0, problem="it is slow")}
    snapshot = fabric(child("a"), child("x", alive=None), master="a", figures=silent)
    assert [found.severity for found in findings(snapshot)] == [PROBLEM, WARNING, NOTE]
    assert counted(findings(snapshot)) == 2


def test_names_are_quoted_in_links() -> None:
    """They may contain what has a meaning in addresses."""
    before = figures(5.0, queues={"ActiveMQ.DLQ.Queue.a/b c": queue("ActiveMQ.DLQ.Queue.a/b c", 0)})
    now = figures(10.0, queues={"ActiveMQ.DLQ.Queue.a/b c": queue("ActiveMQ.DLQ.Queue.a/b c", 1)})
    assert (
        one(well(figures=now, before=before)).link == "/mq/default/orders/queues/ActiveMQ.DLQ.Queue.a%2Fb%20c"
    )

"""The diagram: where everything stands, and its page."""

from itertools import pairwise
from typing import Any, cast

from support.console import ConsoleWorld
from support.figures import HandSamples, queue, topic

from fabric.errors import BrokerUnreachable
from fabric.mq_status import BrokerContainer, BrokerStatus
from fabric.web.diagram import QUEUES, ROWS_MAX, SHOWN, Held, draw, shortened
from fabric.web.sampler import topic_of

KEY = ("default", "orders")


def broker(master: str, *containers: str, name: str = "orders") -> BrokerStatus:
    """A broker that containers have, one of them its master."""
    runs = [
        BrokerContainer(
            one, "master" if one == master else "slave", True, "started", "success", "success", []
        )
        for one in containers
    ]
    return BrokerStatus(name, "default", "MasterSlave", "1.0", "p", "", [], master, False, False, runs)


def test_only_what_stands_for_the_master_moves_in_a_failover() -> None:
    """Boxes, brokers and destinations stay where they are."""
    held = {KEY: Held([queue("a"), queue("b")])}
    before, after = draw([broker("x", "x", "y")], held, SHOWN), draw([broker("y", "x", "y")], held, SHOWN)
    assert [(box.id, box.y) for box in before.containers] == [(box.id, box.y) for box in after.containers]
    assert [row.y for row in before.lanes[0].rows] == [row.y for row in after.lanes[0].rows]
    assert before.lanes[0].token_y != after.lanes[0].token_y
    slots = {box.id: box.slots[0] for box in after.containers}
    assert (after.lanes[0].token_x, after.lanes[0].token_y) == (slots["y"].x, slots["y"].y)
    assert (slots["x"].role, slots["y"].role) == ("slave", "master")
    assert len(before.lanes[0].path.split()) == len(after.lanes[0].path.split())


def test_without_a_master_it_stands_at_the_broker() -> None:
    """No link is drawn, and the broker says so."""
    lane = draw([broker("", "x")], {}, SHOWN).lanes[0]
    assert (lane.path, lane.problem) == ("", "no master")


def test_nothing_overlaps() -> None:
    """Boxes follow each other, as brokers do; all of it lies within the picture."""
    brokers = [broker("x", "x", "y", name=name) for name in ("a", "b", "c")]
    held = {("default", name): Held([queue(f"q{i}") for i in range(30)]) for name in ("a", "b", "c")}
    scene = draw(brokers, held, SHOWN)
    for things in (scene.containers, scene.lanes):
        for above, below in pairwise(things):
            assert above.y + above.height < below.y
    assert max(row.y for lane in scene.lanes for row in lane.rows) < scene.height
    assert all(lane.x + lane.width <= scene.width for lane in scene.lanes)


def test_what_is_not_to_be_shown_is_left_out() -> None:
    """Slaves, topics; temporary and advisory destinations always are."""
    temporary = queue("temp", temporary=True)
    held = {KEY: Held([queue("q"), temporary], [topic("t"), topic("ActiveMQ.Advisory.Connection")])}
    everything = draw([broker("x", "x", "y")], held, SHOWN)
    assert [row.name for row in everything.lanes[0].rows] == ["q", "t"]
    little = draw([broker("x", "x", "y")], held, {QUEUES})
    assert [row.name for row in little.lanes[0].rows] == ["q"]
    assert [box.id for box in little.containers] == ["x"]


def test_of_many_destinations_those_with_clients_and_messages_are_drawn() -> None:
    """The others are counted."""
    queues = [queue(f"q{i:03}", i) for i in range(ROWS_MAX + 5)]
    queues.append(queue("aaa", consumers=1))
    lane = draw([broker("x", "x")], {KEY: Held(queues)}, SHOWN).lanes[0]
    assert (len(lane.rows), lane.left_out) == (ROWS_MAX, 6)
    assert lane.rows[0].name == "aaa"


def test_long_names_keep_both_ends() -> None:
    """The middle is left out."""
    assert shortened("short", 10) == "short"
    assert shortened("abcdefghijk", 7) == "abc…ijk"


def world_with_broker() -> tuple[ConsoleWorld, HandSamples]:
    """A broker with a master and a slave."""
    world = ConsoleWorld()
    samples = HandSamples()
    samples.queues = [queue("<script>alert(1)</script>", consumers=2)]
    samples.topics = [topic("t")]
    world.console.samples = cast("Any", samples)
    world.container("root", "fabric")
    world.client("admin").post("/api/v1/mq/brokers", {"name": "orders", "group": "default"})
    for name in ("a", "b"):
        world.container(name, "mq-broker-default.orders", parent="root")
    world.broker("default", "orders", "a", "tcp://127.0.0.1:1")
    world.broker("default", "orders", "b")
    return world, samples


def test_the_page_draws_brokers_and_listens_to_them() -> None:
    """As SVG with a description, and text for everything that has a colour."""
    world, _ = world_with_broker()
    text = world.client("viewer").get("/mq/diagram").text
    assert f'data-topics="health fabric {topic_of("default", "orders")}"' in text
    assert "<desc" in text
    assert "a is the master of orders" in text
    assert '<tspan class="role">slave</tspan>' in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>alert" not in text
    assert "<table>" not in text


def test_the_same_is_shown_as_a_table_if_it_is_asked_for() -> None:
    """Only what is chosen, drawn or not."""
    world, _ = world_with_broker()
    text = world.client("viewer").get("/mq/diagram?show=queues&show=table", HX_Request="true").text
    assert "<table>" in text
    assert "queue &lt;script&gt;" in text
    assert "topic t" not in text
    assert "<html" not in text


def test_a_broker_that_does_not_answer_is_drawn_with_the_reason() -> None:
    """Its containers stay."""
    world, samples = world_with_broker()
    samples.problem = BrokerUnreachable("orders", "it is silent")
    text = world.client("viewer").get("/mq/diagram").text
    assert "it is silent" in text
    assert "a is the master of orders" in text


def test_without_brokers_in_use_the_page_says_so() -> None:
    """Shipped profiles that nobody has are not drawn."""
    world = ConsoleWorld()
    world.container("root", "fabric")
    assert "There are no brokers in use." in world.client("viewer").get("/mq/diagram").text

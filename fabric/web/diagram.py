"""Where everything stands in the diagram of brokers: containers at the left, what brokers hold at the right.

    containers            brokers
    +-----------+         +-----------------------------------+
    | node-1    |         | orders                            |
    |  (M) ----------->   |  producers - destination - consumers
    |  ( ) slave|         |      2     -   in.eu     -    1   |
    +-----------+         +-----------------------------------+

Places come from names alone, so that nothing jumps when it is drawn anew; only what stands for a master goes
from one container to another. Pure; units are those of the SVG.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from fabric.health import broker_link, is_dead_letters
from fabric.mq_status import BrokerStatus
from fabric.web.html import segment

if TYPE_CHECKING:
    from broker.management.model import QueueInfo, TopicInfo

    Destination: TypeAlias = QueueInfo | TopicInfo

WIDTH: Final = 1240
MARGIN: Final = 20
CONTAINER_WIDTH: Final = 270
LANE_LEFT: Final = 430
LANE_WIDTH: Final = WIDTH - LANE_LEFT - MARGIN
HEADER: Final = 38
SLOT: Final = 28
ROW: Final = 30
GAP: Final = 18
PRODUCERS_AT: Final = 48
DESTINATION_AT: Final = 130
DESTINATION_WIDTH: Final = 500
CONSUMERS_AT: Final = LANE_WIDTH - 60
NAME_CHARACTERS_MAX: Final = 52
"""Of a destination; the whole name stands in its title and in the table."""
LABEL_CHARACTERS_MAX: Final = 26
"""Of a container or a broker."""
ROWS_MAX: Final = 40
"""Destinations of one broker that are drawn: those with the most clients and messages."""

SLAVES, QUEUES, TOPICS, PRODUCERS, CONSUMERS = "slaves", "queues", "topics", "producers", "consumers"
SHOWN: Final = (SLAVES, QUEUES, TOPICS, PRODUCERS, CONSUMERS)
"""What is drawn, and can be left out."""
TABLE: Final = "table"
"""The same in words and numbers, if it is asked for."""
ADVISORIES: Final = "ActiveMQ.Advisory."
"""Begin of the names of topics that the broker itself writes to; they are never drawn."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A broker in a container: master, slave, or neither.

    Attributes:
        x, y: of its circle's middle.
    """

    id: str
    broker: str
    group: str
    role: str
    label: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class ContainerBox:
    """A container with the brokers in it."""

    id: str
    label: str
    connected: bool
    x: int
    y: int
    width: int
    height: int
    slots: list[Slot]


@dataclass(frozen=True, slots=True)
class Row:
    """A destination with its clients.

    Attributes:
        y: of its middle.
        messages: that it holds; of a topic, what consumers have.
    """

    id: str
    kind: str
    name: str
    label: str
    link: str
    dead: bool
    y: int
    messages: int
    producers: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Lane:
    """A broker with its destinations.

    Attributes:
        token_x, token_y: where what stands for its master is: in a container, or here while there is none.
        path: from there to here; empty: there is no master.
        problem: why its destinations are not known.
        left_out: destinations that are not drawn.
    """

    id: str
    name: str
    group: str
    label: str
    link: str
    master: str
    slaves: list[str]
    problem: str
    x: int
    y: int
    width: int
    height: int
    token_x: int
    token_y: int
    path: str
    rows: list[Row]
    left_out: int


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything."""

    width: int
    height: int
    containers: list[ContainerBox]
    lanes: list[Lane]


@dataclass(frozen=True, slots=True)
class Held:
    """What a broker holds.

    Attributes:
        problem: why that is not known; empty: it is.
    """

    queues: Sequence[QueueInfo] = ()
    topics: Sequence[TopicInfo] = ()
    problem: str = ""


def draw(
    brokers: Iterable[BrokerStatus], held: Mapping[tuple[str, str], Held], shown: Collection[str]
) -> Scene:
    """Place everything.

    Args:
        brokers: with the containers that have them.
        held: what they hold, by group and name.
        shown: members of `SHOWN`.
    """
    ordered = sorted(brokers, key=lambda broker: (broker.group, broker.name))
    containers = _containers(ordered, shown)
    places = {(slot.group, slot.broker, box.id): slot for box in containers for slot in box.slots}
    lanes = []
    top = MARGIN
    for broker in ordered:
        lane = _lane(broker, held.get((broker.group, broker.name), Held()), shown, places, top)
        lanes.append(lane)
        top += lane.height + GAP
    lowest = max((box.y + box.height for box in containers), default=0)
    return Scene(WIDTH, max(top - GAP, lowest, 4 * ROW) + MARGIN, containers, lanes)


def _containers(brokers: Sequence[BrokerStatus], shown: Collection[str]) -> list[ContainerBox]:
    having: dict[str, list[BrokerStatus]] = {}
    for broker in brokers:
        for container in broker.containers:
            if SLAVES in shown or container.role == "master":
                having.setdefault(container.id, []).append(broker)
    boxes = []
    top = MARGIN
    for name in sorted(having):
        height = HEADER + SLOT * len(having[name]) + 8
        slots = [
            _slot(name, broker, MARGIN + 24, top + HEADER + SLOT * index + SLOT // 2 - 4)
            for index, broker in enumerate(having[name])
        ]
        connected = any(one.connected for one in having[name][0].containers if one.id == name)
        label = shortened(name, LABEL_CHARACTERS_MAX)
        boxes.append(ContainerBox(name, label, connected, MARGIN, top, CONTAINER_WIDTH, height, slots))
        top += height + GAP
    return boxes


def _slot(container: str, broker: BrokerStatus, x: int, y: int) -> Slot:
    mine = next(one for one in broker.containers if one.id == container)
    role = mine.role or ("waiting" if mine.connected else "down")
    label = shortened(broker.name, LABEL_CHARACTERS_MAX - 4)
    ident = _id("slot", broker.group, broker.name, container)
    return Slot(ident, broker.name, broker.group, role, label, x, y)


def _lane(
    broker: BrokerStatus,
    held: Held,
    shown: Collection[str],
    places: Mapping[tuple[str, str, str], Slot],
    top: int,
) -> Lane:
    link = broker_link((broker.group, broker.name))
    destinations = _destinations(held, shown)
    drawn = sorted(
        sorted(destinations, key=lambda one: (_weight(one[1]), one[1].name), reverse=True)[:ROWS_MAX],
        key=lambda one: (one[0], one[1].name),
    )
    rows = [
        _row(broker, kind, destination, link, top + HEADER + ROW * index + ROW // 2)
        for index, (kind, destination) in enumerate(drawn)
    ]
    height = HEADER + ROW * max(len(rows), 1) + 10 + (ROW if len(drawn) < len(destinations) else 0)
    here = (LANE_LEFT, top + HEADER // 2)
    slot = places.get((broker.group, broker.name, broker.master))
    token = (slot.x, slot.y) if slot else here
    problem = held.problem or ("" if broker.master else "no master")
    return Lane(
        id=_id("lane", broker.group, broker.name),
        name=broker.name,
        group=broker.group,
        label=shortened(broker.name, LABEL_CHARACTERS_MAX * 2),
        link=link,
        master=broker.master,
        slaves=broker.slaves,
        problem=problem,
        x=LANE_LEFT,
        y=top,
        width=LANE_WIDTH,
        height=height,
        token_x=token[0],
        token_y=token[1],
        path=_path((MARGIN + CONTAINER_WIDTH, token[1]), here) if slot else "",
        rows=rows,
        left_out=len(destinations) - len(drawn),
    )


def _destinations(held: Held, shown: Collection[str]) -> list[tuple[str, Destination]]:
    found: list[tuple[str, Destination]] = []
    if QUEUES in shown:
        found += [("queue", queue) for queue in held.queues if not queue.temporary]
    if TOPICS in shown:
        found += [
            ("topic", topic)
            for topic in held.topics
            if not topic.temporary and not topic.name.startswith(ADVISORIES)
        ]
    return found


def _weight(destination: Destination) -> tuple[int, int]:
    return (destination.consumers + destination.producers, _messages(destination))


def _messages(destination: Destination) -> int:
    return getattr(destination, "size", destination.in_flight)


def _row(broker: BrokerStatus, kind: str, destination: Destination, link: str, y: int) -> Row:
    name = destination.name
    return Row(
        id=_id(kind, broker.group, broker.name, name),
        kind=kind,
        name=name,
        label=shortened(name, NAME_CHARACTERS_MAX),
        link=f"{link}/{kind}s/{segment(name)}",
        dead=kind == "queue" and is_dead_letters(name),
        y=y,
        messages=_messages(destination),
        producers=destination.producers,
        consumers=destination.consumers,
    )


def _path(start: tuple[int, int], end: tuple[int, int]) -> str:
    middle = (start[0] + end[0]) // 2
    return f"M {start[0]} {start[1]} C {middle} {start[1]} {middle} {end[1]} {end[0]} {end[1]}"


def shortened(text: str, most: int) -> str:
    """The text with its middle left out if it is longer."""
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[: most - 1 - half]}…{text[-half:]}"


def _id(*parts: str) -> str:
    """A name for an element; the same for the same thing."""
    return "-".join(segment(part) for part in parts)

"""An operator of a region in memory, and messages as OpenWire brings them."""

from __future__ import annotations

from collections.abc import Mapping

from support.region import QUEUE, Peer, new_region, settle

from broker.authorization import Rights
from broker.destination import Destination
from broker.management.jobs import Caller, Job
from broker.management.management import Management, Operator
from broker.management.model import JobInfo, MessageInfo
from broker.management.requests import BrowseRequest
from broker.message import Message
from broker.openwire import translation
from broker.openwire.commands import ActiveMQTextMessage, MessageId, ProducerId
from broker.openwire.message_reader import message_of_frame
from broker.primitive_map import Value, encode_map
from broker.region.region import Region

STEPS_MAX = 10_000


def managed(region: Region | None = None) -> tuple[Management, Operator]:
    """A region's management, and what the user admin may do there."""
    region = region or new_region()
    region.rights = Rights(region.rights.authorization, lambda user: ["admin"] if user == "admin" else [])
    management = Management(region)
    return management, management.operator(Caller("admin", "tcp://here:1"))


def finished(region: Region, job: Job) -> JobInfo:
    """Have a job done to its end."""
    for _ in range(STEPS_MAX):
        settle(region)
        if job.info().state != "running":
            return job.info()
    raise AssertionError(f"{job.info()} goes on for ever")


def all_messages(
    operator: Operator, queue: str = QUEUE.name, *, limit: int = 100, preview: int = 100
) -> list[MessageInfo]:
    """Everything that browsing shows, page by page."""
    found: list[MessageInfo] = []
    after = ""
    while True:
        page = operator.browse(BrowseRequest(queue=queue, after=after, limit=limit, preview=preview))
        found += page.items
        after = page.next
        if not after:
            return found


def ids(operator: Operator, queue: str = QUEUE.name) -> list[str]:
    """The ids of what a queue holds, in order; empty if there is no such queue."""
    if Destination.queue(queue) not in operator.region.targets:
        return []
    return [each.id for each in all_messages(operator, queue)]


def text_message(
    number: int,
    text: str,
    destination: Destination = QUEUE,
    properties: Mapping[str, Value] | None = None,
    *,
    persistent: bool = True,
) -> Message:
    """A text message as OpenWire brings it, with its frame; its id ends with the number."""
    data = text.encode()
    producer = ProducerId("ID:test-1", 1, 1)
    command = ActiveMQTextMessage(
        producer_id=producer,
        destination=translation.from_destination(destination),
        message_id=MessageId(None, producer, number),
        persistent=persistent,
        priority=4,
        timestamp=1000,
        content=len(data).to_bytes(4, "big") + data,
        marshalled_properties=encode_map(properties) if properties else None,
    )
    frame = translation.to_message(command).wire
    assert frame is not None
    return message_of_frame(frame)


def send_text(
    peer: Peer,
    number: int,
    text: str,
    destination: Destination = QUEUE,
    properties: Mapping[str, Value] | None = None,
) -> None:
    """Send one."""
    peer.connection.send(text_message(number, text, destination, properties))

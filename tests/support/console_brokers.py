"""A broker in memory for a console in memory: a region whose management answers without a socket.

    world = BrokerWorld()
    send_text(world.peer, 1, "hello", Destination.queue("orders"))
    answer = world.client("viewer").get("/api/v1/brokers/default/orders/queues")

Every question is counted in `asked`, so that tests can say what a page costs the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from support.console import ConsoleWorld
from support.management import managed
from support.region import Peer, new_region, settle

from broker.errors import ClientError
from broker.management.errors import ManagementError, from_client_error
from broker.management.jobs import Job
from broker.management.operations import carry_out, plain_of
from broker.region.region import Region
from fabric.errors import BrokerRefused, BrokerUnreachable

URL = "tcp://127.0.0.1:61616"
GROUP = "default"
BROKER = "orders"


class MemoryClient:
    """What a `BrokerClient` does, on a region in memory."""

    def __init__(self, world: BrokerWorld) -> None:
        self._world = world
        self.is_connected = True

    def ask(self, operation: str, **arguments: object) -> Any:
        """See `BrokerClient.ask`."""
        if not self._world.answers:
            self.is_connected = False
            raise BrokerUnreachable(BROKER, "it does not answer")
        self._world.asked.append(operation)
        try:
            found = carry_out(self._world.operator, operation, arguments)
        except ManagementError as error:
            raise BrokerRefused(str(error), "", error.code) from error
        except ClientError as error:
            refused = from_client_error(error)
            raise BrokerRefused(str(refused), "", refused.code) from error
        return self._finish(found) if isinstance(found, Job) else found

    def change(
        self,
        operation: str,
        on_progress: Callable[[dict[str, Any]], None] | None,
        asker: Mapping[str, str] | None = None,
        **arguments: object,
    ) -> Any:
        """See `BrokerClient.change`; a job that `BrokerWorld.holds` back goes on unseen."""
        self._world.askers.append(asker)
        if self._world.holds and on_progress is not None:
            found = carry_out(self._world.operator, operation, arguments)
            assert isinstance(found, Job)
            on_progress(cast("dict[str, Any]", plain_of(found.info())))
        return self.ask(operation, **arguments)

    def _finish(self, job: Job) -> Any:
        for _ in range(10_000):
            settle(self._world.region)
            if job.info().state == "failed":
                raise BrokerRefused(job.error, "", job.code)
            if job.info().state != "running":
                return plain_of(job.info())
        raise AssertionError(job)

    def close(self) -> None:
        """Leave."""
        self._world.closed += 1
        self.is_connected = False


class BrokerWorld(ConsoleWorld):
    """A console, and the broker `orders` of the group `default`, whose master is the container `root`.

    Attributes:
        region: what the broker holds.
        peer: a client of it.
        asked: all questions.
        askers: for whom changes were asked for.
        connected: how many connections were made.
        closed: how many were closed.
        answers: whether it answers.
        holds: whether changes go on for long.
    """

    def __init__(self, region: Region | None = None) -> None:
        super().__init__()
        self.region = region or new_region()
        self.management, self.operator = managed(self.region)
        self.peer = Peer(self.region, "ID:peer-1:1", "billing")
        self.asked: list[str] = []
        self.askers: list[Mapping[str, str] | None] = []
        self.connected = self.closed = 0
        self.answers = True
        self.holds = False
        self.container("root", "fabric")
        self.broker(GROUP, BROKER, "root", URL)
        self.console.links.connect = cast("Any", self._connect)

    def _connect(self, name: str, url: str, login: object) -> MemoryClient:
        assert (name, login is not None) == (BROKER, True), url
        self.connected += 1
        return MemoryClient(self)

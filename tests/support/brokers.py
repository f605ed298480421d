"""Brokers that take part in elections and serve nothing."""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable

from support.waiting import wait_until
from support.worlds import World

from registry import paths
from registry.discovery import DiscoveryView
from registry.election import BrokerElection
from registry.roles import Role
from registry.session import Session

BROKER = "tolerantbroker"


class Loop:
    """A thread that runs what is posted, as a reactor does."""

    def __init__(self) -> None:
        self.posted: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` later."""
        self.posted.put(call)

    def close(self) -> None:
        """End."""
        self.posted.put(None)
        self.thread.join()

    def _run(self) -> None:
        while (call := self.posted.get()) is not None:
            call()


class Broker:
    """A broker that serves as soon as it is asked to."""

    def __init__(self, world: World, session: Session, group: str, container: str, loop: Loop) -> None:
        self.world = world
        self.session = session
        self.loop = loop
        self.container = container
        self.url = f"tcp://127.0.0.1:{abs(hash(container)) % 60000}"
        self.election = BrokerElection(self.session, group, BROKER, container, self)
        self.taken_over_at: list[float] = []
        self.reasons: list[str] = []
        loop.post(self.election.start)

    def take_over(self) -> None:
        """Serve."""
        self.taken_over_at.append(time.monotonic())
        self.election.publish([self.url])

    def step_down(self, reason: str) -> None:
        """Stop serving."""
        self.reasons.append(reason)
        self.election.stopped()

    @property
    def role(self) -> Role:
        """What it is."""
        return self.election.state

    def die(self) -> None:
        """End as a killed process does: its supervisor closes its session."""
        assert self.world.end_session(self.session)


class Cluster:
    """Brokers of one group, an observer's session and a client's view."""

    def __init__(self, world: World, group: str, stack: contextlib.ExitStack) -> None:
        self.world = world
        self.group = group
        self.stack = stack
        self.observer = stack.enter_context(world.open())
        self.seen: list[tuple[str, ...]] = []
        self.view = DiscoveryView(self.observer, group, self.seen.append)
        self.view.start()

    def start(self, container: str) -> Broker:
        """Start a broker."""
        loop = Loop()
        self.stack.callback(loop.close)
        session = self.stack.enter_context(self.world.open(loop.post))
        return Broker(self.world, session, self.group, container, loop)

    def add(self, container: str, role: Role) -> Broker:
        """Start a broker and wait for its role."""
        broker = self.start(container)
        wait_until(lambda: broker.role is role and broker.election.member_name, message=f"{container} {role}")
        wait_until(lambda: container in self.containers())
        return broker

    @property
    def told(self) -> tuple[str, ...] | None:
        """What the client was told last."""
        return self.seen[-1] if self.seen else None

    def members(self) -> dict[str, dict[str, object]]:
        """Read the members as any tool would."""
        path = paths.amq_group(self.group)
        nodes = {name: self.observer.get_or_none(f"{path}/{name}") for name in self.observer.children(path)}
        return {name: json.loads(node.data) for name, node in nodes.items() if node}

    def containers(self) -> list[object]:
        """Containers of the ready members in order."""
        return [record["container"] for _, record in sorted(self.members().items()) if record["ready"]]

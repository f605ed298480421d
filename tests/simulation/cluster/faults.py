"""What may go wrong, and how it is put right in the end.

kill         a broker's process dies; its kernel writes what it had written, perhaps later
host         a broker's host dies with what was not synced; nobody is told
power        all brokers' hosts and the disk lose power
pause        a process stands still
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from simulation.cluster.simulated_broker import SimulatedBroker

if TYPE_CHECKING:
    from simulation.cluster.clock import Process
    from simulation.cluster.plan import Fault
    from simulation.cluster.world import World

AGENT_S: Final = 0.01
"""An agent that sees its child die closes its session."""


def _end(world: World, broker: SimulatedBroker) -> None:
    broker.end()
    broker.mastership = None


def _restart(world: World, broker: SimulatedBroker, after_s: float) -> None:
    def start() -> None:
        if not broker.alive:
            broker.start()

    world.clock.call_later(after_s, start)


def _kill(world: World, fault: Fault, process: Process) -> None:
    if not isinstance(process, SimulatedBroker):
        return
    _end(world, process)
    world.network.reset_all(process.name)
    if world.disk.random.random() < 0.5:
        world.disk.crash(process.name)
    for session in world.zookeeper.sessions_of(process.name):
        world.zookeeper.call_later(AGENT_S, lambda number=session: world.zookeeper.expire(number))  # type: ignore[misc]  # bound now
    _restart(world, process, fault.for_s)


def _host(world: World, fault: Fault, process: Process) -> None:
    if not isinstance(process, SimulatedBroker):
        return
    _end(world, process)
    peers = world.network.abandon(process.name)
    world.disk.crash(process.name)

    def tell() -> None:
        for peer in peers:
            peer.lose("connection reset")

    world.clock.call_later(fault.for_s, tell)
    _restart(world, process, fault.for_s)


def _power(world: World, fault: Fault, process: Process) -> None:
    del process
    for broker in world.brokers:
        if broker.alive:
            _host(world, fault, broker)
    world.disk.power_failure()


def _pause(world: World, fault: Fault, process: Process) -> None:
    del world
    process.pause(fault.for_s)


FAULTS: Final[dict[str, Callable[[Any, Any, Any], None]]] = {
    "kill": _kill,
    "host": _host,
    "power": _power,
    "pause": _pause,
}


def repair(world: World) -> None:
    """Everything works again."""
    world.network.heal_all()
    world.disk.capacity = None
    if not world.zookeeper.alive:
        world.zookeeper.start()
    for process in (*world.brokers, *world.producers, *world.consumers):
        process.paused_until_s = min(process.paused_until_s, world.clock.now_s)
    for broker in world.brokers:
        if not broker.alive:
            broker.start()

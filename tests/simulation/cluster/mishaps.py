"""What may go wrong, and how it is put right in the end.

=========  =================================================================================================
kill       a broker's process dies; its kernel writes what it had written, perhaps later
host       a broker's host dies with what was not synced; nobody is told
power      all brokers' hosts and the disk lose power
stop       a broker is told to end, and ends in good order
pause      a process stands still
stall      only the thread that has just done a step stands still
cut        two parties cannot reach each other
slow       what one sends the other takes long
reset      the connections between two break, with what is under way
repeat     a broker's answers arrive twice
expire     ZooKeeper ends a session; its owner is told when it can be reached
forget     the owner takes its session for lost, ZooKeeper does not
deaf       the next answer of ZooKeeper to somebody is lost, with the connection
outage     ZooKeeper is down
full       the disk has no room left
flip       one bit of what is on the disk changes; see `Promises.excused`
=========  =================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from simulation.cluster.damage import chosen_bit
from simulation.cluster.promises import plain
from simulation.cluster.simulated_broker import SimulatedBroker

if TYPE_CHECKING:
    from simulation.cluster.clock import Process
    from simulation.cluster.plan import Fault
    from simulation.cluster.world import World

AGENT_S: Final = 0.01
"""An agent that sees its child die closes its session."""


def _restart(world: World, broker: SimulatedBroker, after_s: float) -> None:
    def start() -> None:
        if not broker.alive:
            broker.start()

    world.clock.call_later(after_s, start)


def _kill(world: World, fault: Fault, process: Process) -> None:
    if not isinstance(process, SimulatedBroker):
        return
    process.end()
    world.network.reset_all(process.name)
    if world.disk.random.random() < 0.5:
        world.disk.crash(process.name)
    for session in world.zookeeper.sessions_of(process.name):
        world.zookeeper.call_later(AGENT_S, partial(world.zookeeper.expire, session))
    _restart(world, process, fault.for_s)


def _host(world: World, fault: Fault, process: Process) -> None:
    if not isinstance(process, SimulatedBroker):
        return
    process.end()
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


def _stop(world: World, fault: Fault, process: Process) -> None:
    if isinstance(process, SimulatedBroker):

        def ended() -> None:
            world.network.reset_all(process.name)
            for session in world.zookeeper.sessions_of(process.name):
                world.zookeeper.expire(session)
            _restart(world, process, fault.for_s)

        process.stop(ended)


def _pause(world: World, fault: Fault, process: Process) -> None:
    del world
    process.pause(fault.for_s)


def _stall(world: World, fault: Fault, process: Process) -> None:
    del world
    process.stalled_s = fault.for_s


def _cut(world: World, fault: Fault, process: Process) -> None:
    world.network.cut(process.name, fault.other)
    world.clock.call_later(fault.for_s, lambda: world.network.heal(process.name, fault.other))


def _slow(world: World, fault: Fault, process: Process) -> None:
    world.network.slow_down(process.name, fault.other, fault.for_s)


def _reset(world: World, fault: Fault, process: Process) -> None:
    for stream in world.network.streams(process.name, fault.other):
        stream.reset("connection reset")


def _repeat(world: World, fault: Fault, process: Process) -> None:
    del world
    if isinstance(process, SimulatedBroker):
        process.repeats_until_s = process.clock.now_s + fault.for_s


def _expire(world: World, fault: Fault, process: Process) -> None:
    del fault
    for session in world.zookeeper.sessions_of(process.name):
        world.zookeeper.expire(session)


def _forget(world: World, fault: Fault, process: Process) -> None:
    del world, fault
    if isinstance(process, SimulatedBroker) and process.zookeeper is not None:
        client = process.zookeeper
        process.post(client.forget_session)


def _deaf(world: World, fault: Fault, process: Process) -> None:
    del fault
    world.zookeeper.losing.add(process.name)


def _outage(world: World, fault: Fault, process: Process) -> None:
    del process
    if world.zookeeper.alive:
        world.zookeeper.stop()
        world.clock.call_later(fault.for_s, world.zookeeper.start)


def _full(world: World, fault: Fault, process: Process) -> None:
    del process
    disk = world.disk
    disk.capacity = disk.used + disk.random.choice((0, 0, 400, 2000))

    def free() -> None:
        disk.capacity = None

    world.clock.call_later(fault.for_s, free)


def _flip(world: World, fault: Fault, process: Process) -> None:
    del fault, process
    disk, promises = world.disk, world.promises
    if disk.damaged:
        return
    chosen = chosen_bit(disk, disk.random, {plain(name) for name in promises.left})
    if chosen is not None:
        disk.damaged = True
        file = disk.files[chosen.file]
        file.content[chosen.offset] ^= 1 << disk.random.randrange(8)
        world.note("FAULT", f"flipped a bit of byte {chosen.offset} of {chosen.file}, in {chosen.what}")
        promises.excuse(chosen.names, (consumer.name for consumer in world.consumers))
        promises.forgetful = promises.forgetful or chosen.is_memory


FAULTS: Final[dict[str, Callable[[Any, Any, Any], None]]] = {
    "kill": _kill,
    "host": _host,
    "power": _power,
    "stop": _stop,
    "pause": _pause,
    "stall": _stall,
    "cut": _cut,
    "slow": _slow,
    "reset": _reset,
    "repeat": _repeat,
    "expire": _expire,
    "forget": _forget,
    "deaf": _deaf,
    "outage": _outage,
    "full": _full,
    "flip": _flip,
}


def repair(world: World) -> None:
    """Everything works again."""
    world.network.heal_all()
    world.disk.capacity = None
    world.zookeeper.losing.clear()
    if not world.zookeeper.alive:
        world.zookeeper.start()
    for process in (*world.brokers, *world.producers, *world.consumers):
        process.paused_until_s = min(process.paused_until_s, world.clock.now_s)
    for broker in world.brokers:
        if not broker.alive:
            broker.start()

"""One broker process: election, journal, region and OpenWire are the product's, put together as there."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from simulation.cluster.clock import Process
from simulation.cluster.contents import live_messages, subscribers
from simulation.cluster.disk import host_files
from simulation.cluster.network import Stream
from simulation.cluster.promises import Reign
from simulation.cluster.threads import SteppedCaretaker, SteppedWriter
from simulation.cluster.zookeeper import ZooKeeperClient
from support.fake_disk import FakeFiles

from broker.connectors import ConnectorConfig, PortRange
from broker.openwire.commands import Response
from broker.openwire.server import OpenWireServer
from broker.region.region import Region
from broker.region.usage import UsageLimits
from broker.serving import ServerContext
from broker.turn import Turn
from journal.care import Kept
from journal.errors import JournalError, StoreFenced
from journal.follower import Follower
from journal.journal import Journal
from journal.mastership import Opened, become_master
from journal.patrol import Patrol
from journal.quarantine import Losses
from journal.state import State
from journal.upkeep import Upkeep
from registry.election import BrokerElection
from registry.nonblocking import NonblockingSession

if TYPE_CHECKING:
    from simulation.cluster.world import World

_SIZE: Final = struct.Struct(">i")
FOLLOW_S: Final = 0.25
PASS_S: Final = 0.0005
"""What arrives within so long arrives in one pass of the reactor, since nobody is served at once."""
CONNECTOR: Final = ConnectorConfig("openwire", "openwire", "tcp", PortRange(61616, 61616))
RETRY_DELAY_MIN_S: Final = 0.25
RETRY_DELAY_MAX_S: Final = 1.0
"""See `broker.service`."""


class Everybody:
    """An authenticator that knows everybody."""

    takes_tokens = False

    def authenticate(self, user: str | None, password: str | None, done: Callable[[None], None]) -> None:
        """Let them in."""
        del user, password
        done(None)

    def name_of(self, user: str, password: str | None) -> str:
        """Who he says."""
        del password
        return user


class Line:
    """One client's connection; see `broker.connector.ClientTransport`."""

    def __init__(self, mastership: Mastership, stream: Stream, remote: str) -> None:
        self._mastership = mastership
        self._turn = mastership.turn
        self._stream = stream
        self._bound = False
        process = mastership.broker
        context = ServerContext(CONNECTOR, mastership.region, Everybody(), "broker", "broker", process.url)
        self._server = OpenWireServer(context, remote, process.clock.now_s, lambda: self._turn.touch(self))
        stream.on_data = self.receive
        stream.on_lost = self.lost
        mastership.lines[self] = None
        self._turn.add(self)
        for data in stream.unread:
            self.receive(data)

    def receive(self, data: bytes) -> None:
        """Take what arrived."""
        server = self._server
        server.receive_data(data, self._turn.begin())
        self._bind()
        if server.held_batch:
            self._turn.hold(self)
        self._mastership.hear(self)

    def lost(self, reason: str) -> None:
        """The client is gone."""
        self._mastership.lines.pop(self, None)
        self._server.connection_lost(reason)
        self._turn.remove(self, self._server.connection)

    def durable(self, batch: int) -> None:
        """Replies leave."""
        self._server.durable(batch)
        if self._server.held_batch:
            self._turn.hold(self)

    def write(self) -> None:
        """One write for all that this turn has to say."""
        server = self._server
        self._bind()
        if server.held_batch:
            self._turn.hold(self)
        data = server.data_to_send()
        if data:
            process = self._mastership.broker
            if process.repeats_until_s > process.clock.now_s:
                data += b"".join(answers_in(data))
            self._stream.send(data)
        connection = server.connection
        if connection is not None and connection.dispatch_budget <= 0:
            connection.replenish()
            self._turn.schedule()
        if server.closing and self._stream.is_open:
            self.drop()

    def check_deadline(self, now_s: float) -> None:
        """Keep alive, or give a silent peer up."""
        deadline_s = self._server.deadline_s
        if deadline_s is not None and deadline_s <= now_s:
            self._server.handle_deadline(now_s)
            self._turn.touch(self)

    def drop(self) -> None:
        """Close in good order."""
        stream = self._stream
        if stream.is_open:
            stream.close()
            self.lost("")

    def _bind(self) -> None:
        connection = self._server.connection
        if not self._bound and connection is not None:
            self._bound = True
            self._turn.bind(self, connection)


def answers_in(data: bytes) -> list[bytes]:
    """The frames among some whole ones that answer a command."""
    answers = []
    at = 0
    while at < len(data):
        (size,) = _SIZE.unpack_from(data, at)
        if data[at + 4] == Response.TYPE_CODE:
            answers.append(data[at : at + 4 + size])
        at += 4 + size
    return answers


class Mastership:
    """One term as the master; see `broker.mastership`."""

    def __init__(
        self, broker: SimulatedBroker, opened: Opened, state: State, files: FakeFiles, reign: Reign
    ) -> None:
        self.broker = broker
        self.reign = reign
        self.lines: dict[Line, None] = {}
        world, options = broker.world, broker.world.options
        mastership = opened.mastership
        reserve = mastership.reserve
        writer = SteppedWriter(
            mastership,
            opened.first.next_place(mastership.file_bytes),
            state,
            options,
            post=broker.post,
            on_durable=self._durable,
            on_failed=self._failed,
        ).begin(
            broker,
            is_inline=world.plan.is_fast_disk,
            on_append=lambda batch, records: world.promises.appended(
                reign, batch, records, broker.clock.now_s
            ),
        )
        upkeep = Upkeep(files, state, writer, reign.epoch, opened.first.end, options)
        losses = Losses(files, state, writer)
        patrol = Patrol(files, state, reign.epoch)
        kept = Kept(files, upkeep, reserve, patrol, losses, options, opened.leftovers)
        self.caretaker = SteppedCaretaker(broker, kept, writer, world.upkeep_done)
        reserve.on_change = self._full_changed
        self.writer = writer
        self.is_over = False
        self.journal = Journal(
            files,
            writer,
            self.caretaker,  # type: ignore[arg-type]  # the part of it that is used
            reserve,
            losses,
            state,
            reign.epoch,
            opened.report,
        )
        limits = UsageLimits(store_bytes_max=world.plan.store_bytes) if world.plan.store_bytes else None
        self.region = Region(self.journal, now_ms=broker.now_ms(), usage=limits)
        self.turn = Turn(
            broker,
            self.region,
            self.journal,
            clock_ms=broker.now_ms,
            monotonic_s=lambda: broker.clock.now_s,
            passes=lambda: int(broker.clock.now_s / PASS_S),
        )
        self._hears = False
        writer.start()
        self.caretaker.start()

    def hear(self, line: Line) -> None:
        """A client has said something; one that speaks alone may be answered before this returns."""
        self._hears = True
        try:
            self.turn.heard(line)
        finally:
            self._hears = False

    def _durable(self, batch: int) -> None:
        world = self.broker.world
        if self._hears:
            world.count("answer at once")
        world.promises.durable(self.reign, batch)
        world.progress()
        self.broker.reached(f"told of batch {batch}")
        self.turn.durable(batch)

    def _full_changed(self) -> None:
        self.broker.note("the disk is full" if self.journal.full else "the disk has room again")
        self.broker.world.count("full" if self.journal.full else "room again")
        self.caretaker.wake()
        self.broker.post(self.turn.schedule)

    def _failed(self, error: JournalError) -> None:
        self.broker.note(f"epoch {self.reign.epoch} is over: {error}")
        self.abort()
        self.broker.lost(self, error)

    def abort(self) -> None:
        """Close everything now."""
        self.is_over = True
        self.turn.halt()
        self.region.close()
        for line in list(self.lines):
            line._stream.reset("the broker has lost its store")

    def close(self, then: Callable[[], None]) -> None:
        """Take nothing more, write what was taken, then go on."""
        self.is_over = True
        self.turn.stop_dispatch()
        self.turn.halt()
        self.journal.flush()
        self.journal.close(10.0)
        self.writer.when_ended(lambda: self.broker.post(then))


class SimulatedBroker(Process):
    """A broker process; see `broker.service`."""

    def __init__(self, world: World, name: str, rng: random.Random) -> None:
        super().__init__(world.clock, name, rng)
        self.world = world
        self.url = f"tcp://{name}:61616"
        self.session: NonblockingSession | None = None
        self.election: BrokerElection | None = None
        self.mastership: Mastership | None = None
        self.epoch = 0
        self._follower: Follower | None = None
        self._listening = False
        self._early: list[Stream] = []
        self._unwanted = False
        self.is_taking_over = False
        self._failures = 0
        self._stopping: Callable[[], None] | None = None
        self.repeats_until_s = 0.0
        self.zookeeper: ZooKeeperClient | None = None

    # ---- the process

    def start(self) -> None:
        """Run."""
        self.alive = True
        self.mastership = None
        self._listening = self.is_taking_over = self._unwanted = False
        self._early = []
        self._failures = 0
        self._stopping = None
        world = self.world
        self.zookeeper = client = ZooKeeperClient(world.network, self, world.zookeeper)
        self.session = NonblockingSession(
            "zookeeper:2181",
            None,
            post=self.post,
            set_timer=self.call_later,
            client_factory=lambda *_: client,
        )
        self.session.start()
        self.election = BrokerElection(
            self.session, "default", "broker", self.name, self, choose_delay_s=self.random.uniform
        )
        self.note("starts")
        self._follow()
        self.election.start()

    def end(self) -> None:
        """It is dead."""
        super().end()
        self.mastership = self.election = None
        self._follower = None

    def stop(self, ended: Callable[[], None]) -> None:
        """End in good order; see `BrokerService.stopService`."""
        election, self.election = self.election, None
        mastership, self.mastership = self.mastership, None
        self._unwanted = True
        self._follower = None
        self._stop_listening()
        if election is None:
            return

        def left() -> None:
            if self.election is None:
                for line in list(mastership.lines) if mastership is not None else ():
                    line.drop()
                self.end()
                self.clock.call_later(0.0, ended)

        if mastership is not None:
            mastership.close(lambda: election.stop(left))
        elif not self.is_taking_over:
            election.stop(left)
        else:
            self._stopping = lambda: election.stop(left)

    def reached(self, step: str) -> None:
        """A step was done."""
        self.world.reached(self, step)

    def disk_call(self, operation: str) -> None:
        """A call of the files seam is about to be made."""
        self.world.reached(self, f"disk {operation}")

    def note(self, text: str) -> None:
        """For the timeline."""
        self.world.note(self.name, text)

    def now_ms(self) -> int:
        """The wall clock."""
        return int(self.clock.now_s * 1000)

    # ---- clients

    @property
    def is_ruling(self) -> bool:
        """Whether it serves, or is about to."""
        return self.is_taking_over or self.mastership is not None

    def admit(self, stream: Stream) -> bool:
        """A client asks; the kernel answers."""
        if not self._listening:
            return False
        mastership = self.mastership
        if mastership is None:
            self._early.append(stream)
        else:
            self.post(lambda: self._accept(mastership, stream))
        return True

    def _accept(self, mastership: Mastership, stream: Stream) -> None:
        if mastership.is_over or not stream.is_open:
            stream.close()
        else:
            Line(mastership, stream, stream.peer.process.name)

    # ---- a slave's journal

    def _follow(self) -> None:
        self._follower = follower = Follower(self._files())

        def poll() -> None:
            if self._follower is follower:
                try:
                    follower.poll()
                except JournalError as error:
                    del error  # as the follower's thread: the next look begins anew
                self.call_later(FOLLOW_S * (1 + 3 * self.random.random()), poll)

        self.post(poll)

    def _files(self) -> FakeFiles:
        return host_files(self.world.disk, self)

    # ---- the election

    def take_over(self) -> None:
        """We are elected: serve."""
        self.note("takes over")
        self._unwanted = False
        self.is_taking_over = True
        self._listening = True
        follower, self._follower = self._follower, None
        self.spawn(self._open(follower))

    def _open(self, follower: Follower | None) -> Any:
        files = self._files()
        follower = follower or Follower(files)
        state = follower.state
        world = self.world
        steps = become_master(
            files,
            state,
            owner=self.name,
            salt=self.random.getrandbits(64),
            options=world.options,
            warm=follower.place,
            found=follower.damages,
        )
        reign: Reign | None = None
        try:
            while True:
                try:
                    step = next(steps)
                except StopIteration as end:
                    opened: Opened = end.value
                    break
                if step == "checked batch 1":
                    reign = self._serving(files, state)
                yield step
        except JournalError as reason:
            error = reason
            self.post(lambda: self._cannot(error))
            return
        assert reign is not None
        world.damage_reported(self, opened.report)
        serving = reign
        self.post(lambda: self._begin(opened, state, files, serving))

    def _serving(self, files: FakeFiles, state: State) -> Reign:
        """The first batch counts: what is in the store?"""
        epoch = max(state.salts)
        live = live_messages(files, state, self.world.message_damaged)
        self.note(f"serves epoch {epoch} with {len(live)} messages")
        return self.world.promises.serving(epoch, live, subscribers(state))

    def _begin(self, opened: Opened, state: State, files: FakeFiles, reign: Reign) -> None:
        self.is_taking_over = False
        mastership = Mastership(self, opened, state, files, reign)
        self.world.masterships.append(mastership)
        if self._stopping is not None:
            mastership.close(self._stopping)
            return
        self.mastership = mastership
        early, self._early = self._early, []
        if self._unwanted:
            for stream in early:
                stream.close()
            self._step_down()
            return
        for stream in early:
            self._accept(mastership, stream)
        assert self.election is not None
        self.election.publish([self.url])

    def _cannot(self, error: JournalError) -> None:
        self.note(f"cannot take over: {error}")
        self.is_taking_over = False
        self._stop_listening()
        if self._stopping is not None:
            self._stopping()
            return
        assert self.election is not None
        delay_s = self._next_delay_s()
        self._follow()
        self.election.failed(delay_s)

    def lost(self, mastership: Mastership, error: JournalError) -> None:
        """Fenced, or the journal has failed."""
        if mastership is not self.mastership:
            return
        self.mastership = None
        self._stop_listening()
        if isinstance(error, StoreFenced) and not self._failures:
            self._failures, delay_s = 1, 0.0
        else:
            delay_s = self._next_delay_s()
        if self.election is not None:
            self._follow()
            self.election.failed(delay_s)

    def _next_delay_s(self) -> float:
        delay_s = min(RETRY_DELAY_MIN_S * float(2**self._failures), RETRY_DELAY_MAX_S)
        self._failures = min(self._failures + 1, 16)
        return delay_s

    def step_down(self, reason: str) -> None:
        """Another broker is ahead of us."""
        self.note(f"steps down: {reason}")
        self._unwanted = True
        if self.mastership is not None:
            self._step_down()

    def _step_down(self) -> None:
        mastership, self.mastership = self.mastership, None
        assert mastership is not None
        self._stop_listening()

        def closed() -> None:
            for line in list(mastership.lines):
                line.drop()
            if self.election is not None:
                self._follow()
                self.election.stopped()

        mastership.close(closed)

    def _stop_listening(self) -> None:
        self._listening = False
        early, self._early = self._early, []
        for stream in early:
            stream.close()

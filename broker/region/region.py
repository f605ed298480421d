"""The region: all destinations of a broker, and the only place that appends to the journal.

Pure: no clock, no socket, no Twisted. The owner sets the time with `advance`, says with `durable` what the
journal has made safe, and calls `dispatch` at the end of each reactor turn: what is to be sent comes of it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.authorization import Permission, Rights
from broker.destination import Destination, DestinationKind, check_name, is_advisory, is_storable
from broker.errors import (
    InvalidClientId,
    InvalidDestination,
    MessageInvalid,
    RequestInvalid,
    ResourceExhausted,
)
from broker.forwarding import DEFAULT_FORWARDING, Forwarding
from broker.identity import BrokerIdentity
from broker.message import Message, decode_message
from broker.policies import NO_POLICIES, PolicyMap
from broker.region.advisories import Advisories, AdvisoryTopic
from broker.region.alarms import Alarms
from broker.region.branches import Branches, PreparedBranch
from broker.region.connection import RegionConnection
from broker.region.dead_letters import DeadLetters
from broker.region.endpoints import Endpoints
from broker.region.expiry import Expiry
from broker.region.idle import IdleDestinations
from broker.region.limits import RegionLimits
from broker.region.parts import Wildcards, destinations_of
from broker.region.pulls import Pulls
from broker.region.queue import Queue
from broker.region.redelivery import Redelivery, recalled
from broker.region.retained import Retained
from broker.region.riders import with_riders
from broker.region.routing import Routing
from broker.region.schedule import Schedule
from broker.region.schedule_requests import ScheduleRequests
from broker.region.slow import SlowConsumers
from broker.region.spool import ENTRY_BYTES, Spool
from broker.region.statistics import ArrivalTimes, Statistics
from broker.region.statistics_requests import StatisticsRequests
from broker.region.subscriptions import Subscriptions
from broker.region.topic import Topic
from broker.region.usage import Usage, UsageLimits
from journal.errors import MessageDamaged, MessageUnknown, MessageUnreadable
from journal.index import Backlog
from journal.record import RETAINED, AddDestination, Record, RemoveDestination

if TYPE_CHECKING:
    from broker.region.account import Account
    from broker.region.client import Client
    from broker.region.consumer import Dispatching, Source
    from broker.region.entry import Entry
    from broker.region.store import Store
    from broker.region.tasks import Task
    from journal.index import MessageIndex

_log: Final = logging.getLogger("broker.region")


class Region:
    """Destinations, subscriptions and connections over one journal.

    Attributes:
        now_ms: the time, milliseconds since the epoch.
        durable_batch: messages of batches up to this one may be dispatched.
        last_batch: the last batch appended to.
        dirty: sources that may have something to dispatch.
        blocked: sources whose next message is not durable yet.
        unfinished: sources that have looked at enough messages for this turn.
        alarms: when sources want to be looked at again.
        touched: connections that were dispatched to; whoever writes to them clears it.
        usage: what the messages take, and which sends wait for space.
        schedule: the messages that are due later.
        retained: those that topics retain.
        riders: records for the next append of a message.
        tasks: what protocols have to do by the clock.
        endpoints: destinations at which the broker itself takes what is sent.
        statistics: of destinations that are gone; see `broker.region.statistics.total`.
        arrivals: when messages came.
        producers: how many open producers each destination has; those without any are not in it.
    """

    def __init__(
        self,
        store: Store,
        limits: RegionLimits | None = None,
        *,
        now_ms: int = 0,
        usage: UsageLimits | None = None,
        temporary: Path | None = None,
        policies: PolicyMap | None = None,
        forwarding: Forwarding | None = None,
        rights: Rights | None = None,
        scheduling: bool = True,
        identity: BrokerIdentity | None = None,
        advisory_support: bool = True,
    ) -> None:
        """Take over what the journal holds.

        Args:
            store: the journal.
            limits: of what clients can make grow.
            now_ms: the time.
            usage: what the broker may take.
            temporary: folder for non-persistent messages for which there is no memory; None: there is none.
            policies: what holds for which destinations.
            forwarding: what feeds what.
            rights: who may do what; None: everybody everything.
            scheduling: messages can be sent that are due later.
            identity: what it says of itself.
            advisory_support: it says what happens in it to whoever listens.
        """
        self.store = store
        self.limits = limits or RegionLimits()
        self.policies = policies or NO_POLICIES
        self.rights = rights or Rights()
        usage = usage or UsageLimits()
        spool = Spool(temporary, usage.temp_bytes_max, usage.memory_bytes_max // ENTRY_BYTES)
        self.usage = Usage(store, usage, spool, now_ms)
        self.riders: list[Record] = []
        self.tasks: list[Task] = []
        self.now_ms = now_ms
        self.durable_batch = store.durable_batch
        self.last_batch = 0
        self.next_ref = store.state.next_ref
        self.statistics = Statistics(now_ms)
        self.arrivals = ArrivalTimes(self.next_ref, now_ms)
        self.producers: dict[Destination, int] = {}
        self.targets: dict[Destination, Queue | Topic] = {}
        self.slow = SlowConsumers(self)
        self.subscriptions = Subscriptions(self)
        self.connections: dict[str, RegionConnection] = {}
        self.client_ids: dict[str, RegionConnection] = {}
        self.identity = identity or BrokerIdentity()
        self.advisories = Advisories(self, self.identity, enabled=advisory_support)
        self.dead_letters = DeadLetters(self)
        self.redelivery = Redelivery(self)
        self.retained = Retained(self)
        self.expiry = Expiry(self)
        self.wildcards = Wildcards()
        self.branches = Branches(self)
        self.endpoints = Endpoints(self)
        self.schedule = Schedule(self, enabled=scheduling)
        ScheduleRequests(self)
        StatisticsRequests(self)
        self.routing = Routing(self, forwarding or DEFAULT_FORWARDING)
        self.dirty: dict[Dispatching, None] = {}
        self.blocked: dict[Dispatching, None] = {}
        self.unfinished: dict[Dispatching, None] = {}
        self.touched: dict[RegionConnection, None] = {}
        self.alarms = Alarms()
        self.repeats_dropped = 0
        self.pulls = Pulls(self)
        self.idle = IdleDestinations(self, self.limits.purge_period_ms, self.limits.purged_max)
        self._clocked: tuple[Task, ...] = (
            self.schedule,
            self.redelivery,
            self.expiry,
            self.slow,
            self.subscriptions,
            self.idle,
            self.pulls,
        )
        self._recover()

    def _recover(self) -> None:
        """Take over what the journal holds."""
        state = self.store.state
        for uri, live in state.queues.items():
            if uri.startswith(RETAINED):
                continue
            destination = Destination.parse(uri)
            if destination.is_queue:
                self._add_target(Queue(self, destination, Backlog(live)))
        self.subscriptions.recover()
        self.usage.review(self.now_ms)

    # ---- connections

    def connect(
        self,
        client: Client,
        connection_id: str,
        client_id: str | None,
        *,
        user: str = "",
        failover_reconnect: bool = False,
        remote: str = "",
    ) -> RegionConnection:
        """Register an authenticated connection.

        The same connection id again means that the client has come back before its old connection was seen to
        be dead: the old one is closed.

        Raises:
            InvalidClientId: another connection uses the client id, or it cannot be stored.
            RequestInvalid: the connection id cannot be stored.
        """
        if not is_storable(connection_id):
            raise RequestInvalid("The connection id is too long, or not valid Unicode.")
        if client_id and not is_storable(client_id):
            raise InvalidClientId("The client id is too long, or not valid Unicode.")
        former = self.connections.get(connection_id)
        if former is not None:
            former.close()
            former.client.disconnect("the same connection id connected again")
        if client_id:
            holder = self.client_ids.get(client_id)
            if holder is not None:
                raise InvalidClientId(f"Client: {client_id} already connected.")
        connection = RegionConnection(
            self, client, connection_id, client_id, user, failover_reconnect=failover_reconnect, remote=remote
        )
        self.connections[connection_id] = connection
        if client_id:
            self.client_ids[client_id] = connection
        self.advisories.connection_changed(connection, added=True)
        return connection

    def forget(self, connection: RegionConnection) -> None:
        """A closed connection leaves, its temporary destinations with it."""
        if self.connections.get(connection.connection_id) is connection:
            del self.connections[connection.connection_id]
        if connection.client_id and self.client_ids.get(connection.client_id) is connection:
            del self.client_ids[connection.client_id]
        for target in [each for each in self.targets.values() if each.owner is connection]:
            self._drop_temporary(target)
        self.advisories.connection_changed(connection, added=False)

    # ---- rights

    def permit(self, user: str, permission: Permission, destination: Destination) -> None:
        """Let it pass if the user may do it; whoever uses a destination first must be allowed to make it.

        Raises:
            AccessDenied: he may not.
            InvalidDestination: it lists something that is no destination.
        """
        rights = self.rights
        if not rights.restricted:
            return
        rights.check(user, permission, destination)
        for member in destination.members():
            if not (member in self.targets or member.is_pattern or is_advisory(member)) and (
                self.endpoints.of(member) is None
            ):
                rights.check(user, Permission.ADMIN, member)

    def review_rights(self) -> None:
        """Rights have changed: connections with a consumer that is not allowed any more are closed."""
        rights = self.rights
        rights.change()
        for connection in list(self.connections.values()):
            user = connection.user
            consumed = [
                each for consumer in connection.consumers.values() for each in destinations_of(consumer)
            ]
            lost = [each for each in consumed if not rights.allows(user, Permission.READ, each)]
            if lost:
                connection.close()
                connection.client.disconnect(
                    f"User {user} is not authorized any more to read from: {lost[0]}"
                )
        self.wildcards.review(self)

    # ---- destinations

    def target(
        self,
        destination: Destination,
        *,
        consuming: RegionConnection | None = None,
        always: bool = False,
    ) -> Queue | Topic:
        """The queue or topic, made if it does not exist.

        Args:
            destination: of any kind.
            consuming: the connection that opens a consumer; it makes a temporary destination of its own.
            always: also if there are too many.

        Raises:
            InvalidDestination: no name, a wildcard or composite, or a temporary destination that is gone.
            ResourceExhausted: there are too many destinations.
        """
        target = self.targets.get(destination)
        if target is not None:
            return target
        if destination.is_temporary:
            if consuming is None:
                raise InvalidDestination(f"The temporary destination {destination.name} does not exist.")
            return self.add_temporary(destination, consuming)
        check_name(destination.name)
        self._check_policy(destination)
        if destination.is_composite:
            raise InvalidDestination(f"Several destinations cannot be used as one here: {destination}.")
        if destination.is_pattern:
            raise InvalidDestination(f"Only consumers can use wildcards: {destination}.")
        if self.endpoints.of(destination) is not None:
            raise InvalidDestination(
                f"{destination} is the broker's own: it takes requests, and keeps nothing."
            )
        for queue in self.routing.queues_wanted(destination):
            self.target(queue)
        if not always:
            self._check_room()
        made: Queue | Topic
        if destination.kind is DestinationKind.QUEUE:
            made = Queue(self, destination)
            self.append((AddDestination(destination.uri),))
        else:
            made = (AdvisoryTopic if is_advisory(destination) else Topic)(self, destination)
        self._add_target(made)
        return made

    def _add_target(self, target: Queue | Topic) -> None:
        """There is a new destination, or one that the journal has kept."""
        self.targets[target.destination] = target
        self.expiry.made(target)
        self.routing.made(target)
        self.wildcards.made(target)
        self.slow.made(target)
        if isinstance(target, Topic):
            self.subscriptions.made(target)
        self.advisories.destination_changed(target, added=True)

    def restore_topic(self, destination: Destination) -> None:
        """The journal has kept something of a topic: it exists."""
        if destination not in self.targets:
            self._add_target(Topic(self, destination))

    def add_temporary(self, destination: Destination, owner: RegionConnection) -> Queue | Topic:
        """Make a connection's temporary destination and advise of it.

        Raises:
            InvalidDestination: it belongs to another connection.
            ResourceExhausted: there are too many destinations.
        """
        target = self.targets.get(destination)
        if target is not None:
            if target.owner is not owner:
                raise InvalidDestination(f"{destination} belongs to another connection.")
            return target
        check_name(destination.name)
        self._check_room()
        made: Queue | Topic
        if destination.is_queue:
            made = Queue(self, destination, owner=owner)
        else:
            made = Topic(self, destination, owner=owner)
        self.targets[destination] = made
        self.expiry.made(made)
        self.slow.made(made)
        self.advisories.destination_changed(made, added=True)
        return made

    def remove_destination(self, destination: Destination, connection: RegionConnection) -> int:
        """Delete a destination and what it holds; one that does not exist is none to delete.

        Raises:
            InvalidDestination: it has consumers, or belongs to another connection.
        """
        target = self.targets.get(destination)
        if target is None:
            return 0
        if target.owner is not None and target.owner is not connection:
            raise InvalidDestination(f"{destination} belongs to another connection.")
        if target.consumers or (isinstance(target, Topic) and target.subscriptions):
            raise InvalidDestination(f"Destination still has an active subscription: {destination}")
        if target.owner is not None:
            self._drop_temporary(target)
            return 0
        return self.delete([target])

    def delete(self, targets: Sequence[Queue | Topic]) -> int:
        """Delete destinations that nobody uses, and what they hold, in one append; returns the batch."""
        records: list[Record] = []
        for target in targets:
            self._remove_target(target)
            self.advisories.destination_changed(target, added=False)
            if isinstance(target, Queue):
                target.drop()
                records.append(RemoveDestination(target.uri))
        return self.append(records) if records else 0

    def _remove_target(self, target: Queue | Topic) -> None:
        """There is a destination less."""
        del self.targets[target.destination]
        self.statistics.add(target.statistics)
        self.routing.gone(target)
        self.retained.gone(target.destination)

    def _drop_temporary(self, target: Queue | Topic) -> None:
        if target.destination not in self.targets:
            return
        self._remove_target(target)
        for consumer in list(target.consumers):
            consumer.end()
        if isinstance(target, Queue):
            target.drop()
        self.advisories.destination_changed(target, added=False)

    def _check_policy(self, destination: Destination) -> None:
        """Whether its policy allows one destination more; counted are those of the same policy and kind."""
        policy = self.policies.of(destination)
        if policy.max_destinations < 0:
            return
        like = [each for each in self.targets.values() if each.policy is policy]
        if sum(each.destination.kind is destination.kind for each in like) >= policy.max_destinations:
            raise ResourceExhausted(
                f"{destination} is not made: its policy has maxDestinations={policy.max_destinations}."
            )

    def _check_room(self) -> None:
        if len(self.targets) >= self.limits.destinations_max:
            raise ResourceExhausted(f"A broker has at most {self.limits.destinations_max} destinations.")

    # ---- the journal

    def append(self, records: Sequence[Record]) -> int:
        """Append to the journal; returns the batch."""
        if self.riders:
            records = with_riders(self, records)
        self.last_batch = batch = self.store.append(records)
        return batch

    def finish(self, source: Source, entries: list[Entry]) -> int:
        """Entries are consumed for good; returns the batch that says so."""
        records: list[Record] = []
        source.consumed(entries, records)
        return self.append(records) if records else 0

    def load(self, ref: int, uri: str, *, quietly: bool = False) -> Message | None:
        """Read a message back from the journal; None if that fails: whoever wanted it passes it over.

        A damaged message is given up by the journal, which counts it and says so in the log; one that is
        unknown was given up before. What the disk does not give now, or cannot be decoded, stays there.
        """
        try:
            return decode_message(self.store.read(ref, uri))
        except (MessageUnreadable, MessageInvalid) as error:
            if not quietly:
                _log.error("Message %d of %s cannot be read and is passed over: %s", ref, uri, error)
        except (MessageUnknown, MessageDamaged):
            pass
        return None

    def read_back(
        self, entry: Entry, uri: str, usage: Usage | Account, noted: MessageIndex | None
    ) -> Message | None:
        """The message of an entry that has none in memory.

        Args:
            entry: whose.
            uri: of its destination.
            usage: if there is room in it the message stays in memory.
            noted: what the journal knows of messages of this place that were delivered before.
        """
        if not entry.stored:
            return self.usage.unspool(entry)
        message = self.load(entry.ref, uri)
        if message is not None:
            if noted:
                message = recalled(entry, message, noted)
            usage.keep(entry, message)
        return message

    def pass_over(self, entry: Entry) -> None:
        """The entry's message cannot be read; what is not in the journal is lost."""
        if not entry.stored:
            self.usage.release(entry)

    def _drop_bodies(self) -> None:
        """Make room in memory: the journal has the persistent messages."""
        usage = self.usage
        enough = usage.limits.memory_bytes_max * 3 // 4
        for target in list(self.targets.values()):
            for source in (target,) if isinstance(target, Queue) else target.subscriptions:
                source.drop_bodies()
            if usage.memory_bytes <= max(enough, usage.volatile_bytes):
                return

    def close(self) -> None:
        """Nothing is dispatched any more: temporary files are given back."""
        self.usage.spool.close()

    # ---- distributed transactions, for operators

    def prepared_transactions(self) -> list[PreparedBranch]:
        """The prepared branches, the oldest first."""
        return self.branches.prepared()

    def heuristic_commit(self, xid: str) -> int:
        """Commit a prepared branch whose manager does not; returns the batch that says so.

        Raises:
            BranchRefused: no such branch is prepared.
        """
        return self.branches.decide(xid, committed=True)

    def heuristic_rollback(self, xid: str) -> int:
        """Roll such a branch back; see `heuristic_commit`."""
        return self.branches.decide(xid, committed=False)

    def forget_transaction(self, xid: str) -> int:
        """A branch's manager need not be told any more what an administrator decided; returns the batch.

        Raises:
            BranchRefused: nobody has decided anything.
        """
        return self.branches.forget_heuristic(xid)

    # ---- time and dispatch

    def advance(self, now_ms: int) -> None:
        """It is now `now_ms`; pulls whose time is over are answered, idle destinations deleted."""
        if self.next_ref != self.arrivals.next_ref:
            self.arrivals.mark(self.next_ref, self.now_ms)
        self.now_ms = now_ms
        for each in (*self._clocked, *self.tasks):
            if (due_ms := each.due_ms) is not None and due_ms <= now_ms:
                each.run()
        if (due_ms := self.alarms.due_ms) is not None and due_ms <= now_ms:
            self.dirty.update(dict.fromkeys(self.alarms.due(now_ms)))

    @property
    def deadline_ms(self) -> int | None:
        """When `advance` and `dispatch` must be called at the latest."""
        times = [due_ms for each in (*self._clocked, *self.tasks) if (due_ms := each.due_ms) is not None]
        if (due_ms := self.alarms.due_ms) is not None:
            times.append(due_ms)
        if self.usage.is_watching and (deadline_ms := self.usage.deadline_ms):
            times.append(deadline_ms)
        if self.unfinished:
            times.append(self.now_ms)
        return min(times, default=None)

    def durable(self, batch: int) -> None:
        """The journal has made everything up to this batch safe."""
        self.durable_batch = batch
        if self.blocked:
            self.dirty.update(self.blocked)
            self.blocked.clear()

    def dispatch(self) -> None:
        """Give consumers everything they can take now; sends for which there is space again go on."""
        usage = self.usage
        usage.review(self.now_ms)
        if self.unfinished:
            self.dirty.update(self.unfinished)
            self.unfinished.clear()
        if usage.memory_bytes > max(usage.limits.memory_bytes_max, usage.volatile_bytes):
            self._drop_bodies()
        advisories = self.advisories
        while True:
            if advisories.due:
                advisories.dispatch()
            while self.dirty:
                source, _ = self.dirty.popitem()
                source.dispatch()
            if not (usage.waiting and usage.release_sends()) and not advisories.due:
                break
        if self.next_ref != self.arrivals.next_ref:
            self.arrivals.mark(self.next_ref, self.now_ms)

"""Mistakes planted into the product, each of which a checker must find; `planted` makes one for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest import mock

from simulation.cluster.threads import SteppedWriter
from support.fake_disk import FakeDataFile, FakeFiles

from broker.region.connection import RegionConnection
from broker.region.dead_letters import DeadLetters
from broker.region.durable import DurableSubscription
from broker.region.queue import Queue
from broker.region.schedule import Schedule
from broker.scheduled import Terms
from journal import reader as reader_module
from journal import runs
from journal.batch import BatchHeader
from journal.errors import StoreIncomplete
from journal.fence import Steps, claims, live_epochs
from journal.mastership import Mastership
from journal.record import AcknowledgeSubscription, Record, RemoveMessage, Seal
from journal.recovery import StoreReader
from journal.state import State
from journal.upkeep import Doomed, Upkeep
from mqclient import delivery
from mqclient.audit import AcknowledgementAudit
from mqclient.failover import FailoverTransport
from mqclient.replay import ConnectionState

Plant = Callable[[Callable[[Any, str, Any], None]], None]
"""Given what replaces an attribute of a class or module."""
BUGS: Final[dict[str, Plant]] = {}


def bug(name: str) -> Callable[[Plant], Plant]:
    """Give a mistake its name."""

    def keep(plant: Plant) -> Plant:
        BUGS[name] = plant
        return plant

    return keep


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The product with a mistake in it; with no name, without one."""
    with ExitStack() as stack:
        if name:
            BUGS[name](lambda owner, attribute, value: _replace(stack, owner, attribute, value))
        yield


def _replace(stack: ExitStack, owner: Any, attribute: str, value: Any) -> None:
    stack.enter_context(mock.patch.object(owner, attribute, value))


# ---- the order of a commit


@bug("acknowledge before sync")
def _acknowledge_before_sync(replace: Callable[[Any, str, Any], None]) -> None:
    steps, at_once = SteppedWriter._commit_steps, SteppedWriter._commit

    def early_steps(self: Any, batch: Any) -> Any:
        self._report(batch)
        yield from steps(self, batch)

    def early(self: Any, batch: Any) -> None:
        self._report(batch)
        at_once(self, batch)

    replace(SteppedWriter, "_commit_steps", early_steps)
    replace(SteppedWriter, "_commit", early)


@bug("check before sync")
def _check_before_sync(replace: Callable[[Any, str, Any], None]) -> None:
    write, check = Mastership._write, Mastership.check

    def write_and_check(self: Any, *args: Any) -> None:
        write(self, *args)
        check(self)

    replace(Mastership, "_write", write_and_check)
    replace(Mastership, "check", lambda self: None)


@bug("no check")
def _no_check(replace: Callable[[Any, str, Any], None]) -> None:
    replace(Mastership, "check", lambda self: None)


@bug("no sync")
def _no_sync(replace: Callable[[Any, str, Any], None]) -> None:
    replace(FakeDataFile, "sync", lambda self: None)


# ---- a takeover


@bug("read before fencing")
def _read_before_fencing(replace: Callable[[Any, str, Any], None]) -> None:
    remove, create_data = FakeFiles.remove, FakeFiles.create_data

    def remove_later(self: Any, name: str) -> None:
        if live_epochs([name]):
            self.__dict__.setdefault("later", []).append(name)
        else:
            remove(self, name)

    def create_and_remove(self: Any, name: str, allocated: int) -> Any:
        for token in self.__dict__.pop("later", []):
            remove(self, token)
        return create_data(self, name, allocated)

    replace(FakeFiles, "remove", remove_later)
    replace(FakeFiles, "create_data", create_and_remove)


@bug("no look for a higher claim")
def _no_higher_claim(replace: Callable[[Any, str, Any], None]) -> None:
    create, names = FakeFiles.create, FakeFiles.names

    def create_and_note(self: Any, name: str, content: bytes) -> bool:
        created = create(self, name, content)
        self.claimed = max(claims([name]), default=getattr(self, "claimed", 0))
        return created

    def lower_names(self: Any) -> list[str]:
        claimed = getattr(self, "claimed", 0)
        return [n for n in names(self) if not claimed or not any(c > claimed for c in claims([n]))]

    replace(FakeFiles, "create", create_and_note)
    replace(FakeFiles, "names", lower_names)


@bug("no seal")
def _no_seal(replace: Callable[[Any, str, Any], None]) -> None:
    def read_sealed(self: Any, seal: Seal, _at: Seal | None = None) -> Steps[None]:
        for batch in self._reader(seal.epoch).read():
            self._apply(batch)
            yield "read"

    replace(StoreReader, "_read_sealed", read_sealed)


@bug("no adoption")
def _no_adoption(replace: Callable[[Any, str, Any], None]) -> None:
    def read_ruler(self: Any, ruler: Any, _start: Seal | None = None) -> Steps[tuple[list[Record], Seal]]:
        reader = ruler.reader
        if ruler.batch is not None:
            self._apply(ruler.batch)
        for batch in reader.read():
            self._apply(batch)
            yield "read"
        return [], Seal(reader.epoch, *reader.position)

    replace(StoreReader, "_read_ruler", read_ruler)


@bug("no CRC")
def _no_checksum(replace: Callable[[Any, str, Any], None]) -> None:
    def is_whole(header: BatchHeader, data: bytes, at: int) -> bool:
        return at + header.length <= len(data)

    replace(reader_module, "_is_whole", is_whole)


@bug("dead data files are kept")
def _dead_files_kept(replace: Callable[[Any, str, Any], None]) -> None:
    def doomed(self: Any, names: Any) -> Doomed:
        del names
        return Doomed(self._log.last_batch(), [], False)

    replace(Upkeep, "doomed", doomed)


@bug("a warm state in spite of damage")
def _warm_in_spite_of_damage(replace: Callable[[Any, str, Any], None]) -> None:
    def read_warm(self: Any, ruler: Any, at: Seal) -> Any:
        seals = [seal for seal in ruler.record.seals if seal.epoch == at.epoch]
        if at.epoch != ruler.reader.epoch and not (seals and seals[0].batch >= at.batch):
            return None
        try:
            recovered = yield from self._read_below(ruler, at)
        except StoreIncomplete:
            return None
        return recovered

    replace(StoreReader, "_read_warm", read_warm)


# ---- what is taken together


@bug("of messages that leave together the last one stays")
def _last_of_a_run_stays(replace: Callable[[Any, str, Any], None]) -> None:
    remove = runs._remove

    def remove_all_but_one(state: State, records: Sequence[Any], at: int) -> int:
        end = at
        while end < len(records) and type(records[end]) is RemoveMessage:
            end += 1
        done = remove(state, records[: end - 1], at)
        return end if done == end - 1 else done

    replace(runs, "_remove", remove_all_but_one)


@bug("messages that come together are looked for in the wrong place")
def _run_displaced(replace: Callable[[Any, str, Any], None]) -> None:
    add = runs._add

    def add_displaced(
        state: State, records: Sequence[Any], lengths: Sequence[int], at: int, location: int
    ) -> int:
        return add(state, records, lengths, at, location + 1)

    replace(runs, "_add", add_displaced)


# ---- the region


@bug("no resend detection")
def _no_resend_detection(replace: Callable[[Any, str, Any], None]) -> None:
    replace(RegionConnection, "_is_repeat", lambda self, message: False)


@bug("dispatch before it is durable")
def _early_dispatch(replace: Callable[[Any, str, Any], None]) -> None:
    accept = Queue.accept

    def accept_early(self: Any, message: Any, ref: int, batch: int, stored: bool) -> None:
        del batch
        accept(self, message, ref, 0, stored)

    replace(Queue, "accept", accept_early)


@bug("a transaction in several batches")
def _transaction_in_batches(replace: Callable[[Any, str, Any], None]) -> None:
    append = SteppedWriter.append

    def append_each(self: Any, records: Sequence[Any]) -> int:
        for record in records[:-1]:
            append(self, [record])
            self.cut()
        return append(self, records[-1:])

    replace(SteppedWriter, "append", append_each)


@bug("redelivered messages go to the end")
def _given_back_at_the_end(replace: Callable[[Any, str, Any], None]) -> None:
    def give_back(self: Any, entries: Sequence[Any]) -> None:
        for entry in entries:
            self.pending.tail.append(entry)
        self.region.dirty[self] = None

    replace(Queue, "give_back", give_back)


@bug("subscribers get only what comes while they are there")
def _absent_subscribers_miss(replace: Callable[[Any, str, Any], None]) -> None:
    offer = DurableSubscription.offer

    def offer_to_present(self: Any, *args: Any) -> None:
        if self.consumers:
            offer(self, *args)

    replace(DurableSubscription, "offer", offer_to_present)


@bug("one subscriber acknowledges for all")
def _acknowledged_for_all(replace: Callable[[Any, str, Any], None]) -> None:
    consumed = DurableSubscription.consumed

    def consumed_by_all(self: Any, entries: Any, records: list[Any]) -> None:
        consumed(self, entries, records)
        others = [each for topic in self.topics for each in topic.subscriptions if each is not self]
        records += [
            AcknowledgeSubscription(*each.key, entry.ref)
            for each in others
            if each.durable
            for entry in entries
        ]

    replace(DurableSubscription, "consumed", consumed_by_all)


@bug("priorities do not count")
def _no_priorities(replace: Callable[[Any, str, Any], None]) -> None:
    replace(Queue, "_rank", lambda self, entry, priority: None)


@bug("priorities do not count for durable subscribers")
def _no_priorities_of_subscribers(replace: Callable[[Any, str, Any], None]) -> None:
    replace(DurableSubscription, "_rank", lambda self: None)


@bug("priorities are forgotten in a takeover")
def _priorities_forgotten(replace: Callable[[Any, str, Any], None]) -> None:
    replace(State, "_rank", lambda self, messages, ref, queue, priority: None)


@bug("expired messages are dispatched")
def _expired_dispatched(replace: Callable[[Any, str, Any], None]) -> None:
    dispatch = Queue.dispatch

    def dispatch_long_ago(self: Any) -> None:
        now_ms, self.region.now_ms = self.region.now_ms, 0
        dispatch(self)
        self.region.now_ms = now_ms

    replace(Queue, "dispatch", dispatch_long_ago)


@bug("messages expire too early")
def _early_expiry(replace: Callable[[Any, str, Any], None]) -> None:
    dispatch = Queue.dispatch

    def dispatch_soon(self: Any) -> None:
        now_ms = self.region.now_ms
        self.region.now_ms += 300
        dispatch(self)
        self.region.now_ms = now_ms

    replace(Queue, "dispatch", dispatch_soon)


@bug("expired messages are dropped")
def _expired_dropped(replace: Callable[[Any, str, Any], None]) -> None:
    replace(DeadLetters, "_letters", lambda self, places, cause, *, expired: [])


@bug("a dead letter is stored before its message is removed")
def _two_batches_of_a_dead_letter(replace: Callable[[Any, str, Any], None]) -> None:
    post = DeadLetters._post

    def post_apart(self: Any, letters: Any, records: list[Any]) -> int:
        post(self, letters, [])
        self._region.store.flush()
        return post(self, [], records)

    replace(DeadLetters, "_post", post_apart)


@bug("what is due is stored before it leaves the schedule")
def _two_batches_of_a_delivery(replace: Callable[[Any, str, Any], None]) -> None:
    send = Schedule._send

    def send_apart(self: Any, message: Any, end: list[Any]) -> None:
        send(self, message, [])
        self._region.store._writer.cut()
        self._region.append(end)

    replace(Schedule, "_send", send_apart)


@bug("scheduled messages are due at once")
def _due_at_once(replace: Callable[[Any, str, Any], None]) -> None:
    replace(Terms, "first_due_ms", lambda self, now_ms: now_ms)


@bug("a new master does not read the schedule")
def _schedule_unread(replace: Callable[[Any, str, Any], None]) -> None:
    def read(self: Any, after_ref: int) -> None:
        del after_ref
        self._unread = None

    replace(Schedule, "_read", read)


# ---- the client


@bug("the audit takes a subscription's next consumer for another place")
def _audit_by_consumer(replace: Callable[[Any, str, Any], None]) -> None:
    replace(delivery, "_place", lambda dispatch, _: dispatch.consumer_id)


@bug("nothing is sent again")
def _nothing_again(replace: Callable[[Any, str, Any], None]) -> None:
    replace(FailoverTransport, "_repeat", lambda self, request: None)


@bug("consumers are not opened again")
def _consumers_forgotten(replace: Callable[[Any, str, Any], None]) -> None:
    replay = ConnectionState.replay

    def without_consumers(self: Any) -> Any:
        self._consumers.clear()
        return replay(self)

    replace(ConnectionState, "replay", without_consumers)


@bug("no audit of acknowledgements")
def _no_audit(replace: Callable[[Any, str, Any], None]) -> None:
    replace(AcknowledgementAudit, "is_repeat", lambda self, place, message_id: False)

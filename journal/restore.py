"""Puts the messages of an export into a store, as its master for so long.

The export is read twice: once to the end before the store is touched, so that a wrong line or a missing end
changes nothing, and once to store it. A part of it is one batch, so a small import is in the store as a whole
or not at all. A larger one is taken back, in one batch too, when it cannot be finished.

If even that is not possible, since this process was killed or fenced, the same import is to be run again: how
far it came is noted with each batch, as the last sequence of a producer that stands for the export.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, Final

from journal.errors import ExportInvalid, ImportRefused, JournalError, StoreFull, StoreInUse
from journal.exchange import Contents, ExportedMessage, ExportReader
from journal.fence import claims
from journal.files import Files
from journal.identity import NAME as NUMBER
from journal.inspection import Inspection
from journal.journal import Journal
from journal.options import JournalOptions
from journal.progress import Progress
from journal.record import (
    SCHEDULED,
    AcknowledgeSubscription,
    AddDestination,
    AddMessage,
    AddScheduled,
    AddSubscription,
    Memory,
    Note,
    Record,
    Redelivered,
    RemoveDestination,
    RemoveMessage,
    RemoveSubscription,
)
from journal.state import State, SubscriptionState
from journal.topics import TOPIC, subscription_matches

PART_BYTES: Final = 16 * 1024 * 1024
"""Stored in one batch: half a data file, so that its end lies within the next one's bound (P9)."""
CLOSE_TIMEOUT_S: Final = 30.0
"""For the last batch, which holds next to nothing."""
IMPORT_PRODUCER: Final = "import:"
"""Begins the name of the producer that stands for an export; its checksum follows."""
ATTEMPT_SHIFT: Final = 40
"""Sequences of such a producer: the attempt in the bits above, what was stored by it in those below."""
DIGEST_CHARACTERS: Final = 32
"""Of an export's checksum: 128 bits."""
_PROCESS: Final = re.compile(r"\(pid (\d+) on (.+)\)$")
"""How a broker says who it is."""


class Interrupted(Exception):
    """The person at the terminal wants it to end."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was stored.

    Attributes:
        epoch: of our mastership; 0 if nothing was done.
        messages: stored now.
        earlier: messages stored by an earlier run that was cut short.
        body_bytes: of all messages of the export.
        destinations: of the export.
        subscriptions: likewise.
        producers: likewise.
        shift: what was added to the messages' numbers.
    """

    epoch: int
    messages: int
    earlier: int
    body_bytes: int
    destinations: int
    subscriptions: int
    producers: int
    shift: int

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {name: getattr(self, name) for name in self.__slots__}


def read_through(stream: BinaryIO, progress: Progress, size: int = 0) -> Contents:
    """Reads an export from its beginning to its end.

    Args:
        stream: at its beginning.
        progress: told of the bytes of bodies.
        size: of the whole stream in bytes, 0 if unknown.

    Raises:
        ExportInvalid: it is not whole, or not what it should be; says which line.
    """
    reader = ExportReader(stream)
    with progress.doing("checking the export", size) as advance:
        for message in reader.messages():
            advance(len(message.body) * 4 // 3)
    return reader.contents


def conflicts(state: State, contents: Contents) -> list[str]:
    """What keeps an export from being imported into a store."""
    wrong: list[str] = []
    for each in contents.subscriptions:
        known = state.subscriptions.get((each.client_id, each.name))
        if known is not None and _terms(known) != _terms(each):
            wrong.append(
                f"the store has a durable subscription {each.name} of client {each.client_id} "
                f"to {known.destination}, and its destination or selector is another one in the export: "
                "remove it first"
            )
    return wrong


def _terms(subscription: AddSubscription | SubscriptionState) -> tuple[str, str, bool, bool]:
    return subscription.destination, subscription.selector, subscription.no_local, subscription.shared


def owner_process(owner: str) -> tuple[int, str] | None:
    """Process id and host of a master, which its owner's text ends with; None if it does not."""
    match = _PROCESS.search(owner)
    return (int(match[1]), match[2]) if match else None


def refuse_running(inspection: Inspection, runs: Callable[[int, str], bool | None]) -> None:
    """Refuses a store whose master may be running.

    The fence would make it safe: that master would be fenced, and nothing that it has acknowledged be lost.
    But a broker that is fenced comes back at once, and fences the import.

    Args:
        inspection: of the store.
        runs: whether a process of a host is running, None if that cannot be known here.

    Raises:
        StoreInUse: it is running, or nobody can tell.
    """
    owners = {claim.epoch: claim.owner for claim in inspection.claims}
    for epoch in inspection.live:
        if epoch == inspection.report.ruler and inspection.closed:
            continue  # it has given the store up
        owner = owners.get(epoch, "")
        process = owner_process(owner)
        running = None if process is None else runs(*process)
        if running:
            raise StoreInUse(f"the store's master is running: {owner}; stop it first")
        if running is None:
            raise StoreInUse(
                "the store's master may be running, and that cannot be seen from here: "
                f"{owner or 'unknown'}; make sure that it is not, then use --take-over"
            )


def refuse_other_files(names: Sequence[str], where: str) -> None:
    """Refuses a directory that holds something else than a store.

    Raises:
        ImportRefused: it does.
    """
    others = sorted(name for name in names if not name.startswith(".") and name not in (NUMBER, "lost+found"))
    if not claims(names) and others:
        raise ImportRefused(f"{where} is neither empty nor a store: it holds {others[0]}")


class _Owner:
    """The thread that owns the journal: this one."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._error: JournalError | None = None

    def post(self, call: Callable[[], None]) -> None:
        self._calls.put(call)

    def fail(self, error: JournalError) -> None:
        self._error = error

    def store(self, journal: Journal, records: list[Record]) -> None:
        """Returns when the records are durable, in one batch.

        Raises:
            JournalError: they are not, and nothing more will be.
        """
        batch = journal.append(records)
        journal.flush()
        while journal.durable_batch < batch:
            if self._error is not None:
                raise self._error
            self._calls.get()()


class _Import:
    """One import into a store that is ours.

    Attributes:
        stored: messages of this run that are durable.
        earlier: of an earlier run that was cut short.
        shift: what is added to the numbers of messages.
        began: whether this run has stored anything.
        body_bytes: of all messages of the export.
    """

    def __init__(self, state: State, contents: Contents, *, again: bool) -> None:
        if wrong := conflicts(state, contents):
            raise ImportRefused("; ".join(wrong))
        self._contents = contents
        self._producer = IMPORT_PRODUCER + contents.sha256[:DIGEST_CHARACTERS]
        last = max(state.last_producer_sequence(self._producer), 0)
        self._attempt, self.earlier = last >> ATTEMPT_SHIFT, last & ((1 << ATTEMPT_SHIFT) - 1)
        if self.earlier > contents.messages:
            if not again:
                raise ImportRefused(
                    "this export was imported into this store before; with --again it is imported once more"
                )
            self._attempt += 1
            self.earlier = 0
        self._next_ref = state.next_ref
        self._new_destinations = {name for name in contents.destinations if state.messages(name) is None}
        self._new_subscriptions = [
            each for each in contents.subscriptions if (each.client_id, each.name) not in state.subscriptions
        ]
        self._new_notes = [each for each in contents.notes if not state.notes.of(each.owner)]
        self._subscriptions: list[AddSubscription | SubscriptionState] = [
            *state.subscriptions.values(),
            *self._new_subscriptions,
        ]
        self._receivers: dict[str, list[tuple[str, str]]] = {}
        self.body_bytes = contents.body_bytes
        self.stored = 0
        self.shift = 0
        self.began = False

    def parts(self, reader: ExportReader) -> Iterator[tuple[list[Record], int, int]]:
        """Records for one batch each, how many messages they hold, and the bytes of their bodies.

        Raises:
            ExportInvalid: the export is not what it was when it was read through.
        """
        contents = self._contents
        records: list[Record] = [AddDestination(name) for name in contents.destinations if name != SCHEDULED]
        records += [*self._new_subscriptions, *self._new_notes, Memory(1, contents.producers)]
        position = count = size = 0
        for message in reader.messages():
            position += 1
            if position <= self.earlier:
                continue
            if position == self.earlier + 1:
                self.shift = max(self._next_ref - message.ref, 0)
            records += self._records(message)
            count += 1
            size += len(message.body)
            if size >= PART_BYTES:
                yield [*records, self._mark(position)], count, size
                records, count, size = [], 0, 0
        if reader.contents.sha256 != contents.sha256:
            raise ExportInvalid("the export was changed while it was imported")
        numbers = Memory(contents.next_ref + self.shift, {})
        yield [*records, numbers, self._mark(contents.messages + 1)], count, size

    def _mark(self, position: int) -> Memory:
        """Notes how far we came; above the number of messages: all is done."""
        return Memory(1, {self._producer: self._attempt << ATTEMPT_SHIFT | position})

    def _records(self, message: ExportedMessage) -> list[Record]:
        """A message and its earlier deliveries; of a topic who does not wait for it acknowledges it."""
        ref, name = message.ref + self.shift, message.destination
        if name == SCHEDULED:
            return [AddScheduled(ref, "", 0, message.body, message.due_ms, message.repeats)]
        added = AddMessage(ref, name, "", 0, message.body, message.priority, message.expiration)
        subscriptions = self._contents.subscriptions
        redelivered = [
            Redelivered(ref, name, counter, not_before_ms)
            if place is None
            else Redelivered(
                ref, name, counter, not_before_ms, subscriptions[place].client_id, subscriptions[place].name
            )
            for counter, not_before_ms, place in message.redelivered
        ]
        if not name.startswith(TOPIC):
            return [added, *redelivered]
        receivers = self._receivers.get(name)
        if receivers is None:
            receivers = self._receivers[name] = [
                (each.client_id, each.name)
                for each in self._subscriptions
                if subscription_matches(each.destination, name)
            ]
        waiting = {(each.client_id, each.name) for each in (subscriptions[i] for i in message.pending)}
        done = [AcknowledgeSubscription(*key, ref) for key in receivers if key not in waiting]
        return [added, *done, *redelivered]

    def taken_back(self, state: State) -> list[Record]:
        """The records that undo what this run has stored."""
        first = self._next_ref
        records: list[Record] = []
        for name in self._contents.destinations:
            if name in self._new_destinations:
                records.append(RemoveDestination(name))
            else:
                messages = state.messages(name)
                ours = [] if messages is None else [ref for ref, _ in messages.entries_after(first - 1)]
                records += [RemoveMessage(ref, name) for ref in ours]
        records += [RemoveSubscription(each.client_id, each.name) for each in self._new_subscriptions]
        records += [Note(owner, "") for owner in dict.fromkeys(each.owner for each in self._new_notes)]
        self._attempt += 1
        return [*records, self._mark(0)]


def restore(
    directory: Path,
    stream: BinaryIO,
    contents: Contents,
    *,
    owner: str,
    again: bool = False,
    interrupted: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
    files: Files | None = None,
    options: JournalOptions | None = None,
) -> Restored:
    """Imports an export that was read through; becomes master of the store and gives it up again.

    Args:
        directory: of the store; an empty one becomes a new store.
        stream: the export, at its beginning.
        contents: of it.
        owner: who we are, for people who look into the store.
        again: whether an export that was imported before is imported once more.
        interrupted: asked between two batches whether to take everything back and end.
        progress: told of the bytes of bodies.
        files: another disk, for tests.
        options: of the journal.

    Raises:
        ImportRefused: it does not fit this store; nothing was stored.
        ExportInvalid, StoreFull, Interrupted: it was given up; a note says what is in the store.
        JournalError: the store failed, or was taken over by a broker; a note says what is in the store.
    """
    ours = _Owner()
    journal = Journal.open(
        directory,
        owner=owner,
        post=ours.post,
        on_durable=lambda _batch: None,
        on_failed=ours.fail,
        files=files,
        options=options,
    )
    try:
        work = _Import(journal.state, contents, again=again)
        _refuse_full(journal, contents.body_bytes)
        try:
            _store_parts(journal, ours, work, ExportReader(stream), interrupted, progress or Progress())
        except (JournalError, Interrupted) as error:
            error.add_note(_give_up(journal, ours, work))
            raise
    finally:
        journal.close(CLOSE_TIMEOUT_S)
    return Restored(
        journal.epoch,
        work.stored,
        work.earlier,
        contents.body_bytes,
        len(contents.destinations),
        len(contents.subscriptions),
        len(contents.producers),
        work.shift,
    )


def _store_parts(  # noqa: PLR0917 - a part of `restore`
    journal: Journal,
    ours: _Owner,
    work: _Import,
    reader: ExportReader,
    interrupted: Callable[[], bool],
    progress: Progress,
) -> None:
    with progress.doing("importing", work.body_bytes) as advance:
        for records, count, size in work.parts(reader):
            if interrupted():
                raise Interrupted
            _refuse_full(journal, size)
            work.began = True
            ours.store(journal, records)
            work.stored += count
            advance(size)


def _refuse_full(journal: Journal, size: int) -> None:
    if not journal.has_room(size):
        raise StoreFull(f"the disk of the store is full: {size} bytes of messages do not fit")


def _give_up(journal: Journal, ours: _Owner, work: _Import) -> str:
    """Takes back what was stored, if that is possible; says what is in the store now."""
    if not work.began:
        return "Nothing was stored."
    if not work.earlier:
        try:
            ours.store(journal, work.taken_back(journal.state))
        except JournalError:
            pass  # fenced, or the disk failed: what is durable stays
        else:
            return "What had been stored was taken back."
    return (
        f"{work.earlier + work.stored} messages are in the store. "
        "Run the same import again: it goes on where this one ended."
    )

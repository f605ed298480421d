"""Writes the live messages of a store as lines, while its master may be running.

What is written is the store as it was when it was read, at the beginning. A message that is consumed after
that may be in it or not. One that compaction moves meanwhile is read where it stands then.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, BinaryIO, Final

from journal.bodies import Bodies
from journal.errors import MessageDamaged, MessageUnknown
from journal.exchange import EXPORT_VERSION, encode_line
from journal.files import Files
from journal.index import Place
from journal.inspection import inspect_files
from journal.progress import Progress
from journal.readonly import ReadOnlyFiles
from journal.record import FORMAT_VERSION, NORMAL_PRIORITY, SCHEDULED, RollBackBranch
from journal.restore import IMPORT_PRODUCER
from journal.state import State, SubscriptionState

QUEUE: Final = "queue://"
DAMAGED_LISTED_MAX: Final = 1_000
"""Unreadable messages that are told one by one."""


@dataclass(slots=True)
class Exported:
    """What was written.

    Attributes:
        destinations: how many.
        subscriptions: likewise.
        producers: likewise.
        notes: likewise; only if nothing was chosen.
        messages: likewise.
        body_bytes: of the messages.
        rolled_back: prepared branches that were left out: what they sent is not in the export, and what they
            acknowledged is.
        gone: messages that were consumed meanwhile and could not be read any more.
        damaged: live messages that cannot be read.
        errors: what is wrong with the first of those.
        sha256: of the lines.
    """

    destinations: int = 0
    subscriptions: int = 0
    producers: int = 0
    notes: int = 0
    messages: int = 0
    body_bytes: int = 0
    rolled_back: int = 0
    gone: int = 0
    damaged: int = 0
    errors: list[str] = field(default_factory=list)
    sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {name: getattr(self, name) for name in self.__slots__}


def chooser(globs: Sequence[str]) -> Callable[[str], bool]:
    """Whether a destination is meant by one of the patterns; by none at all every one is.

    A pattern without a scheme means queues. `*` stands for any characters, dots included, `?` for one.
    """
    patterns = [glob if "://" in glob else QUEUE + glob for glob in globs]
    return lambda name: not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


class LiveMessages:
    """The bodies of a store's live messages, wherever a running master moves them.

    Attributes:
        inspection: the last reading of the store.
    """

    def __init__(self, files: Files, where: str, progress: Progress) -> None:
        self._files = files
        self._where = where
        self._progress = progress
        self.inspection = inspect_files(files, where, progress)
        self._bodies = Bodies(files, self.inspection.state.salts)

    def read(self, ref: int, destination: str, place: Place) -> bytes:
        """The body of a message that stood at a place.

        Raises:
            MessageUnknown: it is not live any more.
            MessageDamaged: it is live and cannot be read.
        """
        while True:
            try:
                return self._bodies.read(place)
            except MessageDamaged:
                if frozenset(self._files.names()) != self.inspection.names:
                    self._read_again()
                now = self.inspection.state.place(ref, destination)
                if now == place:
                    raise
                place = now

    def _read_again(self) -> None:
        self.inspection = inspect_files(self._files, self._where, self._progress)
        self._bodies = Bodies(self._files, self.inspection.state.salts)


def export_files(
    files: Files, where: str, stream: BinaryIO, globs: Sequence[str] = (), progress: Progress | None = None
) -> Exported:
    """Writes an export of a store on any disk.

    Args:
        files: the store.
        where: its path, for people.
        stream: takes the lines.
        globs: of destinations, see `chooser`; none: all.
        progress: told of each message.

    Raises:
        StoreMissing: there is none at this place.
        StoreUnavailable, StoreNewer, StoreCorrupt: it cannot be read.
    """
    progress = progress or Progress()
    live = LiveMessages(ReadOnlyFiles(files), where, progress)
    return _Export(live, stream, globs).write(progress)


class _Export:
    """One export of a store as it was at the beginning."""

    def __init__(self, live: LiveMessages, stream: BinaryIO, globs: Sequence[str]) -> None:
        self._live = live
        self._state: State = live.inspection.state
        self._stream = stream
        self._globs = globs
        self._chosen = chooser(globs)
        self._digest = hashlib.sha256()
        self._done = Exported()
        self._subscriptions: list[SubscriptionState] = []
        self._waiting: dict[str, list[tuple[int, SubscriptionState]]] = {}

    def write(self, progress: Progress) -> Exported:
        """Does it."""
        state, done = self._state, self._done
        done.rolled_back = len(state.branches.prepared)
        for xid in list(state.branches.prepared):
            state.apply(RollBackBranch(xid), 0, 0)  # in our copy: a branch cannot move to another store
        names = sorted(filter(self._chosen, state.places()))
        self._subscriptions = [each for each in state.subscriptions.values() if self._is_wanted(each, names)]
        known = {
            name: sequence
            for name, sequence in state.producers.known().items()
            if not name.startswith(IMPORT_PRODUCER)
        }
        total = sum(len(state.messages(name) or ()) for name in names)
        done.destinations, done.subscriptions = len(names), len(self._subscriptions)
        done.producers = len(known)
        notes = [] if self._globs else state.notes.records()
        done.notes = len(notes)
        self._line(
            "export",
            version=EXPORT_VERSION if notes else 1,
            format=FORMAT_VERSION,
            next_ref=state.next_ref,
            filter=list(self._globs),
            destinations=len(names),
            subscriptions=len(self._subscriptions),
            producers=len(known),
            notes=len(notes),
            messages=total,
        )
        for name in names:
            self._line("destination", name=name)
        for each in self._subscriptions:
            self._line(
                "subscription",
                client_id=each.client_id,
                name=each.name,
                destination=each.destination,
                selector=each.selector,
                no_local=each.no_local,
                shared=each.shared,
                away_since_ms=each.away_since_ms,
            )
        for name, sequence in known.items():
            self._line("producer", id=name, sequence=sequence)
        for note in notes:
            self._line("note", owner=note.owner, key=note.key, value=note.value)
        with progress.doing("exporting messages", total) as advance:
            for ref, name, place in heapq.merge(*(self._entries(name) for name in names)):
                self._message(ref, name, place)
                advance(1)
        done.sha256 = self._digest.hexdigest()
        self._line(
            "end",
            messages=done.messages,
            body_bytes=done.body_bytes,
            damaged=done.damaged,
            gone=done.gone,
            sha256=done.sha256,
        )
        return done

    def _is_wanted(self, subscription: SubscriptionState, names: Sequence[str]) -> bool:
        """Whether a subscription is meant, or has something pending of a topic that is."""
        if self._chosen(subscription.destination):
            return True
        return any(
            ref in subscription.pending
            for topic in self._state.topics_of(subscription)
            if topic in names
            for ref in self._state.topics[topic]
        )

    def _entries(self, name: str) -> Iterator[tuple[int, str, Place]]:
        messages = self._state.messages(name)
        if messages is not None:
            for ref, place in messages.entries_after(-1):
                yield ref, name, place

    def _message(self, ref: int, name: str, place: Place) -> None:
        done = self._done
        try:
            body = self._live.read(ref, name, place)
        except MessageUnknown:
            done.gone += 1
            return
        except MessageDamaged as error:
            done.damaged += 1
            if len(done.errors) < DAMAGED_LISTED_MAX:
                done.errors.append(f"message {ref} of {name}: {error}")
            return
        done.messages += 1
        done.body_bytes += len(body)
        further: dict[str, object] = {}
        pending = self._pending(ref, name) if name in self._state.topics else None
        if pending is not None:
            further["pending"] = pending
        elif name == SCHEDULED:
            further["due_ms"], further["repeats"] = self._state.due(ref) or (0, 0)
        if (priority := self._state.priority_of(ref, name)) != NORMAL_PRIORITY:
            further["priority"] = priority
        if expiration := self._state.expiration_of(ref, name):
            further["expiration"] = expiration
        if deliveries := self._deliveries(ref, name, pending):
            further["redelivered"] = deliveries
        self._line("message", ref=ref, destination=name, **further, body=body)

    def _pending(self, ref: int, topic: str) -> list[int]:
        """The places in the export of the subscriptions that wait for a message."""
        waiting = self._waiting.get(topic)
        if waiting is None:
            waiting = self._waiting[topic] = [
                (i, each)
                for i, each in enumerate(self._subscriptions)
                if topic in self._state.topics_of(each)
            ]
        return [i for i, each in waiting if ref in each.pending]

    def _deliveries(self, ref: int, name: str, pending: Sequence[int] | None) -> list[dict[str, int]]:
        """What is known of earlier deliveries of a message; of a topic to the subscriptions that wait."""
        if pending is None:
            redelivered = self._state.redelivered.get(name)
            place = None if redelivered is None else redelivered.place(ref)
            return [] if place is None else [{"counter": place.length, "not_before_ms": place.location}]
        return [
            {"subscription": i, "counter": place.length, "not_before_ms": place.location}
            for i in pending
            if (place := self._subscriptions[i].redelivered.place(ref)) is not None
        ]

    def _line(self, kind: str, **fields: object) -> None:
        data = encode_line(kind, **fields)
        if kind != "end":
            self._digest.update(data)
        self._stream.write(data)

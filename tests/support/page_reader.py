"""A reader of stores that was written from `docs/reference/journal-format.md` alone.

It imports nothing of the journal. Where it and the journal disagree, one of them or the page is wrong.
The names in its comments are headings of the page.
"""

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from crc32c import crc32c
from support.page_branches import add_sent, branch_in, load_branch, note, prepare, replace, take
from support.page_state import Branch, PageState, Subscription, keep_note, matches


class Place(NamedTuple):
    """Between two batches."""

    epoch: int
    file: int
    offset: int
    batch: int


class Beginning(NamedTuple):
    """What the first batch of the ruling epoch says."""

    epoch: int
    owner: str
    seals: list[Place]
    checkpoints: list[tuple[int, int]]


def text_of(data: bytes) -> str:
    """A text, in which lone surrogates may stand."""
    return data.decode("utf-8", "surrogatepass")


def from_planes(data: bytes, width: int) -> list[int]:
    """Numbers of so many bytes: the lowest byte of each, then the next higher of each, and so on."""
    count = len(data) // width
    return [int.from_bytes(data[i::count], "little") for i in range(count)]


class PageReader:
    """Reads the files of a directory, given as their contents by name."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.state = PageState()
        self.salts: dict[int, int] = {}
        self.audience: tuple[int, str, list[tuple[str, str]]] | None = None
        self.data: dict[tuple[int, int], bytes] = {}
        self.checkpoints: dict[tuple[int, int], bytes] = {}
        for name, content in files.items():
            if match := re.fullmatch(r"data-(\d+)-(\d+)", name):
                self.data[int(match[1]), int(match[2])] = content
            if match := re.fullmatch(r"checkpoint-(\d+)-(\d+)", name):
                self.checkpoints[int(match[1]), int(match[2])] = content

    # ---- "A data file"

    def salt_of(self, epoch: int, number: int) -> int | None:
        """The salt of a file's header, or if that is damaged of its first batch."""
        data = self.data.get((epoch, number), b"")
        if len(data) >= 64 and data[:8] == b"FMQSTORE":
            (checksum,) = struct.unpack_from("<I", data, 8)
            found, of_file, salt = struct.unpack_from("<QQQ", data, 16)
            if checksum == crc32c(data[:8] + bytes(4) + data[12:64]) and (found, of_file) == (epoch, number):
                return int(salt)
        if len(data) >= 120 and data[64:68] == b"FMQb":
            (checksum,) = struct.unpack_from("<I", data, 68)
            salt, found = struct.unpack_from("<QQ", data, 80)
            if checksum == crc32c(data[72:120]) and found == epoch:
                return int(salt)
        return self.salts.get(epoch)

    def batch_at(self, epoch: int, number: int, offset: int) -> tuple[int, int, int] | None:
        """Number of the valid batch at an offset, and where its records start and end."""
        data = self.data.get((epoch, number), b"")
        if data[offset : offset + 4] != b"FMQb" or offset + 56 > len(data):
            return None
        fields = struct.unpack_from("<IIIQQQIIII", data, offset + 4)
        checksum, length, of_records, salt, in_epoch, batch, in_file, at, _, _ = fields
        start = offset + 56
        if checksum != crc32c(data[offset + 8 : start]) or start + length > len(data):
            return None
        if (in_epoch, in_file, at) != (epoch, number, offset):
            return None
        if salt != self.salt_of(epoch, number) or of_records != crc32c(data[start : start + length]):
            return None
        self.salts[epoch] = salt
        return batch, start, start + length

    def records(self, epoch: int, number: int, start: int, end: int) -> Iterator[tuple[bytes, int]]:
        """The records between two offsets of a file, each with its location."""
        data = self.data[epoch, number]
        while start < end:
            (length,) = struct.unpack_from("<I", data, start + 4)
            yield data[start : start + length], epoch << 44 | number << 29 | start
            start += length

    def whole_records(self, epoch: int, number: int, start: int, end: int) -> Iterator[tuple[bytes, int]]:
        """By "Damage", every record whose own checksum is right counts, wherever it begins."""
        data = self.data[epoch, number]
        salt = struct.pack("<Q", self.salts.get(epoch, 0))
        known = {*range(1, 12), 16, 17, 32, 33, 34, 40, 41, 48, 49}
        while start + 12 <= end:
            checksum, length, kind = struct.unpack_from("<IIB", data, start)
            if (
                12 <= length <= end - start
                and kind in known
                and checksum == crc32c(salt + data[start + 4 : start + length])
            ):
                yield data[start : start + length], epoch << 44 | number << 29 | start
                start += length
            else:
                start += 1

    # ---- "Reading a store"

    def read(self) -> PageState:
        """All of it."""
        epochs = sorted(int(n.removeprefix("claim-")) for n in self.files if re.fullmatch(r"claim-\d+", n))
        for epoch in reversed(epochs):
            beginning = self.beginning(epoch)
            if beginning is not None:
                self.read_store(beginning)
                break
        return self.state

    def beginning(self, epoch: int) -> Beginning | None:
        """What the first batch of an epoch says, None if it does not rule."""
        first = self.batch_at(epoch, 0, 64)
        if first is not None and first[0] == 1:
            found = list(self.records(epoch, 0, *first[1:]))
        elif self.ruled_nevertheless(epoch):
            self.state.damaged = True
            self.salts[epoch] = self.salt_of(epoch, 0) or 0
            found = list(self.whole_records(epoch, 0, 64, len(self.data.get((epoch, 0), b""))))
        else:
            return None
        owner, seals = "", None
        named = []
        for record, _ in found:
            (length,) = struct.unpack_from("<H", record, 10)
            if record[8] == 16 and seals is None:
                owner = text_of(record[12 : 12 + length])
                (count,) = struct.unpack_from("<I", record, 12 + length)
                seals = [
                    Place(*struct.unpack_from("<QIIQ", record, 16 + length + 24 * i)) for i in range(count)
                ]
            if record[8] == 48:
                named.append(struct.unpack_from("<QQ", record, 12 + length))
        return None if seals is None else Beginning(epoch, owner, seals, named)

    def ruled_nevertheless(self, epoch: int) -> bool:
        """By "Damage": a later batch is valid, or the claim tells of data files."""
        try:
            claim = json.loads(self.files[f"claim-{epoch}"])
        except ValueError:
            claim = {}
        return bool(claim.get("data_files")) or self.later_batch(Place(epoch, 0, 64, 0)) is not None

    def read_store(self, ruler: Beginning) -> None:
        """Steps 4 to 6."""
        own = sorted((each for each in self.checkpoints if each[0] == ruler.epoch), reverse=True)
        damaged = self.state.damaged
        for candidate in [*own, *reversed(ruler.checkpoints), None]:
            self.state = PageState(damaged=damaged)
            start = None
            if candidate is not None:
                start = self.load_checkpoint(*candidate)
                if start is None:
                    continue
            self.read_log(ruler, start)
            named = [*ruler.checkpoints, *self.state.named]
            if candidate is None or any(e == candidate[0] and n >= candidate[1] for e, n in named):
                break
        self.forget_missing()

    def forget_missing(self) -> None:
        """By "Damage": what is live in a data file that is not there is lost."""
        state = self.state
        for places in (
            {"schedule://": state.scheduled},
            state.queues,
            state.topics,
            state.sent,
            state.locked,
        ):
            for destination, messages in list(places.items()):
                for ref, (location, _) in list(messages.items()):
                    if (location >> 44, location >> 29 & 0x7FFF) not in self.data:
                        state.damaged = True
                        if places is state.sent or places is state.locked:
                            take(places, destination, ref)
                        else:
                            self.remove(ref, destination)

    def read_log(self, ruler: Beginning, start: Place | None) -> None:
        """What the seals leave of the lower epochs, and the ruling epoch."""
        for seal in sorted(ruler.seals):
            if start is None or seal.epoch >= start.epoch:
                self.read_epoch(seal.epoch, start, seal)
        self.read_epoch(ruler.epoch, start, None)

    def read_epoch(self, epoch: int, start: Place | None, seal: Place | None) -> None:
        """The batches of an epoch, and what is whole where none is valid."""
        place = start if start is not None and start.epoch == epoch else Place(epoch, 0, 64, 0)
        while seal is None or (place.file, place.offset) < (seal.file, seal.offset):
            for following in (place, place._replace(file=place.file + 1, offset=64)):
                found = self.batch_at(epoch, following.file, following.offset)
                if found is not None and found[0] == place.batch + 1:
                    self.apply_all(self.records(epoch, following.file, *found[1:]))
                    place = Place(epoch, following.file, found[2], found[0])
                    break
            else:
                later = self.later_batch(place)
                if seal is not None and (later is None or later[1:3] >= seal[1:3]):
                    later = seal
                if later is None:
                    if place.batch == 0:  # only the first batch, and it is damaged
                        self.save(place, Place(epoch, 0, len(self.data.get((epoch, 0), b"")), 1))
                    return
                self.save(place, later)
                place = later

    def later_batch(self, place: Place) -> Place | None:
        """The place before the next valid batch of a higher number in the epoch."""
        for epoch, number in sorted(self.data):
            if epoch != place.epoch or number < place.file:
                continue
            data = self.data[epoch, number]
            at = data.find(b"FMQb", place.offset if number == place.file else 64)
            while at >= 0:
                found = self.batch_at(epoch, number, at)
                if found is not None and found[0] > place.batch:
                    return Place(epoch, number, at, found[0] - 1)
                at = data.find(b"FMQb", at + 1)
        return None

    def save(self, place: Place, later: Place) -> None:
        """The whole records between two places."""
        self.state.damaged = True
        for number in range(place.file, later.file + 1):
            data = self.data.get((place.epoch, number), b"")
            start = place.offset if number == place.file else 64
            end = min(later.offset, len(data)) if number == later.file else len(data)
            if data:
                self.apply_all(self.whole_records(place.epoch, number, start, end))

    # ---- "A checkpoint"

    def load_checkpoint(self, epoch: int, number: int) -> Place | None:
        """Begins with a checkpoint; None if it is not whole."""
        data = self.checkpoints.get((epoch, number), b"")
        if len(data) < 72 or data[:8] != b"FMQCHECK":
            return None
        if struct.unpack_from("<I", data, 8)[0] != crc32c(data[:8] + bytes(4) + data[12:72]):
            return None
        sections = self.sections(data)
        if sections is None or struct.unpack_from("<QQ", data, 16) != (epoch, number):
            return None
        subscriptions: list[Subscription] = []
        for kind, name, count, content in sections:
            if kind == "m":
                subscriptions = self.load_memory(json.loads(content))
            elif kind == "p":
                for producer, sequence in json.loads(content):
                    self.remember(producer, sequence)
            elif kind == "b":
                load_branch(self.state, name, count, json.loads(content))
            elif kind == "n":
                found = json.loads(content).items()
                self.state.notes[name] = {key: value.encode("latin-1") for key, value in found}
            else:
                refs = from_planes(content[: 8 * count], 8)
                locations = from_planes(content[8 * count : 16 * count], 8)
                lengths = from_planes(content[16 * count :], 4)
                entries = dict(zip(refs, zip(locations, lengths, strict=True), strict=True))
                if kind == "q":
                    self.state.queues.setdefault(name, {}).update(entries)
                elif kind in {"h", "l"}:
                    places = self.state.sent if kind == "h" else self.state.locked
                    places.setdefault(name, {}).update(entries)
                elif kind == "t":
                    self.state.topics.setdefault(name, {}).update(entries)
                elif kind.isdigit():
                    self.state.priorities.update({(name, ref): int(kind) for ref in refs})
                elif kind == "j":
                    self.state.scheduled.update(entries)
                elif kind == "k":
                    due = {ref: (time, again - 2) for ref, (time, again) in entries.items()}
                    self.state.due_times.update(due)
                elif kind == "x":
                    self.state.expirations.update({(name, ref): time for ref, (time, _) in entries.items()})
                elif kind == "r":
                    self.state.redelivered.update({(name, ref): entry for ref, entry in entries.items()})
                elif kind == "d":
                    subscriptions[int(name)].redelivered.update(entries)
                elif kind == "s":
                    subscriptions[int(name)].pending.update(refs)
        return Place(*struct.unpack_from("<QIIQ", data, 32))

    def sections(self, data: bytes) -> list[tuple[str, str, int, bytes]] | None:
        """The sections before the end block, None if a block is damaged or the end is missing."""
        sections: list[tuple[str, str, int, bytes]] = []
        at = 72
        blocks = 0
        while at + 8 <= len(data):
            length, checksum = struct.unpack_from("<II", data, at)
            content = data[at + 8 : at + 8 + length]
            if not length or len(content) < length or checksum != crc32c(content):
                return None
            found = list(self.sections_of(zlib.decompress(content, wbits=-15)))
            if found[0][0] == "e":
                return sections if found[0][2] == blocks else None
            sections += found
            blocks += 1
            at += 8 + length
        return None

    def sections_of(self, content: bytes) -> Iterator[tuple[str, str, int, bytes]]:
        """Kind, name, count and data of the sections of a block."""
        at = 0
        while at < len(content):
            kind, name_length, count, length = struct.unpack_from("<cHII", content, at)
            start = at + 11 + name_length
            yield kind.decode(), text_of(content[at + 11 : start]), count, content[start : start + length]
            at = start + length

    def load_memory(self, memory: dict[str, Any]) -> list[Subscription]:
        """The block `m`."""
        self.state.next_ref = memory["next_ref"]
        self.salts.update(dict(memory["salts"]))
        subscriptions = []
        for client_id, name, destination, selector, no_local, shared, away in memory["subscriptions"]:
            subscriptions.append(Subscription(destination, selector, no_local, shared, away))
            self.state.subscriptions[client_id, name] = subscriptions[-1]
        return subscriptions

    # ---- "What the records mean"

    def apply_all(self, records: Iterator[tuple[bytes, int]]) -> None:
        """In the order in which they are read."""
        for record, location in records:
            self.apply(record, location)

    def apply(self, record: bytes, location: int) -> None:
        """The effect of one record."""
        kind = record[8]
        (length,) = struct.unpack_from("<H", record, 10)
        state = self.state
        if kind in {1, 49}:
            second, rank, flags, ref, sequence = struct.unpack_from("<HBBQq", record, 12)
            destination = text_of(record[32 : 32 + length])
            producer = text_of(record[32 + length : 32 + length + second])
            if destination.startswith("prepared:"):
                state.next_ref = max(state.next_ref, ref + 1)
                if producer:
                    self.remember(producer, sequence)
                add_sent(state, ref, destination.removeprefix("prepared:"), (location, len(record)))
                return
            if not any(ref in live.get(destination, {}) for live in (state.queues, state.topics)):
                state.priorities[destination, ref] = rank - 1 if 1 <= rank <= 10 else 4
                state.redelivered.pop((destination, ref), None)
                state.expirations.pop((destination, ref), None)
                if flags & 1:
                    (expiration,) = struct.unpack_from("<Q", record, 32 + length + second)
                    state.expirations[destination, ref] = expiration
            self.put(kind, ref, destination, producer, sequence, (location, len(record)))
        elif kind == 2:
            (ref,) = struct.unpack_from("<Q", record, 12)
            self.remove(ref, text_of(record[20 : 20 + length]))
        elif kind in {3, 4}:
            destination = text_of(record[12 : 12 + length])
            places = state.topics if destination.startswith("topic://") else state.queues
            if kind == 3:
                places.setdefault(destination, {})
            else:
                for ref in list(places.get(destination, {})):
                    self.remove(ref, destination)
                places.pop(destination, None)
                state.locked.pop(destination, None)
        elif kind in {5, 6, 7}:
            self.apply_to_subscription(kind, record, length)
        elif kind == 8:
            next_ref, size = struct.unpack_from("<QI", record, 12 + length)
            state.next_ref = max(state.next_ref, next_ref)
            for producer, sequence in json.loads(record[24 + length : 24 + length + size]).items():
                self.remember(producer, sequence)
        elif kind == 9:
            self.redeliver(record, length)
        elif kind == 10:
            self.choose(record, length)
        elif kind == 11:
            keep_note(state, record, length)
        elif kind in {40, 41}:
            self.apply_to_schedule(kind, record, length, location)
        elif kind == 32:
            prepare(state, *branch_in(record, length))
        elif kind in {33, 34}:
            xid = text_of(record[12 : 12 + length])
            self.end_branch(xid, kind == 33, bool(record[12 + length]))
        elif kind == 48:
            state.named.append(struct.unpack_from("<QQ", record, 12 + length))

    def apply_to_schedule(self, kind: int, record: bytes, length: int, location: int) -> None:
        """Types 40 and 41."""
        state = self.state
        if kind == 41:
            ref, due_ms, repeats = struct.unpack_from("<QQi", record, 12 + length)
            if ref in state.due_times:
                state.due_times[ref] = due_ms, repeats
            return
        second, ref, sequence = struct.unpack_from("<HxxQq", record, 12)
        at = 32 + length + second
        state.next_ref = max(state.next_ref, ref + 1)
        if second:
            self.remember(text_of(record[32 + length : at]), sequence)
        if ref not in state.scheduled:
            state.due_times[ref] = struct.unpack_from("<Qi", record, at)
        state.scheduled[ref] = location, len(record)

    def choose(self, record: bytes, length: int) -> None:
        """Type 10."""
        at = 12 + length
        ref, count = struct.unpack_from("<QI", record, at)
        at += 12
        texts = []
        for _ in range(2 * count):
            (size,) = struct.unpack_from("<H", record, at)
            texts.append(text_of(record[at + 2 : at + 2 + size]))
            at += 2 + size
        keys = list(zip(texts[::2], texts[1::2], strict=True))
        self.audience = ref, text_of(record[12 : 12 + length]), keys

    def redeliver(self, record: bytes, length: int) -> None:
        """Type 9."""
        state = self.state
        at = 12 + length
        texts = [text_of(record[12:at])]
        for _ in range(2):
            (size,) = struct.unpack_from("<H", record, at)
            texts.append(text_of(record[at + 2 : at + 2 + size]))
            at += 2 + size
        destination, client_id, name = texts
        ref, count, not_before = struct.unpack_from("<QIQ", record, at)
        if not name:
            if ref in state.queues.get(destination, {}):
                state.redelivered[destination, ref] = (not_before, count)
            return
        known = state.subscriptions.get((client_id, name))
        if known is not None and ref in known.pending:
            known.redelivered[ref] = (not_before, count)

    def remember(self, producer: str, sequence: int) -> None:
        """The last sequence of a producer is at least this one."""
        known = self.state.producers
        known[producer] = max(known.get(producer, sequence), sequence)

    def put(
        self, kind: int, ref: int, destination: str, producer: str, sequence: int, entry: tuple[int, int]
    ) -> None:
        """Types 1 and 49."""
        state = self.state
        is_topic = destination.startswith("topic://")
        if kind == 49 and replace(state, ref, destination, entry):
            return
        state.next_ref = max(state.next_ref, ref + 1)
        if producer:
            self.remember(producer, sequence)
        if not is_topic:
            state.queues.setdefault(destination, {})[ref] = entry
            return
        receivers = [s for s in state.subscriptions.values() if matches(s.destination, destination)]
        audience, self.audience = self.audience, None
        if audience is not None and audience[:2] == (ref, destination):
            chosen = [state.subscriptions[key] for key in audience[2] if key in state.subscriptions]
            receivers = [s for s in receivers if any(s is each for each in chosen)]
        if receivers and not any(ref in messages for messages in state.topics.values()):
            state.topics.setdefault(destination, {})[ref] = entry
            for each in receivers:
                each.pending.add(ref)

    def end_branch(self, xid: str, committed: bool, heuristic: bool) -> None:
        """Types 33 and 34."""
        state = self.state
        branch = state.branches.pop(xid, Branch({}, {}, {}))
        note(state, xid, committed, heuristic)
        for places, done, back in (
            (state.sent, branch.sent, committed),
            (state.locked, branch.consumed, not committed),
        ):
            for destination, entries in done.items():
                for ref, priority, expiration, counter in entries:
                    entry = take(places, destination, ref)
                    if entry is not None and back and destination != "schedule://":
                        state.priorities[destination, ref] = priority
                        if expiration:
                            state.expirations[destination, ref] = expiration
                        if counter and places is state.locked:
                            state.redelivered[destination, ref] = 0, counter
                        self.put(1, ref, destination, "", 0, entry)
        for key, entries in branch.acknowledged.items():
            for ref, _, _, counter in entries:
                if committed:
                    self.release(ref)
                elif any(ref in messages for messages in state.topics.values()):
                    state.subscriptions[key].pending.add(ref)
                    if counter:
                        state.subscriptions[key].redelivered[ref] = 0, counter

    def remove(self, ref: int, destination: str) -> None:
        """Type 2."""
        if destination == "schedule://":
            self.state.scheduled.pop(ref, None)
            self.state.due_times.pop(ref, None)
            return
        for prefix, places in (("prepared:", self.state.sent), ("locked:", self.state.locked)):
            if destination.startswith(prefix):
                take(places, destination.removeprefix(prefix), ref)
                return
        is_topic = destination.startswith("topic://")
        live = (self.state.topics if is_topic else self.state.queues).get(destination, {})
        if live.pop(ref, None) is not None and is_topic:
            for each in self.state.subscriptions.values():
                each.pending.discard(ref)

    def apply_to_subscription(self, kind: int, record: bytes, length: int) -> None:
        """Types 5, 6 and 7."""
        state = self.state
        client_id = text_of(record[12 : 12 + length])
        at = 12 + length
        texts = []
        for _ in range(3 if kind == 5 else 1):
            (size,) = struct.unpack_from("<H", record, at)
            texts.append(text_of(record[at + 2 : at + 2 + size]))
            at += 2 + size
        key = client_id, texts[0]
        known = state.subscriptions.get(key)
        if kind == 5:
            flags, away = struct.unpack_from("<BQ", record, at)
            if known is not None and [known.destination, known.selector] == texts[1:]:
                known.no_local, known.shared, known.away_since_ms = bool(flags & 1), bool(flags & 2), away
                return
            self.drop(key)
            state.subscriptions[key] = Subscription(
                texts[1], texts[2], bool(flags & 1), bool(flags & 2), away
            )
        elif kind == 6:
            self.drop(key)
        elif known is not None:
            (ref,) = struct.unpack_from("<Q", record, at)
            if ref in known.pending:
                known.pending.remove(ref)
                self.release(ref)

    def drop(self, key: tuple[str, str]) -> None:
        """A subscription is gone."""
        known = self.state.subscriptions.pop(key, None)
        refs = [] if known is None else [*known.pending]
        for branch in self.state.branches.values():
            refs += [ref for ref, *_ in branch.acknowledged.pop(key, [])]
        for ref in refs:
            self.release(ref)

    def release(self, ref: int) -> None:
        """A message that nobody waits for any more is not live any more."""
        if not any(ref in each.pending for each in self.state.subscriptions.values()) and not any(
            held[0] == ref
            for branch in self.state.branches.values()
            for entries in branch.acknowledged.values()
            for held in entries
        ):
            for messages in self.state.topics.values():
                messages.pop(ref, None)

    # ---- bodies

    def body(self, entry: tuple[int, int]) -> bytes:
        """The body of a message, by its location."""
        location, length = entry
        offset = location & (1 << 29) - 1
        data = self.data[location >> 44, location >> 29 & 0x7FFF][offset : offset + length]
        assert len(data) == length, "damaged"
        checksum, size, kind, first, second, flags = struct.unpack_from("<IIBxHHxB", data)
        epoch = location >> 44
        salt = self.salts[epoch] if epoch in self.salts else self.salt_of(epoch, location >> 29 & 0x7FFF)
        assert kind in {1, 40, 49}
        assert size == length
        assert checksum == crc32c(struct.pack("<Q", salt) + data[4:]), "damaged"
        between = (12 if kind == 40 else 0) + (8 if flags & 1 else 0)
        return data[32 + first + second + between :]

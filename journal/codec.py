"""Records to bytes and back."""

import json
import struct
from collections.abc import Callable
from typing import Final, Protocol

from crc32c import crc32c

from journal.errors import StoreNewer
from journal.record import (
    KNOWN_TYPES,
    NORMAL_PRIORITY,
    RECORD_BYTES_MAX,
    RECORD_HEADER_BYTES,
    T_ACKNOWLEDGE_SUBSCRIPTION,
    T_ADD_DESTINATION,
    T_ADD_MESSAGE,
    T_ADD_SCHEDULED,
    T_ADD_SUBSCRIPTION,
    T_AUDIENCE,
    T_CHECKPOINT,
    T_COMMIT_BRANCH,
    T_EPOCH_BEGIN,
    T_EPOCH_END,
    T_MEMORY,
    T_MOVED_MESSAGE,
    T_NOTE,
    T_PREPARE_BRANCH,
    T_REDELIVERED,
    T_REMOVE_DESTINATION,
    T_REMOVE_MESSAGE,
    T_REMOVE_SUBSCRIPTION,
    T_RESCHEDULE,
    T_ROLL_BACK_BRANCH,
    TEXT_BYTES_MAX,
    TEXTS_CACHED_MAX,
    AcknowledgeSubscription,
    AddDestination,
    AddMessage,
    AddScheduled,
    AddSubscription,
    AnyRecord,
    Audience,
    Checkpoint,
    CommitBranch,
    EpochBegin,
    EpochEnd,
    Held,
    Memory,
    MovedMessage,
    Note,
    PrepareBranch,
    Redelivered,
    RemoveDestination,
    RemoveMessage,
    RemoveSubscription,
    Reschedule,
    RollBackBranch,
    Seal,
)

_CRC: Final = struct.Struct("<I")
assert _CRC.size == 4
_RECORD: Final = struct.Struct("<IBxH")  # without the CRC before it
assert _RECORD.size == RECORD_HEADER_BYTES - 4
_ADD_MESSAGE: Final = struct.Struct(
    "<IBxHHBBQq"
)  # the same, then producer id's length, rank, flags, ref, sequence
assert _ADD_MESSAGE.size == RECORD_HEADER_BYTES - 4 + 20
_ADD_MESSAGE_BYTES: Final = RECORD_HEADER_BYTES + 20
_ADD_MESSAGE_REST: Final = struct.Struct("<HBBQq")
assert _ADD_MESSAGE_REST.size == 20
_REMOVE_MESSAGE: Final = struct.Struct("<IBxHQ")
assert _REMOVE_MESSAGE.size == RECORD_HEADER_BYTES - 4 + 8
_REF: Final = struct.Struct("<Q")
assert _REF.size == 8
_EXPIRES: Final = 1
"""The flag of a message's record that has the expiration, 8 bytes, before the body."""
_REDELIVERED: Final = struct.Struct("<QIQ")  # ref, counter, not before
assert _REDELIVERED.size == 20
_AUDIENCE: Final = struct.Struct("<QI")  # ref, count of subscriptions
assert _AUDIENCE.size == 12
_SUBSCRIPTION: Final = struct.Struct("<BQ")  # 1 no local, 2 shared; since when it is away
assert _SUBSCRIPTION.size == 9
_MEMORY: Final = struct.Struct("<QI")  # next ref, length of the producers' sequences
assert _MEMORY.size == 12
_PREPARED_AT: Final = struct.Struct("<QI")  # when, length of what it did
assert _PREPARED_AT.size == 12
_SEAL: Final = struct.Struct("<QIIQ")
assert _SEAL.size == 24
_CHECKPOINT: Final = struct.Struct("<QQQIIQ")
assert _CHECKPOINT.size == 40
_DUE: Final = struct.Struct("<Qi")  # when, and how often again
assert _DUE.size == 12
_RESCHEDULE: Final = struct.Struct("<QQi")
assert _RESCHEDULE.size == 20
_COUNT: Final = struct.Struct("<I")
_LENGTH: Final = struct.Struct("<H")
COUNTER_MAX: Final = 2**32 - 1
_PRIORITIES: Final = tuple(rank - 1 if 1 <= rank <= 10 else NORMAL_PRIORITY for rank in range(256))
"""What the byte for the priority says: one more than it; in older stores it is 0."""


class _TextToBytes(dict[str, bytes]):
    """Encodes a text on first sight and remembers it: 0.04 µs instead of 0.2 µs on the hot path."""

    def __missing__(self, text: str) -> bytes:
        data = text.encode("utf-8", "surrogatepass")
        if len(data) > TEXT_BYTES_MAX:
            raise ValueError(f"a text of {len(data)} bytes does not fit a record: at most {TEXT_BYTES_MAX}")
        if len(self) >= TEXTS_CACHED_MAX:
            self.clear()
        self[text] = data
        return data


class _BytesToText(dict[bytes, str]):
    """Decodes on first sight and remembers, so that equal destinations are also one object in memory."""

    def __missing__(self, data: bytes) -> str:
        if len(self) >= TEXTS_CACHED_MAX:
            self.clear()
        text = self[data] = data.decode("utf-8", "surrogatepass")
        return text


def record_seed(salt: int) -> int:
    """What the CRC of every record of an epoch starts from."""
    return crc32c(_REF.pack(salt))


class RecordEncoder:
    """Encodes the records of one epoch. One thread only."""

    def __init__(self, salt: int) -> None:
        self._seed = record_seed(salt)
        self._bytes_of = _TextToBytes()
        self._encoders: dict[type, Callable[..., bytes]] = {
            RemoveMessage: self._remove_message,
            AddDestination: lambda r: self._texts(T_ADD_DESTINATION, r.destination),
            RemoveDestination: lambda r: self._texts(T_REMOVE_DESTINATION, r.destination),
            AddSubscription: self._add_subscription,
            RemoveSubscription: lambda r: self._texts(T_REMOVE_SUBSCRIPTION, r.client_id, r.name),
            AcknowledgeSubscription: self._acknowledge_subscription,
            Memory: self._memory,
            Redelivered: self._redelivered,
            Audience: self._audience,
            Note: self._note,
            EpochBegin: self._epoch_begin,
            EpochEnd: lambda _: self._texts(T_EPOCH_END, ""),
            Checkpoint: self._checkpoint,
            Reschedule: self._reschedule,
            PrepareBranch: self._prepare_branch,
            CommitBranch: lambda r: self._texts(T_COMMIT_BRANCH, r.xid, last=bytes([r.heuristic])),
            RollBackBranch: lambda r: self._texts(T_ROLL_BACK_BRANCH, r.xid, last=bytes([r.heuristic])),
        }

    def encode(self, record: AnyRecord, pieces: list[bytes]) -> int:
        """Adds the record as it stands on the disk to the pieces, and returns its length in bytes.

        A message's body is a piece of its own: copying 1 KiB into the record costs 1 µs.

        Raises:
            ValueError: a text or the whole record is too long, a number out of range; nothing was added.
        """
        try:
            if type(record) is AddMessage:
                return self._add_message(record, pieces)
            if type(record) is MovedMessage:
                return self._add_message(record, pieces, T_MOVED_MESSAGE)
            if type(record) is AddScheduled:
                return self._add_scheduled(record, pieces)
            rest = self._encoders[type(record)](record)
        except struct.error as error:
            raise ValueError(f"a number of {type(record).__name__} is out of range: {error}") from error
        pieces.append(_CRC.pack(crc32c(rest, self._seed)) + rest)
        return len(rest) + _CRC.size

    def _add_message(
        self, record: AddMessage | MovedMessage, pieces: list[bytes], kind: int = T_ADD_MESSAGE
    ) -> int:
        texts = self._bytes_of
        destination = texts[record.destination]
        producer_id = texts[record.producer_id]
        body = record.body
        first = len(destination)
        second = len(producer_id)
        expiration = record.expiration
        length = _ADD_MESSAGE_BYTES + first + second + len(body)
        if expiration:
            producer_id += _REF.pack(expiration)
            length += _REF.size
        if length > RECORD_BYTES_MAX:
            raise ValueError(
                f"a message of {len(body)} bytes does not fit a record: at most {RECORD_BYTES_MAX}"
            )
        numbers = _ADD_MESSAGE.pack(
            length,
            kind,
            first,
            second,
            record.priority + 1,
            _EXPIRES if expiration else 0,
            record.ref,
            record.producer_sequence_id,
        )
        rest = numbers + destination + producer_id
        pieces += (_CRC.pack(crc32c(body, crc32c(rest, self._seed))) + rest, body)
        return length

    def _add_scheduled(self, record: AddScheduled, pieces: list[bytes]) -> int:
        """The same without destination and priority, and what is said of the time before the body."""
        producer_id = self._bytes_of[record.producer_id]
        length = _ADD_MESSAGE_BYTES + len(producer_id) + _DUE.size + len(record.body)
        if length > RECORD_BYTES_MAX:
            raise ValueError(
                f"a message of {len(record.body)} bytes does not fit a record: at most {RECORD_BYTES_MAX}"
            )
        sequence = record.producer_sequence_id
        name_bytes = len(producer_id)
        numbers = _ADD_MESSAGE.pack(length, T_ADD_SCHEDULED, 0, name_bytes, 0, 0, record.ref, sequence)
        rest = numbers + producer_id + _DUE.pack(record.due_ms, record.repeats)
        pieces += (_CRC.pack(crc32c(record.body, crc32c(rest, self._seed))) + rest, record.body)
        return length

    def _reschedule(self, record: Reschedule) -> bytes:
        return self._texts(T_RESCHEDULE, "", last=_RESCHEDULE.pack(record.ref, record.due_ms, record.repeats))

    def _remove_message(self, record: RemoveMessage) -> bytes:
        destination = self._bytes_of[record.destination]
        length = RECORD_HEADER_BYTES + 8 + len(destination)
        return _REMOVE_MESSAGE.pack(length, T_REMOVE_MESSAGE, len(destination), record.ref) + destination

    def _texts(self, kind: int, first: str, *others: str, last: bytes = b"") -> bytes:
        """The first text, the others each with its length before it, then what the type adds."""
        head = self._bytes_of[first]
        pieces = [head]
        for text in others:
            data = self._bytes_of[text]
            pieces += (_LENGTH.pack(len(data)), data)
        pieces.append(last)
        rest = b"".join(pieces)
        return _RECORD.pack(RECORD_HEADER_BYTES + len(rest), kind, len(head)) + rest

    def _add_subscription(self, record: AddSubscription) -> bytes:
        texts = (record.client_id, record.name, record.destination, record.selector)
        flags = record.no_local | record.shared << 1
        return self._texts(T_ADD_SUBSCRIPTION, *texts, last=_SUBSCRIPTION.pack(flags, record.away_since_ms))

    def _acknowledge_subscription(self, record: AcknowledgeSubscription) -> bytes:
        return self._texts(
            T_ACKNOWLEDGE_SUBSCRIPTION, record.client_id, record.name, last=_REF.pack(record.ref)
        )

    def _checkpoint(self, record: Checkpoint) -> bytes:
        return self._texts(T_CHECKPOINT, "", last=_CHECKPOINT.pack(record.epoch, record.number, *record.at))

    def _audience(self, record: Audience) -> bytes:
        texts = [self._bytes_of[text] for key in record.keys for text in key]
        keys = b"".join(_LENGTH.pack(len(text)) + text for text in texts)
        last = _AUDIENCE.pack(record.ref, len(record.keys)) + keys
        return self._texts(T_AUDIENCE, record.destination, last=last)

    def _note(self, record: Note) -> bytes:
        last = _COUNT.pack(len(record.value)) + record.value
        return self._texts(T_NOTE, record.owner, record.key, last=last)

    def _redelivered(self, record: Redelivered) -> bytes:
        last = _REDELIVERED.pack(record.ref, min(record.counter, COUNTER_MAX), record.not_before_ms)
        return self._texts(T_REDELIVERED, record.destination, record.client_id, record.name, last=last)

    def _memory(self, record: Memory) -> bytes:
        producers = json.dumps(record.producers).encode()
        return self._texts(T_MEMORY, "", last=_MEMORY.pack(record.next_ref, len(producers)) + producers)

    def _prepare_branch(self, record: PrepareBranch) -> bytes:
        work = encode_work(record)
        texts = (record.xid, record.user, record.client_id)
        last = _PREPARED_AT.pack(record.prepared_ms, len(work)) + work
        return self._texts(T_PREPARE_BRANCH, *texts, last=last)

    def _epoch_begin(self, record: EpochBegin) -> bytes:
        seals = b"".join(_SEAL.pack(*seal) for seal in record.seals)
        return self._texts(T_EPOCH_BEGIN, record.owner, last=_COUNT.pack(len(record.seals)) + seals)


def encode_work(branch: PrepareBranch) -> bytes:
    """What a prepared branch did, as JSON."""
    work = {
        "sent": branch.sent,
        "consumed": branch.consumed,
        "acknowledged": [[*key, each] for key, each in branch.acknowledged.items()],
    }
    return json.dumps(work, separators=(",", ":")).encode()


def decode_work(xid: str, user: str, client_id: str, prepared_ms: int, work: bytes) -> PrepareBranch:
    """The reverse of `encode_work`."""
    fields = json.loads(work)
    sent, consumed = (
        {name: [Held(*held) for held in each] for name, each in fields[kind].items()}
        for kind in ("sent", "consumed")
    )
    acknowledged = {
        (client, name): [Held(*held) for held in each] for client, name, each in fields["acknowledged"]
    }
    return PrepareBranch(xid, user, client_id, prepared_ms, sent, consumed, acknowledged)


class Target(Protocol):
    """What records are applied to: `journal.state.State`."""

    def add_message(  # noqa: PLR0917 - keywords take longer, and recovery makes millions of calls
        self,
        ref: int,
        destination: str,
        producer_id: str,
        sequence: int,
        location: int,
        length: int,
        priority: int,
        expiration: int,
    ) -> None:
        """Takes the fields of an `AddMessage`: making the object would cost a fifth of recovery."""

    def apply(self, record: AnyRecord, location: int, length: int) -> None:
        """Takes any other record."""


class RecordDecoder:
    """Decodes records whose CRC, or whose batch's CRC, was found right. One thread only."""

    def __init__(self) -> None:
        self._text_of = _BytesToText()
        self._decoders: dict[int, Callable[[bytes, int, int], AnyRecord]] = {
            T_REMOVE_MESSAGE: self._remove_message,
            T_ADD_DESTINATION: lambda data, at, first: AddDestination(self._text(data, at, first)),
            T_REMOVE_DESTINATION: lambda data, at, first: RemoveDestination(self._text(data, at, first)),
            T_ADD_SUBSCRIPTION: self._add_subscription,
            T_REMOVE_SUBSCRIPTION: self._remove_subscription,
            T_ACKNOWLEDGE_SUBSCRIPTION: self._acknowledge_subscription,
            T_MEMORY: self._memory,
            T_REDELIVERED: self._redelivered,
            T_AUDIENCE: self._audience,
            T_NOTE: self._note,
            T_EPOCH_BEGIN: self._epoch_begin,
            T_EPOCH_END: lambda *_: EpochEnd(),
            T_CHECKPOINT: self._checkpoint,
            T_MOVED_MESSAGE: self._moved_message,
            T_ADD_SCHEDULED: self._add_scheduled,
            T_RESCHEDULE: self._reschedule,
            T_PREPARE_BRANCH: self._prepare_branch,
            T_COMMIT_BRANCH: lambda *at: CommitBranch(*self._outcome(*at)),
            T_ROLL_BACK_BRANCH: lambda *at: RollBackBranch(*self._outcome(*at)),
        }

    def replay(self, data: bytes, start: int, end: int, base: int, target: Target) -> None:
        """Applies the records between two positions; `base` plus its position is a record's packed location.

        Raises:
            StoreNewer: a type this version does not know.
        """
        text_of = self._text_of
        head = _RECORD.unpack_from
        add_message = target.add_message
        position = start
        while position < end:
            length, kind, first = head(data, position + 4)
            stop = position + length
            if kind == T_ADD_MESSAGE:  # in line: a call here costs a tenth of recovery
                second, rank, flags, ref, sequence = _ADD_MESSAGE_REST.unpack_from(
                    data, position + RECORD_HEADER_BYTES
                )
                at_producer = position + _ADD_MESSAGE_BYTES + first
                destination = text_of[data[position + _ADD_MESSAGE_BYTES : at_producer]]
                producer_id = text_of[data[at_producer : at_producer + second]]
                expiration = _expiration(data, at_producer + second, flags) if flags else 0
                place = base + position
                add_message(
                    ref, destination, producer_id, sequence, place, length, _PRIORITIES[rank], expiration
                )
            else:
                decoder = self._decoders.get(kind)
                if decoder is None:
                    raise StoreNewer(f"the store holds records of type {kind}: use a newer version of this")
                record = decoder(data, position + RECORD_HEADER_BYTES, first)
                target.apply(record, base + position, length)
            position = stop

    def decode(self, data: bytes, start: int, end: int) -> list[tuple[AnyRecord, int]]:
        """The records between two positions, each with its position in the data.

        Raises:
            StoreNewer: a type this version does not know.
        """
        records: list[tuple[AnyRecord, int]] = []
        position = start
        while position < end:
            length, kind, first = _RECORD.unpack_from(data, position + 4)
            decoder = self._add_message if kind == T_ADD_MESSAGE else self._decoders.get(kind)
            if decoder is None:
                raise StoreNewer(f"the store holds records of type {kind}: use a newer version of this")
            records.append((decoder(data, position + RECORD_HEADER_BYTES, first), position))
            position += length
        return records

    def _text(self, data: bytes, position: int, length: int) -> str:
        return self._text_of[data[position : position + length]]

    def _texts(self, data: bytes, position: int, first: int, count: int) -> tuple[list[str], int]:
        """So many texts and the position behind them."""
        texts = [self._text(data, position, first)]
        position += first
        while len(texts) < count:
            (length,) = _LENGTH.unpack_from(data, position)
            texts.append(self._text(data, position + 2, length))
            position += 2 + length
        return texts, position

    def _message(self, data: bytes, position: int, first: int) -> tuple[int, str, str, int, bytes, int, int]:
        """The fields of a message's record; `position` is behind the record's header."""
        second, rank, flags, ref, sequence = _ADD_MESSAGE_REST.unpack_from(data, position)
        at = position + _ADD_MESSAGE_REST.size
        body = message_body(data, position - RECORD_HEADER_BYTES)
        destination, producer_id = self._text(data, at, first), self._text(data, at + first, second)
        expiration = _expiration(data, at + first + second, flags) if flags else 0
        return ref, destination, producer_id, sequence, body, _PRIORITIES[rank], expiration

    def _add_message(self, data: bytes, position: int, first: int) -> AddMessage:
        return AddMessage(*self._message(data, position, first))

    def _moved_message(self, data: bytes, position: int, first: int) -> MovedMessage:
        return MovedMessage(*self._message(data, position, first))

    def _add_scheduled(self, data: bytes, position: int, first: int) -> AddScheduled:
        ref, _, producer_id, sequence, body, _, _ = self._message(data, position, first)
        (second,) = _LENGTH.unpack_from(data, position)
        due_ms, repeats = _DUE.unpack_from(data, position + _ADD_MESSAGE_REST.size + first + second)
        return AddScheduled(ref, producer_id, sequence, body, due_ms, repeats)

    def _reschedule(self, data: bytes, position: int, first: int) -> Reschedule:
        return Reschedule(*_RESCHEDULE.unpack_from(data, position + first))

    def _checkpoint(self, data: bytes, position: int, first: int) -> Checkpoint:
        epoch, number, *at = _CHECKPOINT.unpack_from(data, position + first)
        return Checkpoint(epoch, number, Seal(*at))

    def _remove_message(self, data: bytes, position: int, first: int) -> RemoveMessage:
        (ref,) = _REF.unpack_from(data, position)
        return RemoveMessage(ref, self._text(data, position + 8, first))

    def _add_subscription(self, data: bytes, position: int, first: int) -> AddSubscription:
        (client_id, name, destination, selector), position = self._texts(data, position, first, 4)
        flags, away_since_ms = _SUBSCRIPTION.unpack_from(data, position)
        no_local, shared = bool(flags & 1), bool(flags & 2)
        return AddSubscription(client_id, name, destination, selector, no_local, shared, away_since_ms)

    def _remove_subscription(self, data: bytes, position: int, first: int) -> RemoveSubscription:
        (client_id, name), _ = self._texts(data, position, first, 2)
        return RemoveSubscription(client_id, name)

    def _acknowledge_subscription(self, data: bytes, position: int, first: int) -> AcknowledgeSubscription:
        (client_id, name), position = self._texts(data, position, first, 2)
        return AcknowledgeSubscription(client_id, name, *_REF.unpack_from(data, position))

    def _audience(self, data: bytes, position: int, first: int) -> Audience:
        ref, count = _AUDIENCE.unpack_from(data, position + first)
        at = position + first + _AUDIENCE.size
        texts: list[str] = []
        for _ in range(2 * count):
            (length,) = _LENGTH.unpack_from(data, at)
            texts.append(self._text(data, at + 2, length))
            at += 2 + length
        keys = tuple(zip(texts[::2], texts[1::2], strict=True))
        return Audience(ref, self._text(data, position, first), keys)

    def _note(self, data: bytes, position: int, first: int) -> Note:
        (owner, key), position = self._texts(data, position, first, 2)
        (length,) = _COUNT.unpack_from(data, position)
        at = position + _COUNT.size
        return Note(owner, key, data[at : at + length])

    def _redelivered(self, data: bytes, position: int, first: int) -> Redelivered:
        (destination, client_id, name), position = self._texts(data, position, first, 3)
        ref, counter, not_before_ms = _REDELIVERED.unpack_from(data, position)
        return Redelivered(ref, destination, counter, not_before_ms, client_id, name)

    def _memory(self, data: bytes, position: int, _first: int) -> Memory:
        next_ref, length = _MEMORY.unpack_from(data, position)
        at = position + _MEMORY.size
        return Memory(next_ref, json.loads(data[at : at + length]))

    def _prepare_branch(self, data: bytes, position: int, first: int) -> PrepareBranch:
        (xid, user, client_id), position = self._texts(data, position, first, 3)
        prepared_ms, length = _PREPARED_AT.unpack_from(data, position)
        at = position + _PREPARED_AT.size
        return decode_work(xid, user, client_id, prepared_ms, data[at : at + length])

    def _outcome(self, data: bytes, position: int, first: int) -> tuple[str, bool]:
        return self._text(data, position, first), bool(data[position + first])

    def _epoch_begin(self, data: bytes, position: int, first: int) -> EpochBegin:
        owner = self._text(data, position, first)
        (count,) = _COUNT.unpack_from(data, position + first)
        at = position + first + _COUNT.size
        seals = tuple(Seal(*_SEAL.unpack_from(data, at + i * _SEAL.size)) for i in range(count))
        return EpochBegin(owner, seals)


def message_body(data: bytes, position: int) -> bytes:
    """The body in the record of a message that was found whole at a position."""
    length, kind, first = _RECORD.unpack_from(data, position + 4)
    second, _, flags, _, _ = _ADD_MESSAGE_REST.unpack_from(data, position + RECORD_HEADER_BYTES)
    begin = position + _ADD_MESSAGE_BYTES + first + second
    if flags:
        begin += _REF.size
    elif kind == T_ADD_SCHEDULED:
        begin += _DUE.size
    return data[begin : position + length]


def _expiration(data: bytes, position: int, flags: int) -> int:
    """What stands before the body.

    Raises:
        StoreNewer: something that this version does not know.
    """
    if flags != _EXPIRES:
        raise StoreNewer(f"the store holds messages with the flags {flags}: use a newer version of this")
    expiration: int = _REF.unpack_from(data, position)[0]
    return expiration


def whole_record_at(data: bytes, position: int, end: int, seed: int) -> int:
    """Length of the undamaged record at a position, 0 if none stands there.

    For salvage: it trusts nothing.
    """
    if position + RECORD_HEADER_BYTES > end:
        return 0
    length, kind, _ = _RECORD.unpack_from(data, position + 4)
    if not RECORD_HEADER_BYTES <= length <= end - position or kind not in KNOWN_TYPES:
        return 0
    (checksum,) = _CRC.unpack_from(data, position)
    return length if checksum == crc32c(memoryview(data)[position + 4 : position + length], seed) else 0

"""The records, and the format of a data file, version 1.

All numbers are little-endian; all CRCs are CRC-32C (Castagnoli, RFC 3720).

::

    data file   data-<epoch>-<number>; the first of an epoch has number 0
    ┌─────────────┬───────┬───────┬─────┬───────┬──────────────────────────────┐
    │ file header │ batch │ batch │  …  │ batch │ zero, as far as preallocated │
    └─────────────┴───────┴───────┴─────┴───────┴──────────────────────────────┘

    file header, 64 bytes
      0  8  magic b"FMQSTORE"
      8  4  CRC of the 64 bytes with this field zero  ┐ every version of the format keeps
     12  2  version of the format                     ┘ these three: a newer one is refused
     14  2  zero
     16  8  epoch
     24  8  number of the file within the epoch
     32  8  salt: random, the same in all files of an epoch
     40 24  zero

    batch header, 56 bytes, followed by the records
      0  4  magic b"FMQb"
      4  4  CRC of bytes 8 to 55
      8  4  length of the records in bytes
     12  4  CRC of the records
     16  8  salt
     24  8  epoch
     32  8  batch number within the epoch, from 1, without gaps
     40  4  number of the file
     44  4  offset of this header in the file
     48  4  count of the records
     52  4  flags, zero

    record, at least 12 bytes
      0  4  CRC of the rest of the record, starting from the CRC of the salt
      4  4  length of the whole record
      8  1  type
      9  1  zero
     10  2  length of the first text
     12  …  by type

A batch is what one write and one sync carry. It is valid as a whole or not at all: the records' own CRCs
are looked at only after the batch's CRC has failed, to save what flipped bits have spared.

The header names its own place, and carries a salt that no client ever sees: bytes that look like a batch,
in a message body or in blocks left over on the disk, are never taken for one. A header of zeros is the end
of the log so far.

The first batch of an epoch starts with `EpochBegin` (who, the seals of the lower epochs) and ends with the
same record again, so that one damaged sector does not take the seals with it; between them stand the
adopted records. `EpochEnd` is a batch of its own. It says that everything before it was acknowledged and is
written when the journal is closed and when a burst is over: a flipped bit in the batch before it is then
known to be damage, not a torn tail.

A new epoch that finds little alive carries all of it over: its first batch has no seals, a `Memory` and the
records that build the index again. The data files of the lower epochs then count for nobody.

A message that a prepared branch of a distributed transaction has sent stands in the log before the branch's
`PrepareBranch`, in the same batch, with `prepared:` before its destination. It is written once: the outcome
says only what becomes of it.

A record of unknown type makes the store one of a newer format.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

FORMAT_VERSION: Final = 1
FILE_HEADER_BYTES: Final = 64
BATCH_HEADER_BYTES: Final = 56
RECORD_HEADER_BYTES: Final = 12
RECORD_BYTES_MAX: Final = 256 * 1024 * 1024
"""Largest record; far above the frame limits of all protocols (the largest is OpenWire's, 100 MiB)."""
EPOCH_BEGINS: Final = 2
"""How often a first batch says how the epoch began: before and behind the adopted records."""
CHECKPOINTS_KEPT: Final = 2
"""The newest, and the one before it in case the newest is damaged."""
TEXT_BYTES_MAX: Final = 65_535
"""Longest text (destination, producer id, selector, …) in UTF-8: the same as a short string in OpenWire."""
NORMAL_PRIORITY: Final = 4
"""Of messages whose sender asks for none. Source: JMS 1.1, §3.4.10."""
RETAINED: Final = "retained://"
"""Stands in place of `topic://` before the name of a topic whose retained message is kept; like a queue."""
PREPARED: Final = "prepared:"
"""Stands before the destination of a message that a prepared branch has sent."""
TEXTS_CACHED_MAX: Final = 8_192
"""Texts whose encoding is remembered: destinations and producers repeat from record to record."""


# Records are not `frozen`: that costs 0.9 µs each, and a store has millions. Nobody changes one that was
# appended; what a transaction sends gets its number when it is.
@dataclass(slots=True)
class AddMessage:
    """A message was stored.

    Attributes:
        ref: store-wide number, increasing, given by the broker.
        destination: like `queue://workshop.test` or `topic://prices`.
        producer_id: "" if the producer cannot repeat sends.
        producer_sequence_id: of the producer; means nothing without one.
        body: the broker's encoded message.
        priority: 0 to 9, the highest goes first.
        expiration: milliseconds since the epoch; 0: never.
    """

    ref: int
    destination: str
    producer_id: str
    producer_sequence_id: int
    body: bytes
    priority: int = NORMAL_PRIORITY
    expiration: int = 0


@dataclass(slots=True)
class RemoveMessage:
    """A message was consumed, has expired or was purged."""

    ref: int
    destination: str


@dataclass(slots=True)
class AddDestination:
    """A destination was made, and stays although empty."""

    destination: str


@dataclass(slots=True)
class RemoveDestination:
    """A destination was deleted, with what it held."""

    destination: str


@dataclass(slots=True)
class AddSubscription:
    """A durable subscription was made, or what may change of it has changed.

    Attributes:
        client_id: "" if it is shared by clients of any id.
        name: with the client id its identity.
        destination: may be a wildcard, or several topics separated by commas.
        selector: "" if it has none.
        no_local: it does not get what its own client sends.
        shared: several consumers may take from it at once.
        away_since_ms: since when it has had no consumer, milliseconds since the epoch; 0: that is not known.
    """

    client_id: str
    name: str
    destination: str
    selector: str
    no_local: bool
    shared: bool = False
    away_since_ms: int = 0


@dataclass(slots=True)
class RemoveSubscription:
    """A durable subscription was given up, with what was pending for it."""

    client_id: str
    name: str


@dataclass(slots=True)
class AcknowledgeSubscription:
    """A durable subscription is done with a message."""

    client_id: str
    name: str
    ref: int


@dataclass(slots=True)
class Audience:
    """A message of a topic, which is added by the next record, is for some of its durable subscriptions only.

    Attributes:
        ref: of the message.
        destination: the topic.
        keys: client id and name of each of them.
    """

    ref: int
    destination: str
    keys: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Redelivered:
    """A delivery of a message ended without acknowledgement; it waits again.

    Attributes:
        ref: of the message.
        destination: its queue or topic.
        counter: how many of its deliveries ended so.
        not_before_ms: when it may be delivered again, milliseconds since the epoch; 0: at once.
        client_id: with `name` the durable subscription that it is about; both empty for a queue.
    """

    ref: int
    destination: str
    counter: int
    not_before_ms: int = 0
    client_id: str = ""
    name: str = ""


@dataclass(slots=True)
class Note:
    """What a protocol keeps for one of its clients has changed.

    Attributes:
        owner: whose, like `mqtt:thermometer`.
        key: which; "": all that the owner has is forgotten.
        value: means something to the protocol only; empty: it is forgotten.
    """

    owner: str
    key: str
    value: bytes = b""


@dataclass(slots=True)
class Memory:
    """What no live message tells: which numbers and which sends there have been.

    Attributes:
        next_ref: one above the highest number given to a message.
        producers: the last sequence of each producer.
    """

    next_ref: int
    producers: dict[str, int]


class Seal(NamedTuple):
    """Where a lower epoch ends: what lies behind is ignored for ever.

    Attributes:
        epoch: the epoch that is cut.
        number: its last data file that counts.
        offset: end of the last batch that counts, in that file.
        batch: number of that batch, 0 if none counts.
    """

    epoch: int
    number: int
    offset: int
    batch: int


@dataclass(slots=True)
class MovedMessage:
    """A live message's record stands here now: compaction copied it. Of one that was lost it is all there is.

    The attributes are those of `AddMessage`.
    """

    ref: int
    destination: str
    producer_id: str
    producer_sequence_id: int
    body: bytes
    priority: int = NORMAL_PRIORITY
    expiration: int = 0


SCHEDULED: Final = "schedule://"
"""The place of messages that are due later: no destination, so they are no destination's."""


REPEATS_MAX: Final = (1 << 31) - 1
"""Of a scheduled message: as many as ActiveMQ's clients can ask for."""


@dataclass(slots=True)
class AddScheduled:
    """A message was stored that is due later; compaction copies it with what holds by then.

    Attributes:
        ref: as in `AddMessage`, like the next three.
        producer_id: likewise.
        producer_sequence_id: likewise.
        body: likewise; it says where the message goes, and by which rules it is due again.
        due_ms: when it is due, milliseconds since the epoch.
        repeats: how often it is due again after that; -1 for ever.
    """

    destination: ClassVar[str] = SCHEDULED
    ref: int
    producer_id: str
    producer_sequence_id: int
    body: bytes
    due_ms: int
    repeats: int


@dataclass(slots=True)
class Reschedule:
    """A scheduled message was delivered and is due again; `RemoveMessage` says that it is not.

    The attributes are those of `AddScheduled`.
    """

    ref: int
    due_ms: int
    repeats: int


class Checkpoint(NamedTuple):
    """A checkpoint counts: it was written and synced, and holds all of the log up to a place.

    Attributes:
        epoch: that wrote it.
        number: of the checkpoint within the epoch.
        at: the place, between two batches.
    """

    epoch: int
    number: int
    at: Seal


class Held(NamedTuple):
    """A message that a prepared branch has sent or acknowledged, and what is to be known when it comes back.

    Attributes:
        ref: its number.
        priority: 0 to 9.
        expiration: milliseconds since the epoch; 0: never.
        counter: how often it was delivered before.
    """

    ref: int
    priority: int = NORMAL_PRIORITY
    expiration: int = 0
    counter: int = 0


@dataclass(slots=True)
class PrepareBranch:
    """A branch of a distributed transaction was prepared: what it did waits for its outcome.

    Attributes:
        xid: identifies the branch, as text.
        user: who prepared it.
        client_id: of the connection that did its work; "" if it had none.
        prepared_ms: when, milliseconds since the epoch.
        sent: by destination; the messages were added before, with `PREPARED` before it.
        consumed: by queue, what was acknowledged.
        acknowledged: by client id and name, what a durable subscription has acknowledged.
    """

    xid: str
    user: str
    client_id: str
    prepared_ms: int
    sent: dict[str, list[Held]]
    consumed: dict[str, list[Held]]
    acknowledged: dict[tuple[str, str], list[Held]]


@dataclass(slots=True)
class CommitBranch:
    """A branch was committed, prepared or not.

    Attributes:
        xid: of the branch.
        heuristic: an administrator decided it; its transaction manager is still to be told.
    """

    xid: str
    heuristic: bool = False


@dataclass(slots=True)
class RollBackBranch:
    """A prepared branch was rolled back; the attributes are those of `CommitBranch`."""

    xid: str
    heuristic: bool = False


@dataclass(slots=True)
class EpochBegin:
    """An epoch was opened; see the module's text."""

    owner: str
    seals: tuple[Seal, ...]


@dataclass(slots=True)
class EpochEnd:
    """Everything before was acknowledged."""


Record = (
    AddMessage
    | RemoveMessage
    | AddDestination
    | RemoveDestination
    | AddSubscription
    | RemoveSubscription
    | AcknowledgeSubscription
    | MovedMessage
    | Memory
    | AddScheduled
    | Reschedule
    | Redelivered
    | Audience
    | Note
    | PrepareBranch
    | CommitBranch
    | RollBackBranch
)
Stored = AddMessage | MovedMessage | AddScheduled
"""The records of which a live message is read."""
ControlRecord = EpochBegin | EpochEnd | Checkpoint
AnyRecord = Record | ControlRecord

T_ADD_MESSAGE: Final = 1
T_REMOVE_MESSAGE: Final = 2
T_ADD_DESTINATION: Final = 3
T_REMOVE_DESTINATION: Final = 4
T_ADD_SUBSCRIPTION: Final = 5
T_REMOVE_SUBSCRIPTION: Final = 6
T_ACKNOWLEDGE_SUBSCRIPTION: Final = 7
T_MEMORY: Final = 8
T_REDELIVERED: Final = 9
T_AUDIENCE: Final = 10
T_NOTE: Final = 11
T_EPOCH_BEGIN: Final = 16
T_EPOCH_END: Final = 17
T_PREPARE_BRANCH: Final = 32
T_COMMIT_BRANCH: Final = 33
T_ROLL_BACK_BRANCH: Final = 34
T_ADD_SCHEDULED: Final = 40
T_RESCHEDULE: Final = 41
T_CHECKPOINT: Final = 48
T_MOVED_MESSAGE: Final = 49
KNOWN_TYPES: Final = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 32, 33, 34, 40, 41, 48, 49))


class Location(NamedTuple):
    """Where a record stands.

    The index keeps it as one int, see `pack`: a tuple per message costs 64 bytes more.
    """

    epoch: int
    number: int
    offset: int

    def pack(self) -> int:
        """64 bits that order like the log: 20 of the epoch, 15 of the file number, 29 of the offset."""
        return self.epoch << 44 | self.number << 29 | self.offset

    @classmethod
    def unpack(cls, packed: int) -> "Location":
        """The reverse of `pack`."""
        return cls(packed >> 44, packed >> 29 & 0x7FFF, packed & 0x1FFFFFFF)


FILE_SHIFT: Final = 29
"""A packed location shifted right by this is its data file's key, see `data_file_key`."""
EPOCH_SHIFT: Final = 44
"""And by this is its epoch."""
FILES_PER_EPOCH_MAX: Final = 1 << 15
"""Bits of a packed location; with files of 32 MiB an epoch may write 1 TiB, then a slave begins the next."""
EPOCHS_MAX: Final = 1 << 20
"""Bits of a packed location; a takeover every minute for two years."""
OFFSET_MAX: Final = 1 << 29
"""Bits of a packed location; a data file is longer only by its last batch."""


def data_file_key(epoch: int, number: int) -> int:
    """A data file as one number that orders like the log."""
    return epoch << 15 | number

"""What is in a store, of a living or a dead master, read without touching it.

A master may write, seal, compact and delete while it is looked at. What is read is consistent in any case:
a checkpoint and the log behind it up to some batch. But a file that goes while it is needed looks like
damage. So damage is believed only if a second look finds the same.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from journal.codec import RecordDecoder
from journal.errors import StoreCorrupt, StoreIncomplete, StoreMissing, StoreReadOnly, StoreUnavailable
from journal.fence import (
    CLAIM_BYTES_MAX,
    DataFileName,
    checkpoint_files,
    checkpoint_name,
    claim_name,
    claimed_data_files,
    claims,
    data_files,
    live_epochs,
)
from journal.files import Files, PosixFiles
from journal.index import MessageIndex
from journal.progress import Progress
from journal.readonly import ReadOnlyFiles
from journal.record import (
    BATCH_HEADER_BYTES,
    FILE_SHIFT,
    FORMAT_VERSION,
    T_EPOCH_END,
    Checkpoint,
    Location,
    PrepareBranch,
    Seal,
    data_file_key,
)
from journal.recovery import Recovered, StoreReader
from journal.report import Report
from journal.state import State

LOOKS_MAX: Final = 10
"""A store that looks damaged in another way each time is given up after so many."""
CLAIMS_SHOWN: Final = 5
"""The last few masters; a store has a claim for each it ever had."""


class FileFacts(NamedTuple):
    """A data file.

    Attributes:
        name: of the file.
        bytes: in it, without what was only allocated.
        role: "ruling", "sealed" or "ignored".
        live_bytes: of live messages' records in it.
    """

    name: str
    bytes: int
    role: str
    live_bytes: int


class CheckpointFacts(NamedTuple):
    """A checkpoint; one that does not count was not named by the log, or not any more."""

    name: str
    bytes: int
    counts: bool


class ClaimFacts(NamedTuple):
    """Who took an epoch; the data files are those known to hold batches."""

    epoch: int
    owner: str
    data_files: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found.

    Attributes:
        files: the store, to be read further.
        names: of all its files.
        claimed: the highest epoch ever claimed.
        claims: the last few.
        live: epochs that may still acknowledge; more than one only while a takeover is under way.
        data_files: in the order of the log.
        checkpoints: likewise.
        seals: of the epochs below the ruling one.
        reached: the place in the ruling epoch before its last batch, None if nothing rules.
        end: name of the data file and offset where the log ends, None if nothing rules.
        closed: whether the ruling epoch's master has closed the journal: it is not running any more.
        missing: paths of data files that are not there, and how many live messages stood in each.
        report: of the reading.
        state: what is live, the last batch included, which may not be acknowledged yet.
    """

    files: Files
    names: frozenset[str]
    claimed: int
    claims: list[ClaimFacts]
    live: list[int]
    data_files: list[FileFacts]
    checkpoints: list[CheckpointFacts]
    seals: tuple[Seal, ...]
    reached: Seal | None
    end: tuple[str, int] | None
    closed: bool
    missing: dict[str, int]
    report: Report
    state: State

    def to_json(self) -> dict[str, Any]:
        """All of it but the messages themselves."""
        state = self.state
        return {
            "format": FORMAT_VERSION,
            "claimed": self.claimed,
            "claims": [claim._asdict() for claim in self.claims],
            "live": self.live,
            "ruling": self.report.ruler,
            "owner": self.report.owner,
            "closed": self.closed,
            "end": self.end and {"file": self.end[0], "offset": self.end[1]},
            "seals": [seal._asdict() for seal in self.seals],
            "files": [facts._asdict() for facts in self.data_files],
            "checkpoints": [facts._asdict() for facts in self.checkpoints],
            "checkpoint": self.report.checkpoint or None,
            "batches": self.report.batches,
            "records": self.report.records,
            "sound": not self.report.damages,
            "damages": [damage._asdict() for damage in self.report.damages],
            "torn": self.report.torn and {"file": self.report.torn[0], "offset": self.report.torn[1]},
            "queues": _sizes(state.queues),
            "topics": _sizes(state.topics),
            "scheduled": len(state.scheduled),
            "subscriptions": [
                {
                    "client_id": s.client_id,
                    "name": s.name,
                    "destination": s.destination,
                    "selector": s.selector,
                    "no_local": s.no_local,
                    "shared": s.shared,
                    "away_since_ms": s.away_since_ms,
                    "pending": len(s.pending),
                }
                for s in state.subscriptions.values()
            ],
            "prepared": [_branch(each) for each in state.branches.prepared.values()],
            "notes": {owner: len(state.notes.of(owner)) for owner in state.notes},
            "producers": len(state.producers),
            "next_ref": state.next_ref,
        }


def _branch(branch: PrepareBranch) -> dict[str, Any]:
    """A prepared branch; of what it did only how much."""
    return {
        "xid": branch.xid,
        "user": branch.user,
        "client_id": branch.client_id,
        "prepared_ms": branch.prepared_ms,
        "sent": {name: len(entries) for name, entries in branch.sent.items()},
        "consumed": {name: len(entries) for name, entries in branch.consumed.items()},
        "acknowledged": sum(map(len, branch.acknowledged.values())),
    }


def _sizes(destinations: dict[str, MessageIndex]) -> dict[str, dict[str, int]]:
    """Messages of each destination, and the bytes of their records."""
    return {
        name: {"messages": len(messages), "bytes": record_bytes(messages)}
        for name, messages in sorted(destinations.items())
    }


def record_bytes(messages: MessageIndex) -> int:
    """Bytes of the records of messages."""
    return sum(place.length for _, place in messages.entries_after(-1))


def inspect_store(directory: Path, progress: Progress | None = None) -> Inspection:
    """Reads a store.

    Raises:
        StoreMissing: there is none at this place.
        StoreUnavailable, StoreNewer, StoreCorrupt: it cannot be read.
    """
    return inspect_files(PosixFiles(directory), str(directory), progress)


def inspect_files(files: Files, where: str, progress: Progress | None = None) -> Inspection:
    """Reads a store on any disk; see `inspect_store`."""
    files = ReadOnlyFiles(files)
    progress = progress or Progress()
    before: object = None
    for _ in range(LOOKS_MAX):
        names = frozenset(files.names())
        if not claims(names):
            raise StoreMissing(f"there is no journal in {where}: no broker was ever master of it")
        error: StoreCorrupt | StoreUnavailable | None = None
        try:
            inspection = _look_as_broker(files, names, progress)
        except StoreReadOnly:
            raise
        except (StoreCorrupt, StoreUnavailable) as reason:
            error = reason
            outcome: object = str(reason)
        else:
            outcome = inspection.report.damages
            if not outcome:
                return inspection
        if outcome == before:
            if error is not None:
                raise error
            return inspection
        before = outcome
    raise StoreUnavailable(f"the store {where} changes faster than it can be read: try again")


def _look_as_broker(files: Files, names: frozenset[str], progress: Progress) -> Inspection:
    """Reads a store once, like a broker; and what is left of it, if a broker would refuse."""
    try:
        return _look(files, names, progress, accept_missing=False)
    except StoreIncomplete:
        return _look(files, names, progress, accept_missing=True)


def _look(files: Files, names: frozenset[str], progress: Progress, *, accept_missing: bool) -> Inspection:
    state = State()
    reader = StoreReader(files, state, accept_missing=accept_missing)
    recovered = _recover(reader, progress)
    _apply_last(reader, recovered, state)
    missing = _live_in_missing(files, names, state)
    reader.check_live()
    ruler = reader.report.ruler
    seals = tuple(sorted(seal for seal in recovered.seals if seal.epoch != ruler))
    end = _end(reader)
    return Inspection(
        files=files,
        names=names,
        claimed=max(claims(names)),
        claims=[_claim(files, epoch) for epoch in claims(names)[-CLAIMS_SHOWN:]],
        live=live_epochs(names),
        data_files=[_facts(files, file, seals, ruler, state) for file in data_files(names)],
        checkpoints=_checkpoints(files, names, state),
        seals=seals,
        reached=reader.reached,
        end=end and (str(end[0]), end[1]),
        closed=end is not None and _is_closed(files, reader, *end),
        missing=missing,
        report=reader.report,
        state=state,
    )


def _recover(reader: StoreReader, progress: Progress) -> Recovered:
    steps = reader.read()
    with progress.doing("reading the store's log, batches", 0) as advance:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                recovered: Recovered = end.value
                return recovered
            advance(1)


def _apply_last(reader: StoreReader, recovered: Recovered, state: State) -> None:
    """Applies the last batch where it stands; a successor would copy it into its own first batch."""
    last = reader.last
    if last is None:
        return
    trusted = [*state.checkpoints, *(each for each in recovered.adopted if isinstance(each, Checkpoint))]
    state.salts[last.header.epoch] = last.header.salt
    RecordDecoder().replay(last.data, last.start, last.end, last.base, state)
    state.checkpoints = [each for each in state.checkpoints if each in trusted]


def _live_in_missing(files: Files, names: frozenset[str], state: State) -> dict[str, int]:
    """How many live messages stood in each data file that is not there."""
    present = {data_file_key(*name) for name in data_files(names)}
    gone = state.usage.keys() - present
    if not gone:
        return {}
    keys = Counter(
        place.location >> FILE_SHIFT
        for messages in state.places().values()
        for _, place in messages.entries_after(-1)
    )
    paths = {key: DataFileName(*Location.unpack(key << FILE_SHIFT)[:2]) for key in gone}
    return {files.describe(str(paths[key])): keys[key] for key in sorted(gone)}


def _end(reader: StoreReader) -> tuple[DataFileName, int] | None:
    last = reader.last
    if last is None:
        return None
    header = last.header
    end = header.offset + BATCH_HEADER_BYTES + header.length
    return DataFileName(header.epoch, header.number), end


def _is_closed(files: Files, reader: StoreReader, file: DataFileName, end: int) -> bool:
    """A journal that is closed says that everything was acknowledged, and gives back what was allocated."""
    last = reader.last
    assert last is not None
    if last.header.record_count != 1 or last.data[last.start + 8] != T_EPOCH_END or len(reader.ends) != 1:
        return False
    return not files.read(str(file), end, 1)


def _facts(files: Files, file: DataFileName, seals: Sequence[Seal], ruler: int, state: State) -> FileFacts:
    ends = {seal.epoch: seal.number for seal in seals}
    live = state.usage.get(data_file_key(*file), 0)
    if file.epoch == ruler:
        role = "ruling"
    else:
        role = "sealed" if file.number <= ends.get(file.epoch, -1) else "ignored"
    return FileFacts(str(file), _size(files, str(file)), role, live)


def _size(files: Files, name: str) -> int:
    """Bytes of a file, 0 if it went meanwhile."""
    try:
        return files.written(name, 0)
    except StoreMissing:
        return 0


def _checkpoints(files: Files, names: frozenset[str], state: State) -> list[CheckpointFacts]:
    counting = {(each.epoch, each.number) for each in state.checkpoints}
    return [
        CheckpointFacts(checkpoint_name(*each), _size(files, checkpoint_name(*each)), each in counting)
        for each in checkpoint_files(names)
    ]


def _claim(files: Files, epoch: int) -> ClaimFacts:
    content = files.read(claim_name(epoch), 0, CLAIM_BYTES_MAX)
    return ClaimFacts(epoch, claim_owner(content), claimed_data_files(content))


def claim_owner(content: bytes) -> str:
    """Who a claim says to have taken the epoch, "" if that was lost in a crash."""
    try:
        fields = json.loads(content)
    except ValueError:
        return ""
    owner = fields.get("owner") if isinstance(fields, dict) else None
    return owner if isinstance(owner, str) else ""

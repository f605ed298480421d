"""Reads everything in a store that counts, and says what is damaged, what that costs, and what to do.

Recovery reads a checkpoint and the log behind it; what it finds is the first part. The second are the data
files that it leaves alone, since live messages stand in them: every batch and every record by its checksum,
and every live message at its place. The third are the checkpoints.

A master may remove a file meanwhile: what looks damaged is looked at again, with a fresh reading of the
store, before it is reported.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from journal.branches import plain
from journal.checkpoint import checkpoint_damage
from journal.codec import RecordDecoder, record_seed, whole_record_at
from journal.errors import StoreMissing
from journal.fence import DataFileName, checkpoint_name, data_files
from journal.files import Files
from journal.index import MessageIndex
from journal.inspection import Inspection, inspect_files
from journal.progress import Progress
from journal.readonly import ReadOnlyFiles
from journal.record import (
    FILE_HEADER_BYTES,
    FILE_SHIFT,
    Location,
    Stored,
    data_file_key,
)
from journal.report import Damage
from journal.walk import FileWalk, Gap, records_of

LOST_LISTED_MAX: Final = 10_000
"""Lost messages that are listed one by one; the others are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is damaged.

    Attributes:
        kind: "missing", "short", "damaged" (no batch is whole there), "record" (one of a whole batch is not),
            "header" (of a data file), "checkpoint", "index" (it names a place where another record stands).
        file: path.
        offset: in the file.
        length: in bytes; 0 if that means nothing.
        saved: whole records in the region.
        lost: what that costs, a sentence.
        advice: what to do, a sentence.
    """

    kind: str
    file: str
    offset: int
    length: int
    saved: int
    lost: str
    advice: str

    def __str__(self) -> str:
        """Where it is, in one line."""
        if self.kind == "missing":
            return f"missing: {self.file}"
        if self.kind == "short":
            return f"damaged: {self.file} ends too early, at offset {self.offset}"
        if self.kind == "checkpoint":
            return f"damaged: {self.file} from offset {self.offset}"
        saved = f"; {self.saved} records in them are whole" if self.kind == "damaged" else ""
        return f"damaged: {self.file}, {self.length} bytes from offset {self.offset}{saved}"


@dataclass(frozen=True, slots=True)
class LostMessage:
    """A live message that cannot be read."""

    destination: str
    ref: int
    file: str
    offset: int
    length: int


@dataclass(slots=True)
class Verification:
    """What was found.

    Attributes:
        inspection: the last reading of the store.
        findings: what is damaged; empty if the store is sound.
        lost: live messages that cannot be read, the first so many.
        lost_count: all of them.
        files: data files read through.
        batches: whole ones in them.
        records: whole ones in those.
        messages: live ones that were found at their places.
        checkpoints: whole ones that count.
        notes: what is no damage and worth knowing.
    """

    inspection: Inspection
    findings: list[Finding] = field(default_factory=list)
    lost: list[LostMessage] = field(default_factory=list)
    lost_count: int = 0
    files: int = 0
    batches: int = 0
    records: int = 0
    messages: int = 0
    checkpoints: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        torn = self.inspection.report.torn
        return {
            "sound": self.sound,
            "ruling": self.inspection.report.ruler,
            "owner": self.inspection.report.owner,
            "files": self.files,
            "batches": self.batches,
            "records": self.records,
            "messages": self.messages,
            "checkpoints": self.checkpoints,
            "damages": [asdict(finding) for finding in self.findings],
            "lost_messages": self.lost_count,
            "lost": [asdict(each) for each in self.lost],
            "torn": torn and {"file": torn[0], "offset": torn[1]},
            "notes": self.notes,
        }


LOOKS_MAX: Final = 10
"""At a file of a store that is changing: what is wrong because of that is not the same the next time."""
CHECK_THE_DISK: Final = (
    "Check the disk. A broker serves everything else, and keeps a copy of the region in a quarantine file."
)
IN_THE_LOG: Final = (
    "What stood there beside the whole records: messages of that moment are lost, "
    "and what was consumed at that moment may be delivered again."
)
OF_LIVE_MESSAGES: Final = "The live messages in it that are listed as lost; nothing else of it is needed."
NOTHING: Final = "Nothing."
PUT_BACK: Final = (
    "Put the file back from a copy. If there is none, ignoreMissingJournalfiles=true in the broker's PID "
    "gives up what it held."
)
REPLACED: Final = (
    "Check the disk. The broker reads more of the log instead, and its next checkpoint replaces it."
)
QUARANTINE: Final = "quarantine-"
TELL_US: Final = "Keep a copy of the store and report this: the disk is not to blame."


class Verifier:
    """Reads a store through, once."""

    def __init__(self, files: Files, where: str, progress: Progress) -> None:
        self._files = files
        self._where = where
        self._progress = progress
        self._inspection = inspect_files(files, where, progress)
        self._decoder = RecordDecoder()
        self._found = Verification(self._inspection)

    def verify(self) -> Verification:
        """Does it.

        Raises:
            StoreUnavailable, StoreNewer: something cannot be read.
        """
        found = self._found
        report = self._inspection.report
        found.findings += [self._of_recovery(damage) for damage in report.damages]
        self._verify_files()
        self._verify_checkpoints()
        found.inspection = self._inspection
        found.messages = sum(map(len, _indexes(self._inspection).values())) - found.lost_count
        found.notes += _notes(self._inspection)
        return found

    def _of_recovery(self, damage: Damage) -> Finding:
        """What recovery reports, in our words."""
        place = damage.file, damage.offset, damage.length, damage.saved
        if not damage.offset and not damage.length:
            if "checkpoint-" in damage.file:
                return Finding("checkpoint", *place, NOTHING, REPLACED)
            lost = (
                f"{self._inspection.missing.get(damage.file, 0)} live messages, and what was said of others."
            )
            return Finding("missing", *place, lost, PUT_BACK)
        if not damage.length:
            return Finding("short", *place, "What stood behind that.", CHECK_THE_DISK)
        if damage.length == FILE_HEADER_BYTES and not damage.offset:
            return Finding("header", *place, NOTHING, CHECK_THE_DISK)
        return Finding("damaged", *place, IN_THE_LOG, CHECK_THE_DISK)

    # ---- data files

    def _verify_files(self) -> None:
        """Every data file that counts; the list is made anew whenever the store was read again."""
        total = sum(facts.bytes for facts in self._inspection.data_files)
        checked: set[DataFileName] = set()
        with self._progress.doing("verifying", total) as advance:
            while left := self._counting().keys() - checked:
                name = min(left)
                self._verify_file(name)
                checked.add(name)
                advance(self._counting().get(name, (None, 0))[1])

    def _counting(self) -> dict[DataFileName, tuple[int | None, int]]:
        """The data files that count, each with the offset where that ends, and its bytes."""
        inspection = self._inspection
        ends = {seal.epoch: (seal.number, seal.offset) for seal in inspection.seals}
        if inspection.end is not None:
            (last,) = data_files([inspection.end[0]])
            ends[last.epoch] = last.number, inspection.end[1]
        counting: dict[DataFileName, tuple[int | None, int]] = {}
        for facts in inspection.data_files:
            (name,) = data_files([facts.name])
            number, offset = ends.get(name.epoch, (-1, 0))
            if name.number <= number:
                counting[name] = (offset if name.number == number else None), facts.bytes
            elif facts.live_bytes:
                counting[name] = None, facts.bytes
        return counting

    def _verify_file(self, name: DataFileName) -> None:
        """Looks at a file; what is wrong with it counts if the store has not changed, or if it stays so."""
        before: tuple[list[Finding], list[LostMessage]] | None = None
        for left in reversed(range(LOOKS_MAX)):
            if name not in self._counting():
                return  # nobody needs it any more
            limit, _ = self._counting()[name]
            try:
                seen = self._look_at(name, limit)
            except StoreMissing:  # the master has removed it; if it was somebody else, reading again tells
                if not left:
                    raise
                before = None
                self._read_again()
                continue
            if not any(seen) or seen == before or not (left and self._read_again()):
                self._note(*seen)
                self._found.files += 1
                return
            before = seen

    def _note(self, findings: list[Finding], lost: list[LostMessage]) -> None:
        """Takes over what recovery has not reported yet."""
        found = self._found
        known = {(finding.file, finding.offset) for finding in found.findings}
        found.findings += [each for each in findings if (each.file, each.offset) not in known]
        found.lost += lost[: LOST_LISTED_MAX - len(found.lost)]
        found.lost_count += len(lost)

    def _look_at(self, name: DataFileName, limit: int | None) -> tuple[list[Finding], list[LostMessage]]:
        """What is wrong with a file, and the live messages in it that cannot be read."""
        path = self._files.describe(str(name))
        walk = FileWalk(self._files, name, limit)
        findings: list[Finding] = []
        if walk.headless:
            findings.append(Finding("header", path, 0, FILE_HEADER_BYTES, 0, NOTHING, CHECK_THE_DISK))
        confirmed = 0
        base = Location(*name, 0).pack()
        for part in walk.parts():
            if isinstance(part, Gap):
                confirmed += sum(self._is_live(r, base + offset, length) for r, offset, length in part.saved)
                place = path, part.offset, part.length, len(part.saved)
                findings.append(Finding("damaged", *place, OF_LIVE_MESSAGES, CHECK_THE_DISK))
                continue
            self._found.batches += 1
            for found in records_of(part, self._decoder):
                if found.record is None:
                    place = path, found.offset, found.length, 0
                    findings.append(Finding("record", *place, OF_LIVE_MESSAGES, TELL_US))
                    continue
                self._found.records += 1
                confirmed += self._is_live(found.record, base + found.offset, found.length)
        if confirmed == self._inspection.state.usage.get(data_file_key(*name), 0):
            return findings, []
        lost, strays = self._lost(name)
        return findings + strays, lost

    def _is_live(self, record: object, location: int, length: int) -> int:
        """The record's length if it is that of a live message, which the index says to stand here; else 0."""
        if not isinstance(record, Stored):
            return 0
        found = self._inspection.state.holder(record.ref, record.destination)
        there = found is not None and found[1].place(record.ref) == (location, length)
        return length if there else 0

    def _lost(self, name: DataFileName) -> tuple[list[LostMessage], list[Finding]]:
        """The live messages of a file that cannot be read, and places where something else stands."""
        lost: list[LostMessage] = []
        strays: list[Finding] = []
        path = self._files.describe(str(name))
        key = data_file_key(*name)
        seed = record_seed(self._inspection.state.salts.get(name.epoch, 0))
        for destination, messages in _indexes(self._inspection).items():
            for ref, place in messages.entries_after(-1):
                if place.location >> FILE_SHIFT != key:
                    continue
                offset = Location.unpack(place.location).offset
                data = self._files.read(str(name), offset, place.length)
                whole = whole_record_at(data, 0, len(data), seed) == place.length
                if whole and self._is_message(data, ref, destination):
                    continue
                lost.append(LostMessage(destination, ref, path, offset, place.length))
                if whole:
                    strays.append(Finding("index", path, offset, place.length, 0, OF_LIVE_MESSAGES, TELL_US))
        return lost, strays

    def _is_message(self, data: bytes, ref: int, destination: str) -> bool:
        ((record, _),) = self._decoder.decode(data, 0, len(data))
        if not isinstance(record, Stored):
            return False
        return (record.ref, plain(record.destination)) == (ref, plain(destination))

    # ---- checkpoints

    def _verify_checkpoints(self) -> None:
        """Those that count; one that went meanwhile was replaced by a newer one."""
        for left in reversed(range(LOOKS_MAX)):
            bad: list[Finding] = []
            whole = 0
            for each in self._inspection.state.checkpoints:
                damage = checkpoint_damage(self._files, each.epoch, each.number)
                if damage is None:
                    whole += 1
                    continue
                path = self._files.describe(checkpoint_name(each.epoch, each.number))
                bad.append(Finding("checkpoint", path, damage, 0, 0, NOTHING, REPLACED))
            if not (bad and left and self._read_again()):
                self._found.checkpoints = whole
                self._note(bad, [])
                return

    def _read_again(self) -> bool:
        """Reads the store again; returns whether it has changed."""
        before = self._inspection
        now = self._inspection = inspect_files(self._files, self._where, self._progress)
        return (now.names, now.end) != (before.names, before.end)


def verify_files(files: Files, where: str, progress: Progress | None = None) -> Verification:
    """Reads a store through, on any disk.

    Raises:
        StoreMissing: there is none at this place.
        StoreUnavailable, StoreNewer: it cannot be read.
        StoreCorrupt: so much is damaged that nobody can say what counts.
    """
    return Verifier(ReadOnlyFiles(files), where, progress or Progress()).verify()


def _indexes(inspection: Inspection) -> Mapping[str, MessageIndex]:
    state = inspection.state
    return state.places()


def _notes(inspection: Inspection) -> list[str]:
    """What is no damage and worth knowing."""
    notes: list[str] = []
    if inspection.report.torn is not None:
        file, offset = inspection.report.torn
        notes.append(
            f"torn tail: {file} from offset {offset}; being written, or never acknowledged and ignored"
        )
    copies = sorted(name for name in inspection.names if name.startswith(QUARANTINE))
    if copies:
        notes.append(
            f"{len(copies)} quarantine files hold copies of regions that were damaged before, "
            f"the first is {copies[0]}; remove them when nobody wants to look into them any more"
        )
    return notes

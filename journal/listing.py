"""The records of one data file, in the order in which they stand there; for people who look for something."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from journal.codec import RecordDecoder
from journal.errors import StoreMissing
from journal.fence import DataFileName, data_files
from journal.inspection import Inspection
from journal.record import (
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
)
from journal.walk import FileWalk, Gap, records_of

NAMES: Final[dict[type, str]] = {
    AddMessage: "add-message",
    MovedMessage: "move-message",
    RemoveMessage: "remove-message",
    AddDestination: "add-destination",
    RemoveDestination: "remove-destination",
    AddSubscription: "add-subscription",
    RemoveSubscription: "remove-subscription",
    AcknowledgeSubscription: "acknowledge-subscription",
    AddScheduled: "add-scheduled",
    Reschedule: "reschedule",
    Memory: "memory",
    Redelivered: "redelivered",
    Audience: "audience",
    Note: "note",
    PrepareBranch: "prepare-branch",
    CommitBranch: "commit-branch",
    RollBackBranch: "roll-back-branch",
    Checkpoint: "checkpoint",
    EpochBegin: "epoch-begin",
    EpochEnd: "epoch-end",
}


class ListedRecord(NamedTuple):
    """A line of the listing.

    Attributes:
        offset: in the file.
        length: in bytes.
        batch: number of its batch; 0 in a damaged region.
        kind: of the record, or "damaged" for a region that nothing could be read from.
        fields: what it says; of bodies and producers only how much.
    """

    offset: int
    length: int
    batch: int
    kind: str
    fields: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """One flat object."""
        return {
            "offset": self.offset,
            "length": self.length,
            "batch": self.batch,
            "kind": self.kind,
            **self.fields,
        }


def chosen_file(inspection: Inspection, name: str | None) -> DataFileName:
    """The data file with a name; without one that in which the log ends.

    Raises:
        StoreMissing: there is none.
    """
    files = data_files(inspection.names)
    if name is not None:
        wanted = data_files([name])
        if not wanted or wanted[0] not in files:
            raise StoreMissing(f"the store has no data file {name}; `inspect` lists those it has")
        return wanted[0]
    if inspection.end is not None:
        return data_files([inspection.end[0]])[0]
    if not files:
        raise StoreMissing("the store has no data file")
    return files[-1]


def list_records(inspection: Inspection, name: DataFileName) -> Iterator[ListedRecord]:
    """The records of a data file; of damaged regions those that are whole.

    Raises:
        StoreUnavailable: the file went meanwhile, or cannot be read.
    """
    decoder = RecordDecoder()
    for part in FileWalk(inspection.files, name).parts():
        if isinstance(part, Gap):
            yield ListedRecord(part.offset, part.length, 0, "damaged", {"whole_records": len(part.saved)})
            for record, offset, length in part.saved:
                yield ListedRecord(offset, length, 0, *_described(record))
            continue
        for found in records_of(part, decoder):
            if found.record is None:
                yield ListedRecord(found.offset, found.length, found.batch, "damaged", {"whole_records": 0})
            else:
                yield ListedRecord(found.offset, found.length, found.batch, *_described(found.record))


def _described(record: AnyRecord) -> tuple[str, dict[str, Any]]:
    """Kind and fields."""
    return NAMES[type(record)], _fields(record)


def _fields(record: AnyRecord) -> dict[str, Any]:
    if isinstance(record, Checkpoint):
        return {"epoch": record.epoch, "number": record.number, "at": record.at._asdict()}
    fields: dict[str, Any] = {slot: getattr(record, slot) for slot in type(record).__slots__}
    if "body" in fields:
        fields["body_bytes"] = len(fields.pop("body"))
    if isinstance(record, Note):
        fields["value_bytes"] = len(fields.pop("value"))
    if isinstance(record, Memory):
        fields["producers"] = len(record.producers)
    if isinstance(record, PrepareBranch):
        for kind in ("sent", "consumed"):
            fields[kind] = {name: [held.ref for held in each] for name, each in fields[kind].items()}
        fields["acknowledged"] = [
            {"client_id": client_id, "name": name, "refs": [held.ref for held in each]}
            for (client_id, name), each in record.acknowledged.items()
        ]
    if isinstance(record, EpochBegin):
        fields["seals"] = [seal._asdict() for seal in record.seals]
    return fields

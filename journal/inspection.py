"""Looks at a store, of a living or a dead master, without touching it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journal.errors import StoreMissing
from journal.fence import claims, data_files, live_epochs, run
from journal.files import Files, PosixFiles
from journal.index import MessageIndex
from journal.record import FORMAT_VERSION
from journal.recovery import Report, StoreReader
from journal.state import State


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found.

    Attributes:
        claimed: the highest epoch ever claimed, 0 in a new store.
        live: epochs that may still acknowledge; more than one only while a takeover is under way.
        files: name of each data file, the bytes in it, and whether it counts: "ruling", "sealed" or
            "ignored".
        report: of the reading.
        state: what is live, the last batch included, which may not be acknowledged yet.
    """

    claimed: int
    live: list[int]
    files: list[tuple[str, int, str]]
    report: Report
    state: State

    def to_json(self) -> dict[str, Any]:
        """All of it but the messages themselves."""
        state = self.state
        return {
            "format": FORMAT_VERSION,
            "claimed": self.claimed,
            "live": self.live,
            "ruling": self.report.ruler,
            "owner": self.report.owner,
            "files": [{"name": name, "bytes": size, "role": role} for name, size, role in self.files],
            "batches": self.report.batches,
            "records": self.report.records,
            "damages": [damage._asdict() for damage in self.report.damages],
            "torn": self.report.torn and {"file": self.report.torn[0], "offset": self.report.torn[1]},
            "queues": _sizes(state.queues),
            "topics": _sizes(state.topics),
            "subscriptions": [
                {
                    "client_id": s.client_id,
                    "name": s.name,
                    "destination": s.destination,
                    "selector": s.selector,
                    "no_local": s.no_local,
                    "pending": len(s.pending),
                }
                for s in state.subscriptions.values()
            ],
            "producers": len(state.producers),
            "next_ref": state.next_ref,
        }


def _sizes(destinations: dict[str, MessageIndex]) -> dict[str, dict[str, int]]:
    """Messages of each destination, and the bytes of their records."""
    return {
        name: {
            "messages": len(messages),
            "bytes": sum(place.length for _, place in messages.entries_after(-1)),
        }
        for name, messages in sorted(destinations.items())
    }


def inspect_store(directory: Path) -> Inspection:
    """Reads a store.

    Raises:
        StoreMissing: there is none at this place.
        StoreUnavailable, StoreNewer, StoreCorrupt: it cannot be read.
    """
    return inspect_files(PosixFiles(directory), str(directory))


def inspect_files(files: Files, where: str) -> Inspection:
    """Reads a store on any disk; see `inspect_store`."""
    names = files.names()
    if not claims(names):
        raise StoreMissing(f"there is no journal in {where}: no broker was ever master of it")
    state = State()
    reader = StoreReader(files, state, accept_missing=True)
    recovered = run(reader.read())
    for record in recovered.adopted:
        state.apply(record, 0, 1)
    state.usage.pop(0, None)
    reader.check_live()
    ruler = reader.report.ruler
    sealed = {seal.epoch for seal in recovered.seals} - {ruler}
    roles = dict.fromkeys(sealed, "sealed") | {ruler: "ruling"}
    return Inspection(
        claimed=max(claims(names)),
        live=live_epochs(names),
        files=[(str(f), files.written(str(f), 0), roles.get(f.epoch, "ignored")) for f in data_files(names)],
        report=reader.report,
        state=state,
    )

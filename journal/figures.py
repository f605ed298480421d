"""Figures of a store: what is queued where, what of the data files is alive, and whether P9 is kept."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from journal.fence import checkpoint_files, data_files, reserves
from journal.index import MessageIndex
from journal.inspection import FileFacts, Inspection, record_bytes
from journal.options import DATA_FILE_BYTES

LIVE_SHARE: Final = 2
"""P9: the disk may take so many times the live bytes …"""
DATA_FILES: Final = 2
"""… and so many data files."""


@dataclass(frozen=True, slots=True)
class DestinationFigures:
    """A queue, or a topic with messages that durable subscriptions wait for.

    Attributes:
        name: like `queue://orders`.
        messages: that are live.
        bytes: of their records.
        oldest_ref: number of the oldest, 0 if there is none.
        newest_ref: of the newest.
    """

    name: str
    messages: int
    bytes: int
    oldest_ref: int
    newest_ref: int


@dataclass(frozen=True, slots=True)
class SubscriptionFigures:
    """A durable subscription; the numbers as above, of what is pending for it."""

    client_id: str
    name: str
    destination: str
    selector: str
    pending: int
    oldest_ref: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it.

    Attributes:
        destinations: those with most bytes first.
        subscriptions: those with most pending first.
        producers: whose last sequence is remembered.
        next_ref: one above the highest number ever given to a message.
        files: the data files.
        messages: that are live.
        live_bytes: of their records.
        data_bytes: of all data files, as far as something was written.
        checkpoint_bytes: of all checkpoints.
        reserve_bytes: kept for a full disk.
        other_bytes: of claims, tokens and quarantine files.
        disk_bytes: what data files and checkpoints take on the disk, with what is allocated ahead.
        bound_bytes: what they may take.
    """

    destinations: list[DestinationFigures]
    subscriptions: list[SubscriptionFigures]
    producers: int
    next_ref: int
    files: list[FileFacts]
    messages: int
    live_bytes: int
    data_bytes: int
    checkpoint_bytes: int
    reserve_bytes: int
    other_bytes: int
    disk_bytes: int
    bound_bytes: int

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            **asdict(self),
            "files": [
                {**facts._asdict(), "dead_bytes": max(facts.bytes - facts.live_bytes, 0)}
                for facts in self.files
            ],
            "within_bound": self.disk_bytes <= self.bound_bytes,
        }


def figures_of(inspection: Inspection, taken: Mapping[str, int]) -> Figures:
    """The figures of a store.

    Args:
        inspection: of it.
        taken: bytes that each of its files takes on the disk.
    """
    state = inspection.state
    destinations = [_figures(*each) for each in state.places().items()]
    subscriptions = [
        SubscriptionFigures(
            each.client_id,
            each.name,
            each.destination,
            each.selector,
            len(each.pending),
            next(iter(each.pending), 0),
        )
        for each in state.subscriptions.values()
    ]
    numbered = {str(name) for name in data_files(taken)}
    checkpoints = sum(size for name, size in taken.items() if checkpoint_files([name]))
    reserve = sum(size for name, size in taken.items() if reserves([name]))
    data = sum(size for name, size in taken.items() if name in numbered)
    live_bytes = sum(each.bytes for each in destinations)
    return Figures(
        destinations=sorted(destinations, key=lambda each: (-each.bytes, each.name)),
        subscriptions=sorted(subscriptions, key=lambda each: (-each.pending, each.client_id, each.name)),
        producers=len(state.producers),
        next_ref=state.next_ref,
        files=inspection.data_files,
        messages=sum(each.messages for each in destinations),
        live_bytes=live_bytes,
        data_bytes=sum(facts.bytes for facts in inspection.data_files),
        checkpoint_bytes=checkpoints,
        reserve_bytes=reserve,
        other_bytes=sum(taken.values()) - checkpoints - reserve - data,
        disk_bytes=data + checkpoints,
        bound_bytes=LIVE_SHARE * live_bytes + DATA_FILES * DATA_FILE_BYTES,
    )


def _figures(name: str, messages: MessageIndex) -> DestinationFigures:
    return DestinationFigures(
        name, len(messages), record_bytes(messages), next(iter(messages), 0), messages.last_ref
    )

"""The fence: who may acknowledge. The reasoning is in `docs/explanation/fence.md`.

A mastership of the store is an epoch, a number. `claim-<n>` says that epoch n was taken, `live-<n>` that it
may still acknowledge. Claims are never removed: a number that could be taken twice would be no fence.

Everything here and in `journal.mastership` is written as steps: generators that do one thing to the disk,
then yield what they did. The writer thread runs them to the end; the simulation lets other brokers run, or
die, between any two.
"""

import json
import re
from collections.abc import Generator, Iterable
from typing import Final, NamedTuple, TypeVar

from journal.errors import StoreFailed, StoreFenced
from journal.files import Files
from journal.record import EPOCHS_MAX, FORMAT_VERSION

T = TypeVar("T")
Steps = Generator[str, None, T]
"""Something done step by step; what is yielded names the step just done."""

_CLAIM: Final = re.compile(r"claim-(\d+)")
_LIVE: Final = re.compile(r"live-(\d+)")
_CHECKPOINT: Final = re.compile(r"checkpoint-(\d+)-(\d+)")
_DATA: Final = re.compile(r"data-(\d+)-(\d+)")
_RESERVE: Final = re.compile(r"reserve-(\d+)")


CLAIM_BYTES_MAX: Final = 4096
"""More than any claim holds."""


class DataFileName(NamedTuple):
    """A data file's place in the log; its name carries it, so that two brokers never write one file."""

    epoch: int
    number: int

    def __str__(self) -> str:
        """The name in the directory; padded so that a listing is in order."""
        return f"data-{self.epoch:06d}-{self.number:06d}"


def claim_name(epoch: int) -> str:
    """The file that says that an epoch was taken."""
    return f"claim-{epoch}"


def live_name(epoch: int) -> str:
    """The file that says that an epoch may still acknowledge."""
    return f"live-{epoch}"


def quarantine_name(epoch: int, number: int, offset: int) -> str:
    """The file that keeps a damaged region of a data file."""
    return f"quarantine-{epoch:06d}-{number:06d}-{offset}"


def checkpoint_name(epoch: int, number: int) -> str:
    """The file of a checkpoint that an epoch has written."""
    return f"checkpoint-{epoch:06d}-{number:06d}"


def reserve_name(epoch: int) -> str:
    """The file that keeps space for an epoch, see `journal.reserve`."""
    return f"reserve-{epoch}"


def reserves(names: Iterable[str]) -> list[int]:
    """The epochs with a reserve, ascending."""
    return sorted(int(match[1]) for match in map(_RESERVE.fullmatch, names) if match)


def checkpoint_files(names: Iterable[str]) -> list[tuple[int, int]]:
    """Epoch and number of the checkpoints there are, ascending; whether they count is another question."""
    return sorted((int(match[1]), int(match[2])) for match in map(_CHECKPOINT.fullmatch, names) if match)


def claims(names: Iterable[str]) -> list[int]:
    """The epochs claimed, ascending."""
    return sorted(int(match[1]) for match in map(_CLAIM.fullmatch, names) if match)


def live_epochs(names: Iterable[str]) -> list[int]:
    """The epochs with a live token, ascending."""
    return sorted(int(match[1]) for match in map(_LIVE.fullmatch, names) if match)


def data_files(names: Iterable[str]) -> list[DataFileName]:
    """The data files in the order of the log."""
    return sorted(
        DataFileName(int(match[1]), int(match[2])) for match in map(_DATA.fullmatch, names) if match
    )


def claim_content(owner: str, data_files: int) -> bytes:
    """What a claim says: who, and how many data files of the epoch are known to hold batches.

    The number is noted after a new file's first batch has passed the fence check. It is never too high, so
    that a data file that was deleted is missed, even if it was the last one.
    """
    return json.dumps({"owner": owner, "format": FORMAT_VERSION, "data_files": data_files}).encode() + b"\n"


def claimed_data_files(content: bytes) -> int:
    """The number of data files that a claim says to exist, 0 if it was lost in a crash."""
    try:
        fields = json.loads(content)
    except ValueError:
        return 0
    count = fields.get("data_files") if isinstance(fields, dict) else None
    return count if isinstance(count, int) else 0


def run(steps: Steps[T]) -> T:
    """Does all steps at once.

    Raises:
        JournalError: whatever a step raises.
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def check(files: Files, epoch: int) -> None:
    """Whether an epoch may still acknowledge: its token can be opened.

    Raises:
        StoreFenced: it cannot; whatever was written since the last check counts for nothing.
        StoreFailed: that could not be found out, which is the same to whoever waits for an acknowledgement.
    """
    if not files.opens(live_name(epoch)):
        raise StoreFenced(f"another broker took the store over: {files.describe(live_name(epoch))} is gone")


def claim(files: Files, owner: str) -> Steps[int]:
    """Takes the next epoch and takes all lower ones their tokens; then, and only then, may the log be read.

    Args:
        files: the store.
        owner: who we are, for people who look into the claim.

    Returns:
        The epoch.

    Raises:
        StoreFenced: another broker claims the store at the same time. It may serve by now: whoever lost asks
            its election whether it should still become master before it tries again.
        StoreFailed: there are no numbers left.
    """
    epoch = max(claims(files.names()), default=0) + 1
    if epoch >= EPOCHS_MAX:
        raise StoreFailed(
            f"the store had {epoch - 1} masters and cannot have more: export its messages, "
            "and import them into a new one"
        )
    yield f"read claims below {epoch}"
    content = claim_content(owner, 0)
    if not files.create(claim_name(epoch), content):
        raise StoreFenced(f"another broker claimed epoch {epoch} of the store at the same moment")
    yield f"created {claim_name(epoch)}"
    files.create(live_name(epoch), content)
    yield f"created {live_name(epoch)}"
    files.sync_directory()
    yield "synced the directory"
    names = files.names()
    if max(claims(names)) > epoch:
        raise StoreFenced(
            f"another broker claimed a higher epoch than {epoch} of the store at the same moment"
        )
    yield "found no higher claim"
    for lower in live_epochs(names):
        if lower < epoch:
            files.remove(live_name(lower))
            yield f"removed {live_name(lower)}"
    files.sync_directory()
    yield "synced the directory"
    return epoch

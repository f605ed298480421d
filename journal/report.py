"""What was found while a store was read."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Damage(NamedTuple):
    """A region of a data file that cannot be read any more.

    Attributes:
        file: path of the data file.
        offset: where the region starts in it.
        length: in bytes.
        saved: records in it that were whole.
        quarantine: path of the copy, "" if none was made.
    """

    file: str
    offset: int
    length: int
    saved: int
    quarantine: str

    def __str__(self) -> str:
        """One line for the log."""
        if not self.offset and not self.length:
            return f"missing: {self.file}; what it held is lost"
        if not self.length:
            return f"damaged: {self.file} ends too early, at offset {self.offset}"
        kept = f", copy in {self.quarantine}" if self.quarantine else ""
        return (
            f"damaged: {self.file}, {self.length} bytes from offset {self.offset}; "
            f"{self.saved} records in them are whole and were delivered{kept}"
        )


@dataclass(slots=True)
class Report:
    """What was found while a store was read.

    Attributes:
        ruler: the ruling epoch, 0 in a new store.
        owner: who wrote it.
        batches: batches that count.
        records: records that count.
        damages: in the order of the log.
        torn: file and offset of a torn tail.
        checkpoint: name of the checkpoint that reading began with, "" if there was none.
    """

    ruler: int = 0
    owner: str = ""
    batches: int = 0
    records: int = 0
    damages: list[Damage] = field(default_factory=list)
    torn: tuple[str, int] | None = None
    checkpoint: str = ""

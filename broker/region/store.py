"""What a region needs of its journal; `journal.Journal` offers it, and so does a fake in tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from journal.record import Record
from journal.state import State


class Store(Protocol):
    """The journal as the region sees it."""

    @property
    def state(self) -> State:
        """The live messages and subscriptions, current after every append."""
        ...

    @property
    def durable_batch(self) -> int:
        """The highest batch that is synced and fence-checked."""
        ...

    @property
    def full(self) -> bool:
        """Whether its disk is full: it still takes everything, but not much of it."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be written that sends should wait a moment; asked every turn."""
        ...

    @property
    def live_bytes(self) -> int:
        """Bytes of the records of live messages; asked every turn."""
        ...

    def has_room(self, size_bytes: int) -> bool:
        """Whether a record so long fits the disk; asked for long ones."""
        ...

    def append(self, records: Sequence[Record]) -> int:
        """Take the records into one batch and return its number."""
        ...

    def read(self, ref: int, destination: str) -> bytes:
        """The body of a live message of a destination."""
        ...

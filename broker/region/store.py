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

    def append(self, records: Sequence[Record]) -> int:
        """Take the records into one batch and return its number."""
        ...

    def read(self, ref: int, destination: str) -> bytes:
        """The body of a live message of a destination."""
        ...

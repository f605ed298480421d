"""What has to be done by the clock that the region does not know of."""

from __future__ import annotations

from typing import Protocol


class Task(Protocol):
    """Something a protocol does for clients that are not there."""

    @property
    def due_ms(self) -> int | None:
        """When `run` is to be called, milliseconds since the epoch; None: never."""
        ...

    def run(self) -> None:
        """Do what is due."""
        ...

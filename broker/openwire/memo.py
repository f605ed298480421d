"""Remembers what some bytes mean, for bytes that come again with every message: ids and destinations."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

ENTRIES_MAX: Final = 10_000
"""Entries of one memo; when it is full it starts anew. More than a busy broker's consumers and producers."""

KEY_BYTES_MAX: Final = 512
"""Longer keys are not remembered, so that a memo stays below 10 MB; real ones have some tens of bytes."""

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """A bounded table of bytes and their meaning.

    Attributes:
        get: the meaning of some bytes, None if it is not known.
    """

    __slots__ = ("_entries", "get")

    def __init__(self) -> None:
        self._entries: dict[bytes, Value] = {}
        self.get = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: bytes, value: Value) -> None:
        """Remembers a meaning."""
        if len(key) <= KEY_BYTES_MAX:
            if len(self._entries) >= ENTRIES_MAX:
                self._entries.clear()
            self._entries[key] = value

"""What protocols keep for their clients beside messages and subscriptions: small values by owner and key."""

from collections.abc import Iterator, Mapping

from journal.record import Note

_NOTHING: Mapping[str, bytes] = {}
ENTRY_BYTES = 16
"""About what an entry takes in a checkpoint beyond its key and value."""


class Notes:
    """The notes of a store.

    Attributes:
        bytes: about what they take in a checkpoint.
    """

    __slots__ = ("_owners", "bytes")

    def __init__(self) -> None:
        self._owners: dict[str, dict[str, bytes]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        """How many there are."""
        return sum(map(len, self._owners.values()))

    def __iter__(self) -> Iterator[str]:
        """The owners that have any."""
        return iter(self._owners)

    def of(self, owner: str) -> Mapping[str, bytes]:
        """What an owner has, by key, in the order in which the keys came."""
        return self._owners.get(owner, _NOTHING)

    def take(self, record: Note) -> None:
        """A note was written, or taken back."""
        owner, key = record.owner, record.key
        notes = self._owners.get(owner)
        if not key:
            self._owners.pop(owner, None)
            for each, value in (notes or _NOTHING).items():
                self.bytes -= _size(each, value)
            return
        if notes is not None and (former := notes.get(key)) is not None:
            self.bytes -= _size(key, former)
        if record.value:
            if notes is None:
                notes = self._owners[owner] = {}
            notes[key] = record.value
            self.bytes += _size(key, record.value)
        elif notes is not None:
            notes.pop(key, None)
            if not notes:
                del self._owners[owner]

    def load(self, owner: str, notes: Mapping[str, bytes]) -> None:
        """What a checkpoint holds of an owner."""
        for key, value in notes.items():
            self.take(Note(owner, key, value))

    def view(self) -> dict[str, dict[str, bytes]]:
        """All of them, as they are now."""
        return {owner: notes.copy() for owner, notes in self._owners.items()}

    def records(self) -> list[Note]:
        """The records that write the same notes."""
        return [Note(owner, *each) for owner, notes in self._owners.items() for each in notes.items()]


def _size(key: str, value: bytes) -> int:
    return ENTRY_BYTES + len(key) + len(value)

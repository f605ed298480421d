"""A store that is only looked at: whoever reads it through this cannot change it, whatever goes wrong."""

from typing import NoReturn

from journal.files import Files


class ReadOnlyFiles:
    """Passes on what reads; everything that would change the store is a programmer's error."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def names(self) -> list[str]:
        """Names of all files."""
        return self._files.names()

    def opens(self, name: str) -> bool:
        """Whether a file exists."""
        return self._files.opens(name)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Bytes of a file."""
        return self._files.read(name, offset, length)

    def written(self, name: str, offset: int) -> int:
        """Behind this a file holds nothing but zeros."""
        return self._files.written(name, offset)

    def free_bytes(self) -> int:
        """How many bytes of the disk could still be allocated."""
        return self._files.free_bytes()

    def describe(self, name: str) -> str:
        """A file's path."""
        return self._files.describe(name)

    def create(self, name: str, content: bytes) -> NoReturn:
        """Refuses."""
        raise _changed(name, f"created with {len(content)} bytes")

    def note(self, name: str, content: bytes) -> NoReturn:
        """Refuses."""
        raise _changed(name, f"replaced by {len(content)} bytes")

    def remove(self, name: str) -> NoReturn:
        """Refuses."""
        raise _changed(name, "removed")

    def sync_directory(self) -> NoReturn:
        """Refuses."""
        raise _changed("its directory", "synced")

    def create_data(self, name: str, allocated: int) -> NoReturn:
        """Refuses."""
        raise _changed(name, f"created with {allocated} bytes")

    def allocate(self, name: str, length: int) -> NoReturn:
        """Refuses."""
        raise _changed(name, f"made to take {length} bytes")

    def trim(self, name: str, length: int) -> NoReturn:
        """Refuses."""
        raise _changed(name, f"cut to {length} bytes")


def _changed(name: str, how: str) -> AssertionError:
    return AssertionError(f"a store that is only looked at would have been changed: {name} would be {how}")

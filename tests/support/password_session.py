"""A registry in memory that knows its password, and to which passwords its znodes were given."""

from collections.abc import Callable, Sequence

from support.memory_session import MemorySession

from registry import paths
from registry.password import ToldPassword, parse_told


class PasswordSession(MemorySession):
    """One session with it.

    Attributes:
        password: as the session uses it.
        given: the passwords that all znodes were given to, each time.
    """

    def __init__(self, password: str) -> None:
        super().__init__()
        self.password = password
        self.given: list[tuple[str, ...]] = []
        self._open_to: tuple[str, ...] = (password,)

    def adopt(self, told: ToldPassword) -> None:
        """Use another password."""
        self.password = told.password

    def told_password(self) -> ToldPassword | None:
        """Read what the registry says."""
        node = self.get_or_none(paths.ensemble_password())
        return None if node is None else parse_told(node.data)

    def give_tree(self, passwords: Sequence[str], report: Callable[[int], None]) -> int:
        """Give everything to the passwords."""
        self.given.append(tuple(passwords))
        report(1)
        changed, self._open_to = int(self._open_to != tuple(passwords)), tuple(passwords)
        return changed

    def answer(self, container: str) -> None:
        """Let a container say that it has taken over what is told."""
        told = self.told_password()
        assert told is not None
        self.put(paths.ensemble_password_taken(container), told.step.encode())

"""The sends of one connection that wait for space, each session's in its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.errors import ClientError, SendBlocked, SpaceLacking

if TYPE_CHECKING:
    from broker.region.account import Account
    from broker.region.connection import RegionConnection
    from broker.region.usage import Usage

Answer = Callable[[int | ClientError], None]
"""Told once how a send went: the batch that makes it durable (0: at once), or why it was refused."""


@dataclass(slots=True, eq=False)
class BlockedSend:
    """One of them.

    Attributes:
        again: tries it again; returns and raises what the first attempt did.
        answer: see `Answer`.
        transaction: the send is a part of it, or its commit.
        commits: it is the commit.
        stored: it takes space in the store; otherwise in memory.
        size_bytes: what it takes of memory while it waits.
        line: of whom it is; those of one line keep their order.
        account: says what it waits for.
        deadline_ms: then it is refused; 0: it waits for ever.
    """

    again: Callable[[], int]
    answer: Answer
    transaction: str | None
    commits: bool
    stored: bool
    size_bytes: int
    line: str
    account: Usage | Account
    deadline_ms: int = 0


class BlockedSends:
    """Lines of sends; while one is not empty, every further send of its session goes to its end.

    Attributes:
        bytes: of memory that they take.
        releasing: the first of a line is being tried: it does not wait for itself.
    """

    def __init__(self, connection: RegionConnection) -> None:
        self._connection = connection
        self._lines: dict[str, deque[BlockedSend]] = {}
        """The line that had its turn last stands at the end."""
        self.bytes = 0
        self.releasing = False

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    @property
    def deadline_ms(self) -> int:
        """When the next is to be refused; 0: never."""
        return min((line[0].deadline_ms for line in self._lines.values() if line[0].deadline_ms), default=0)

    def stops(self, line: str) -> bool:
        """Whether a further send of this line has to wait behind others."""
        return line in self._lines and not self.releasing

    def holds(self, transaction: str) -> bool:
        """Whether a part of the transaction waits."""
        return any(
            send.transaction == transaction and not send.commits
            for line in self._lines.values()
            for send in line
        )

    def add(self, send: BlockedSend) -> None:
        """One more waits."""
        self._lines.setdefault(send.line, deque()).append(send)
        self.bytes += send.size_bytes

    def release(self, *, storing: bool) -> bool:
        """Try the first of each line again; whether one was answered.

        Args:
            storing: the store takes messages; otherwise those that need it are not tried.
        """
        for name, line in list(self._lines.items()):
            send = line[0]
            if storing or not send.stored:
                outcome = self._try(send)
                if outcome is not None:
                    self._take_out(send)
                    if line:
                        del self._lines[name]
                        self._lines[name] = line
                    self._answer(send, outcome)
                    return True
        return False

    def _try(self, send: BlockedSend) -> int | ClientError | None:
        """How it went; None: it has to go on waiting."""
        self.releasing = True
        try:
            return send.again()
        except SendBlocked:
            return None
        except ClientError as error:
            return error
        finally:
            self.releasing = False

    def expire(self, now_ms: int) -> bool:
        """Refuse those that have waited too long; whether there were any."""
        expired = False
        for line in list(self._lines.values()):
            while line and 0 < line[0].deadline_ms <= now_ms:
                send = line[0]
                lack = send.account.lack(stored=send.stored)
                error = SpaceLacking(lack or "There was no space for the message in time; try again.")
                self._take_out(send)
                self._connection.transactions.refuse(send.transaction or "", error, ending=send.commits)
                self._answer(send, error)
                expired = True
        return expired

    def drop(self, transaction: str) -> None:
        """The transaction is rolled back: what waits of it was taken, and is undone."""
        for line in list(self._lines.values()):
            for send in [each for each in line if each.transaction == transaction]:
                self._take_out(send)
                self.bytes -= send.size_bytes
                send.answer(0)
        if not self._lines:
            self._connection.region.usage.waiting.pop(self, None)

    def clear(self) -> None:
        """The connection is closed: nobody waits for answers."""
        self._lines.clear()
        self.bytes = 0

    def _take_out(self, send: BlockedSend) -> None:
        line = self._lines[send.line]
        line.remove(send)
        if not line:
            del self._lines[send.line]

    def _answer(self, send: BlockedSend, outcome: int | ClientError) -> None:
        self.bytes -= send.size_bytes
        self._connection.region.touched[self._connection] = None
        send.answer(outcome)

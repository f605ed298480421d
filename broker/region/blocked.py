"""The sends of one connection that wait for space, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.errors import ClientError, SendBlocked, SpaceLacking

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection

Answer = Callable[[int | ClientError], None]
"""Told once how a send went: the batch that makes it durable (0: at once), or why it was refused."""


@dataclass(slots=True)
class BlockedSend:
    """One of them.

    Attributes:
        again: tries it again; returns and raises what the first attempt did.
        answer: see `Answer`.
        transaction: the send is a part of it, or its commit.
        commits: it is the commit.
        stored: it takes space in the store; otherwise in memory.
        size_bytes: what it takes of memory while it waits.
        deadline_ms: then it is refused; 0: it waits for ever.
    """

    again: Callable[[], int]
    answer: Answer
    transaction: str | None
    commits: bool
    stored: bool
    size_bytes: int
    deadline_ms: int


class BlockedSends:
    """A line of sends; while it is not empty, every further send of the connection goes to its end.

    Attributes:
        bytes: of memory that they take.
        releasing: the first is being tried: it does not wait for itself.
    """

    def __init__(self, connection: RegionConnection) -> None:
        self._connection = connection
        self._sends: deque[BlockedSend] = deque()
        self.bytes = 0
        self.releasing = False

    def __len__(self) -> int:
        return len(self._sends)

    @property
    def deadline_ms(self) -> int:
        """When the first is to be refused; 0: never."""
        return self._sends[0].deadline_ms if self._sends else 0

    @property
    def stored(self) -> bool:
        """Whether the first waits for the store."""
        return bool(self._sends) and self._sends[0].stored

    def holds(self, transaction: str) -> bool:
        """Whether a part of the transaction waits."""
        return any(send.transaction == transaction for send in self._sends)

    def add(self, send: BlockedSend) -> None:
        """One more waits."""
        self._sends.append(send)
        self.bytes += send.size_bytes

    def release(self) -> bool:
        """Try the first again; whether it was answered."""
        send = self._sends[0]
        outcome: int | ClientError
        self.releasing = True
        try:
            outcome = send.again()
        except SendBlocked:
            return False
        except ClientError as error:
            outcome = error
        finally:
            self.releasing = False
        self._sends.popleft()
        self._answer(send, outcome)
        return True

    def expire(self, now_ms: int) -> bool:
        """Refuse those that have waited too long; whether there were any."""
        expired = False
        while self._sends and 0 < self._sends[0].deadline_ms <= now_ms:
            send = self._sends[0]
            usage = self._connection.region.usage
            lack = usage.store_lack() if send.stored else usage.volatile_lack()
            error = SpaceLacking(lack or "There was no space for the message in time; try again.")
            self._sends.popleft()
            self._connection.refuse(send, error)
            self._answer(send, error)
            expired = True
        return expired

    def drop(self, transaction: str) -> None:
        """The transaction is rolled back: what waits of it was taken, and is undone."""
        for send in [each for each in self._sends if each.transaction == transaction]:
            self._sends.remove(send)
            self.bytes -= send.size_bytes
            send.answer(0)
        if not self._sends:
            self._connection.region.usage.waiting.pop(self, None)

    def clear(self) -> None:
        """The connection is closed: nobody waits for answers."""
        self._sends.clear()
        self.bytes = 0

    def _answer(self, send: BlockedSend, outcome: int | ClientError) -> None:
        self.bytes -= send.size_bytes
        self._connection.region.touched[self._connection] = None
        send.answer(outcome)

"""Asynchronous sends of one session whose program wants to hear how each of them went."""

from __future__ import annotations

import functools
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mqclient.errors import ClientError, IllegalState
from mqclient.message import Message

LOG = logging.getLogger("mqclient.producer")


class CompletionListener(Protocol):
    """As in JMS 2.0: told once of each send, in another thread, in the order of the sends."""

    def on_completion(self, message: Message) -> None:
        """The broker has the message."""
        ...

    def on_exception(self, message: Message, error: ClientError) -> None:
        """The broker has refused the message, or nobody knows whether it has it."""
        ...


Completion = Callable[[Message, ClientError | None], None] | CompletionListener
"""A listener, or a function that is called with the message, and the error if there was one."""


@dataclass(slots=True, eq=False)
class PendingCompletion:
    """A send that was not told of yet.

    Attributes:
        call: tells of it.
        done: the broker has answered.
        error: how.
    """

    call: Callable[[ClientError | None], None]
    done: bool = False
    error: ClientError | None = None


class Completions:
    """The sends of one session that wait for their answers, in order.

    A send that is answered before an earlier one, as non-persistent ones are, is told of after it.

    Args:
        lock: of the connection.
        later: has something called in the connection's notification thread.
    """

    def __init__(self, lock: threading.Lock, later: Callable[[Callable[[], None]], None]) -> None:
        self._later = later
        self._pending: deque[PendingCompletion] = deque()
        self._told = threading.Condition(lock)
        self._untold = 0
        self._inside: int | None = None
        """The thread that tells the program now."""

    def add(self, message: Message, completion: Completion) -> PendingCompletion:
        """A send begins; the lock is held."""
        pending = PendingCompletion(_caller(message, completion))
        self._pending.append(pending)
        self._untold += 1
        return pending

    def withdraw(self, pending: PendingCompletion) -> None:
        """It could not even be begun, which its caller was told; the lock is held."""
        self._pending.remove(pending)
        self._untold -= 1

    def done(self, pending: PendingCompletion, error: ClientError | None) -> None:
        """A send was answered; the lock is held."""
        pending.done, pending.error = True, error
        while self._pending and self._pending[0].done:
            self._later(functools.partial(self._tell, self._pending.popleft()))

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until the program was told of all; whether that was in time. The lock is not held."""
        with self._told:
            return self._told.wait_for(lambda: not self._untold, timeout_s)

    def check_outside(self) -> None:
        """Whether this may wait for completions.

        Raises:
            IllegalState: it is called by a completion listener of this session.
        """
        if self._inside == threading.get_ident():
            raise IllegalState("a completion listener cannot end its own session or transaction")

    def _tell(self, pending: PendingCompletion) -> None:
        self._inside = threading.get_ident()
        try:
            pending.call(pending.error)
        except Exception:
            LOG.exception("A completion listener has failed")
        finally:
            self._inside = None
            with self._told:
                self._untold -= 1
                self._told.notify_all()


def _caller(message: Message, completion: Completion) -> Callable[[ClientError | None], None]:
    def call(error: ClientError | None) -> None:
        if callable(completion):
            completion(message, error)
        elif error is None:
            completion.on_completion(message)
        else:
            completion.on_exception(message, error)

    return call

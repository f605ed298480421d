"""Those who send while faults happen: each in a thread of its own, telling its accounts what it was told."""

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

from integration.soak.accounts import Account, Key

from mqclient import Connection, Destination, Message, TextMessage
from mqclient.errors import ClientError, ResourceExhausted, TransactionRolledBack

PAUSE_LOOK_S = 0.02
COMMIT_IN_DOUBT = "is unknown"
"""What the client says when the answer to a commit was lost; any other failure of it is a rollback."""

_PATTERN = "".join(chr(33 + number % 90) for number in range(997))
PADDING = _PATTERN * 300
"""The text of all messages, so that a receiver can compare every character."""


def text_of(key: Key, size: int) -> str:
    """A message's text: who sent it, its number, and so many characters that are known."""
    return f"{key[0]} {key[1]} {PADDING[:size]}"


def key_of(text: str) -> Key:
    """Whose message it is, and which.

    Raises:
        ValueError: the text is not what was sent.
    """
    producer, number, padding = text.split(" ", 2)
    if not PADDING.startswith(padding):
        raise ValueError(f"message {number} of {producer} is damaged: {len(padding)} characters")
    return producer, int(number)


def is_in_doubt(error: TransactionRolledBack) -> bool:
    """Whether nobody knows if the transaction was committed."""
    return COMMIT_IN_DOUBT in str(error)


class Worker(ABC):
    """A thread whose failure is kept for whoever asks.

    Attributes:
        name: of the worker.
        failure: what ended it, if it was not meant to end.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.failure: BaseException | None = None
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self, timeout_s: float = 10.0) -> None:
        """Wait for the end, which `stopping` has asked for."""
        self.stopping.set()
        self._thread.join(timeout_s)

    @abstractmethod
    def work(self) -> None:
        """What it does until `stopping` is set."""

    def _guarded(self) -> None:
        try:
            self.work()
        except BaseException as failure:  # noqa: BLE001 - whatever it is, the soak's main thread raises it
            if not self.stopping.is_set():
                self.failure = failure


class Producer(Worker):
    """Sends a message every few milliseconds until it is paused.

    Args:
        name: its part of the messages' keys.
        connection: its own or shared.
        destination: where it sends.
        accounts: of all who are to receive it.
        interval_s: between two sends; what a broker's absence has cost is not made up for.
        sizes: characters of a message, chosen at random.
    """

    transacted = False

    def __init__(
        self,
        name: str,
        connection: Connection,
        destination: Destination,
        accounts: Sequence[Account],
        *,
        interval_s: float,
        sizes: Sequence[int],
    ) -> None:
        super().__init__(name)
        self.accounts = accounts
        self._interval_s = interval_s
        self._sizes = sizes
        self._rng = random.Random(name)
        self._number = 0
        self._pausing = threading.Event()
        self._paused = threading.Event()
        self._unanswered = 0
        self._answered = threading.Condition()
        self._session = connection.create_session(transacted=self.transacted)
        self._producer = self._session.create_producer(destination)

    def pause(self) -> None:
        """Ask it to send nothing more."""
        self._pausing.set()

    @property
    def is_paused(self) -> bool:
        """Whether all its sends are answered and it sends nothing."""
        return self._paused.is_set()

    def resume(self) -> None:
        """Let it send again."""
        self._paused.clear()
        self._pausing.clear()

    def work(self) -> None:
        """Send, pause, send."""
        while not self.stopping.is_set():
            if self._pausing.is_set():
                if not self._paused.is_set():
                    self.flush()
                    self._paused.set()
                self.stopping.wait(PAUSE_LOOK_S)
                continue
            self.send_some()
            self.stopping.wait(self._interval_s)

    def send_some(self) -> None:
        """Send one message, or one transaction of them."""
        key, message = self.next_message()
        try:
            self._producer.send(message)
        except ResourceExhausted:
            self.tell_refused([key])
        else:
            self.tell_acknowledged([key])

    def flush(self) -> None:
        """Return when all sends are answered."""

    def next_message(self) -> tuple[Key, TextMessage]:
        """The next one to send."""
        key = (self.name, self._number)
        self._number += 1
        return key, TextMessage(text_of(key, self._rng.choice(self._sizes)))

    def tell_acknowledged(self, keys: Sequence[Key]) -> None:
        """Tell all accounts."""
        for account in self.accounts:
            account.acknowledged(keys)

    def tell_refused(self, keys: Sequence[Key]) -> None:
        """Tell all accounts."""
        for account in self.accounts:
            for key in keys:
                account.refused(key)


class AsynchronousProducer(Producer):
    """Sends without waiting for the answer to the one before; a window of the client's is the limit."""

    def send_some(self) -> None:
        """Send one message; its answer comes in another thread."""
        key, message = self.next_message()

        def done(_: Message, error: ClientError | None) -> None:
            if error is None:
                self.tell_acknowledged([key])
            else:
                self.tell_refused([key])
                if not isinstance(error, ResourceExhausted):
                    self.failure = error
            with self._answered:
                self._unanswered -= 1
                self._answered.notify_all()

        with self._answered:
            self._unanswered += 1
        self._producer.send(message, on_completion=done)

    def flush(self) -> None:
        """Wait for the answers."""
        with self._answered:
            self._answered.wait_for(lambda: self._unanswered == 0 or self.stopping.is_set())


class TransactedProducer(Producer):
    """Sends some messages, and commits them; now and then it rolls back."""

    transacted = True
    SENDS_MAX = 12
    ROLLBACK_SHARE = 0.05

    def send_some(self) -> None:
        """One transaction."""
        keys = []
        try:
            for _ in range(self._rng.randint(1, self.SENDS_MAX)):
                key, message = self.next_message()
                keys.append(key)
                self._producer.send(message)
            if self._rng.random() < self.ROLLBACK_SHARE:
                self._session.rollback()
                self.tell_refused(keys)
                return
            self._session.commit()
        except TransactionRolledBack as error:
            if not is_in_doubt(error):
                self.tell_refused(keys)
                return
            for account in self.accounts:
                account.sent_in_doubt(keys)
        except ResourceExhausted:
            self._session.rollback()
            self.tell_refused(keys)
        else:
            self.tell_acknowledged(keys)

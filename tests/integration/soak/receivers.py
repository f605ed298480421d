"""Those who receive while faults happen, each in its own way of acknowledging, and those who come later."""

import random
import time
from collections.abc import Callable

from integration.soak.accounts import Account
from integration.soak.producers import Worker, is_in_doubt, key_of

from mqclient import AcknowledgeMode, Connection, Message, Session, TextMessage
from mqclient.consumer import MessageConsumer
from mqclient.errors import TransactionRolledBack

RECEIVE_TIMEOUT_S = 0.2
STRAGGLERS_S = 0.3
"""How long somebody who has received everything waits for what should not come."""

OpenConsumer = Callable[[Session], MessageConsumer]


class Receiver(Worker):
    """Receives until it is stopped; acknowledges each message as it comes.

    Args:
        account: its books.
        connection: of its own.
        open_consumer: makes its consumer in a session.
    """

    mode = AcknowledgeMode.AUTO
    batch_max = 1

    def __init__(self, account: Account, connection: Connection, open_consumer: OpenConsumer) -> None:
        super().__init__(account.name)
        self.account = account
        self._connection = connection
        self._open_consumer = open_consumer
        self._rng = random.Random(account.name)
        self._open()

    def _open(self) -> None:
        transacted = self.mode is AcknowledgeMode.TRANSACTED
        self.session = self._connection.create_session(transacted, self.mode)
        self.consumer = self._open_consumer(self.session)

    def reopen(self) -> None:
        """Leave, with what it has, and come back."""
        self.session.close()
        self.account.give_back()
        self._open()

    def work(self) -> None:
        """Receive some, and be done with them."""
        while not self.stopping.is_set():
            last = None
            for _ in range(self._rng.randint(1, self.batch_max)):
                message = self.consumer.receive(RECEIVE_TIMEOUT_S)
                if message is None:
                    break
                last = note(self.account, message)
            if last is not None:
                self.finish(last)

    def finish(self, last: Message) -> None:
        """Acknowledge what was received since the last time."""
        del last  # `receive` has acknowledged it
        self.account.settle()


class ClientReceiver(Receiver):
    """Acknowledges several messages at once; sometimes it leaves without."""

    mode = AcknowledgeMode.CLIENT
    batch_max = 20
    LEAVE_SHARE = 0.01

    def finish(self, last: Message) -> None:
        """Acknowledge, or leave."""
        if self._rng.random() < self.LEAVE_SHARE:
            self.reopen()
            return
        last.acknowledge()
        self.account.settle()


class TransactedReceiver(Receiver):
    """Receives in transactions; sometimes it rolls back."""

    mode = AcknowledgeMode.TRANSACTED
    batch_max = 15
    ROLLBACK_SHARE = 0.03

    def finish(self, last: Message) -> None:
        """Commit, or roll back."""
        del last
        if self._rng.random() < self.ROLLBACK_SHARE:
            self.session.rollback()
            self.account.give_back()
            return
        try:
            self.session.commit()
        except TransactionRolledBack as error:
            if is_in_doubt(error):
                self.account.settle_in_doubt()
            else:
                self.account.give_back()
        else:
            self.account.settle()


class Latecomer:
    """Receives nothing while faults happen; comes when all is well, takes everything, and leaves.

    What it gets twice was stored twice: no broker died between its receiving and its acknowledging.

    Args:
        account: its books.
        connect: makes a connection of its own.
        open_consumer: makes its consumer in a session.
    """

    def __init__(
        self, account: Account, connect: Callable[[], Connection], open_consumer: OpenConsumer
    ) -> None:
        self.account = account
        self._connect = connect
        self._open_consumer = open_consumer

    def come(self) -> None:
        """Connect and leave: a durable subscription is there from now on."""
        connection = self._connect()
        self._open_consumer(connection.create_session())
        connection.close()

    def gather(self, timeout_s: float) -> bool:
        """Receive all that was acknowledged, and wait a moment for what should not come.

        Returns:
            False if something acknowledged did not come in time.
        """
        connection = self._connect()
        try:
            connection.start()
            consumer = self._open_consumer(connection.create_session())
            deadline = time.monotonic() + timeout_s
            while time.monotonic() < deadline:
                message = consumer.receive(STRAGGLERS_S)
                if message is not None:
                    note(self.account, message)
                    self.account.settle()
                elif not self.account.missing():
                    return True
            return False
        finally:
            connection.close()


def note(account: Account, message: Message) -> Message:
    """Write an arrival down; a text that is not what was sent is a violation of its own."""
    assert isinstance(message, TextMessage) and message.text is not None
    account.arrived(key_of(message.text))
    return message

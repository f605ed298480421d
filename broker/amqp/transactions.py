"""Local transactions: the coordinator's link, and what transfers and dispositions do in a transaction.

Source: AMQP 1.0, part 4; ActiveMQ's `AmqpTransactionCoordinator`, for what a rollback gives back.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broker.amqp import sections
from broker.amqp.ends import accepted
from broker.amqp.errors import DECODE_ERROR, condition_of
from broker.amqp.events import ACCEPTED, DECLARED, MODIFIED, REJECTED, RELEASED, TRANSACTIONAL
from broker.amqp.limits import COORDINATOR_CREDIT, ERROR_CHARACTERS_MAX
from broker.amqp.types import Described, decode
from broker.errors import (
    BrokerError,
    ClientError,
    CodecError,
    RequestInvalid,
    SendBlocked,
    TransactionUnknown,
)
from broker.region import settling
from broker.region.consumer import AckKind

if TYPE_CHECKING:
    from broker.amqp.deliveries import Answer, Deliveries
    from broker.amqp.ends import Sending
    from broker.amqp.engine import ProtonConnection
    from broker.amqp.events import Disposed, Link, Pointer, Transferred
    from broker.region.connection import RegionConnection

_DECLARE: Final = (0x31, "amqp:declare:list")
_DISCHARGE: Final = (0x32, "amqp:discharge:list")
_ID_BYTES: Final = 8


@dataclass(slots=True, eq=False)
class Coordinating:
    """A link on which transactions are begun and ended."""

    link: Link
    answered: int = 0


@dataclass(slots=True, eq=False)
class Work:
    """One open transaction.

    Attributes:
        name: what the region calls it.
        coordinating: the link that began it.
        taken: messages acknowledged in it; the last tells whether the client has settled it.
    """

    name: str
    coordinating: Coordinating
    taken: list[tuple[Sending, Pointer, int, bool]] = field(default_factory=list)


class Transactions:
    """The open transactions of one connection.

    Args:
        engine: has the deliveries.
        answer: answers when a batch is durable.
        deliveries: what becomes of messages outside of transactions.
    """

    def __init__(self, engine: ProtonConnection, answer: Answer, deliveries: Deliveries) -> None:
        self._engine = engine
        self._answer = answer
        self._deliveries = deliveries
        self._open: dict[bytes, Work] = {}
        self._numbers = itertools.count(1)

    # ---- the coordinator

    def take(self, connection: RegionConnection, coordinating: Coordinating, event: Transferred) -> None:
        """A transaction begins or ends."""
        coordinating.answered += 1
        if 2 * coordinating.answered >= COORDINATOR_CREDIT:
            self._engine.flow(coordinating.link, coordinating.answered)
            coordinating.answered = 0
        try:
            self._carry_out(connection, coordinating, event)
        except BrokerError as error:
            self._reject(coordinating, event, error)

    def _reject(self, coordinating: Coordinating, event: Transferred, error: BrokerError) -> None:
        if coordinating.link.is_open:
            condition = DECODE_ERROR if isinstance(error, CodecError) else condition_of(error)
            self._engine.reject(event.delivery, condition, str(error)[:ERROR_CHARACTERS_MAX])

    def _carry_out(
        self, connection: RegionConnection, coordinating: Coordinating, event: Transferred
    ) -> None:
        command = _command(event.content)
        if command.descriptor in _DECLARE:
            number = next(self._numbers)
            name = f"TX:{connection.connection_id}:{number}"
            connection.begin(name)
            txn_id = number.to_bytes(_ID_BYTES, "big")
            self._open[txn_id] = Work(name, coordinating)
            self._engine.update(event.delivery, DECLARED, [txn_id], settled=True)
        elif command.descriptor in _DISCHARGE:
            values = command.value if isinstance(command.value, list) else []
            txn_id, fail = (*values[:2], None, None)[:2]
            self._discharge(connection, coordinating, event, txn_id, fail=bool(fail))
        else:
            raise RequestInvalid("A coordinator takes `declare` and `discharge`.")

    def _discharge(
        self,
        connection: RegionConnection,
        coordinating: Coordinating,
        event: Transferred,
        txn_id: object,
        *,
        fail: bool,
    ) -> None:
        work = self._find(txn_id)
        assert isinstance(txn_id, bytes)
        del self._open[txn_id]

        def done(outcome: int | ClientError) -> None:
            if isinstance(outcome, ClientError):
                self._give_back(connection, work)
                self._reject(coordinating, event, outcome)
            else:
                self._answer(outcome, lambda: self._finish(work, coordinating, event))

        if fail:
            connection.rollback(work.name)
            self._give_back(connection, work)
            done(0)
            return
        try:
            batch = connection.commit(work.name)
        except ClientError as error:
            done(error)
        except SendBlocked:
            connection.block_commit(work.name, lambda: connection.commit(work.name), done)
        else:
            done(batch)

    def _finish(self, work: Work, coordinating: Coordinating, event: Transferred) -> None:
        """The transaction has its outcome, and it is durable."""
        for sending, delivery, _, _ in work.taken:
            if sending.unsettled.pop(delivery, None) is not None and sending.link.is_open:
                self._engine.settle(delivery, ACCEPTED)
        if coordinating.link.is_open:
            self._engine.settle(event.delivery, ACCEPTED)

    def _give_back(self, connection: RegionConnection, work: Work) -> None:
        """After a rollback: what the client has settled is delivered again; what it has not, it still has."""
        for sending, delivery, ref, settled in work.taken:
            if settled and sending.unsettled.pop(delivery, None) is not None:
                settling.release(connection, sending.key, (ref,), counted=True)
                if sending.link.is_open:
                    self._engine.settle(delivery)
        work.taken = []

    def roll_back_all(self, connection: RegionConnection, coordinating: Coordinating) -> None:
        """A coordinator's link is gone: what it has begun is undone (4.2)."""
        for txn_id, work in list(self._open.items()):
            if work.coordinating is coordinating:
                del self._open[txn_id]
                with contextlib.suppress(TransactionUnknown):  # it had become too large before
                    connection.rollback(work.name)
                self._give_back(connection, work)

    # ---- what is done in one

    def of_transfer(self, delivery: Pointer) -> str:
        """The transaction in which a message has been sent.

        Raises:
            TransactionUnknown: there is none.
        """
        values = self._engine.remote_values(delivery)
        return self._find(values[0] if values else None).name

    def accept_transfer(self, delivery: Pointer, name: str) -> None:
        """A message is taken, for the time being."""
        number = int(name.rpartition(":")[2])
        txn_id = number.to_bytes(_ID_BYTES, "big")
        self._engine.update(delivery, TRANSACTIONAL, [txn_id, accepted()], settled=True)

    def dispose(self, connection: RegionConnection, sending: Sending, event: Disposed) -> None:
        """The client says what is to become of a message if a transaction commits.

        Only acceptance waits for that, as in ActiveMQ: what is not taken is given back in any case.
        """
        values = self._engine.remote_values(event.delivery)
        txn_id, outcome = (*values[:2], None, None)[:2]
        ref = sending.unsettled.get(event.delivery)
        if ref is None:
            return
        state = outcome.descriptor if isinstance(outcome, Described) else ACCEPTED
        if state not in (ACCEPTED, "amqp:accepted:list"):
            self._deliveries.dispose(connection, sending, event._replace(state=_STATES.get(state, 0)))
            return
        try:
            work = self._find(txn_id)
            connection.acknowledge(sending.key, AckKind.INDIVIDUAL, ref, ref, transaction=work.name)
        except ClientError as error:
            self._engine.end_link(sending.link, condition_of(error), str(error)[:ERROR_CHARACTERS_MAX])
            return
        work.taken.append((sending, event.delivery, ref, event.settled))
        if not event.settled:
            self._engine.update(event.delivery, TRANSACTIONAL, [txn_id, accepted()], settled=False)

    def _find(self, txn_id: object) -> Work:
        work = self._open.get(txn_id) if isinstance(txn_id, bytes) else None
        if work is None:
            raise TransactionUnknown("There is no open transaction of this id.")
        return work


_STATES: Final[dict[object, int]] = {
    REJECTED: REJECTED,
    RELEASED: RELEASED,
    MODIFIED: MODIFIED,
    "amqp:rejected:list": REJECTED,
    "amqp:released:list": RELEASED,
    "amqp:modified:list": MODIFIED,
}


def _command(content: bytes) -> Described:
    """What a message to a coordinator asks for.

    Raises:
        CodecError: it is nothing of the kind.
    """
    for section in sections.split(content):
        if section.code == sections.VALUE:
            value, _ = decode(content, section.value_at)
            if isinstance(value, Described):
                return value
    raise CodecError("a message to a coordinator has no command")

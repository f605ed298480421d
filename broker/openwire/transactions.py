"""The steps of local and of distributed transactions.

Source: Apache ActiveMQ's ``TransportConnection`` and ``TransactionContext``, for what clients expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broker.errors import RequestInvalid
from broker.openwire.commands import (
    DataArrayResponse,
    IntegerResponse,
    LocalTransactionId,
    Response,
    TransactionId,
    TransactionInfo,
    XATransactionId,
)
from broker.openwire.constants import TransactionType
from broker.xa import READ_ONLY, Xid

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection

XA_OK: Final = 0
"""What a prepared branch is answered with."""
XA_RDONLY: Final = 3
"""And one that did nothing."""


class Later(NamedTuple):
    """An answer that waits for a batch."""

    batch: int
    response: Response


Answer = int | Response | Later
"""What a command is answered with: a plain response when this batch is durable (0: at once), or another."""


def transaction_name(transaction_id: TransactionId, connection_id: str) -> str:
    """What the region calls a transaction.

    Raises:
        RequestInvalid: it is another connection's local one.
        BranchRefused: it is no branch's id.
    """
    if isinstance(transaction_id, XATransactionId):
        return _xid(transaction_id).check().text
    assert isinstance(transaction_id, LocalTransactionId)
    owner = transaction_id.connection_id
    if owner is None or owner.value != connection_id:
        raise RequestInvalid("The transaction belongs to another connection.")
    return f"TX:{connection_id}:{transaction_id.value}"


def _xid(given: XATransactionId) -> Xid:
    return Xid(given.format_id, given.global_transaction_id or b"", given.branch_qualifier or b"")


def carry_out(connection: RegionConnection, info: TransactionInfo, name: str) -> int:
    """Does a step of the transaction of that name; returns the batch that its answer waits for.

    Raises:
        SendBlocked: it has to wait for the transaction's sends.
        ClientError: it cannot be done.
    """
    if isinstance(info.transaction_id, XATransactionId):
        return _carry_out_xa(connection, info, name)
    match info.type:
        case TransactionType.BEGIN:
            connection.begin(name)
        case TransactionType.COMMIT_ONE_PHASE:
            return connection.commit(name)
        case TransactionType.ROLLBACK:
            connection.rollback(name)
        case TransactionType.END:
            pass
        case _:
            raise RequestInvalid(f"A local transaction knows no step {info.type}.")
    return 0


def _carry_out_xa(connection: RegionConnection, info: TransactionInfo, xid: str) -> int:
    branches = connection.region.branches
    match info.type:
        case TransactionType.BEGIN:
            branches.begin(connection, xid)
        case TransactionType.END:
            pass  # the client makes sure that all it sent before has arrived
        case TransactionType.PREPARE:
            return branches.prepare(connection, xid)
        case TransactionType.COMMIT_ONE_PHASE | TransactionType.COMMIT_TWO_PHASE:
            one_phase = info.type == TransactionType.COMMIT_ONE_PHASE
            return branches.commit(connection, xid, one_phase=one_phase)
        case TransactionType.ROLLBACK:
            return branches.roll_back(connection, xid)
        case TransactionType.FORGET:
            return branches.forget(connection, xid)
        case _:
            raise RequestInvalid(f"A distributed transaction knows no step {info.type}.")
    return 0


def answer_to(info: TransactionInfo, batch: int) -> Answer:
    """What a step that was done is answered with."""
    if info.type != TransactionType.PREPARE:
        return batch
    if batch == READ_ONLY:
        return IntegerResponse(result=XA_RDONLY)
    return Later(batch, IntegerResponse(result=XA_OK))


def prepared_ids(connection: RegionConnection) -> DataArrayResponse:
    """The branches that a manager may have to end."""
    found = [Xid.parse(text) for text in connection.region.branches.recover(connection)]
    return DataArrayResponse(
        data=tuple(
            XATransactionId(
                format_id=xid.format_id, global_transaction_id=xid.global_id, branch_qualifier=xid.branch
            )
            for xid in found
        )
    )

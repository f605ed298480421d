"""What goes wrong in this protocol.

::

    CodecError              broker.errors: these are no AMQP bytes, or this has no AMQP form
    LinkRefused             a link cannot be had; says the condition that its end is told
"""

from __future__ import annotations

from typing import Final

from broker.errors import (
    AccessDenied,
    BrokerError,
    ClientError,
    CodecError,
    InvalidClientId,
    InvalidDestination,
    InvalidSelector,
    RequestInvalid,
    ResourceExhausted,
    TransactionRefused,
    TransactionUnknown,
)

__all__ = ["CodecError", "LinkRefused", "condition_of"]

DECODE_ERROR: Final = "amqp:decode-error"
INTERNAL_ERROR: Final = "amqp:internal-error"
INVALID_FIELD: Final = "amqp:invalid-field"
NOT_FOUND: Final = "amqp:not-found"
NOT_IMPLEMENTED: Final = "amqp:not-implemented"
PRECONDITION_FAILED: Final = "amqp:precondition-failed"
RESOURCE_LIMIT_EXCEEDED: Final = "amqp:resource-limit-exceeded"
UNAUTHORIZED_ACCESS: Final = "amqp:unauthorized-access"
CONNECTION_FORCED: Final = "amqp:connection:forced"
DETACH_FORCED: Final = "amqp:link:detach-forced"
MESSAGE_SIZE_EXCEEDED: Final = "amqp:link:message-size-exceeded"
TRANSACTION_UNKNOWN: Final = "amqp:transaction:unknown-id"
TRANSACTION_ROLLBACK: Final = "amqp:transaction:rollback"
"""Conditions of the specification: 2.8.15 to 2.8.18 and 4.5.8."""


class LinkRefused(BrokerError):
    """The link cannot be had as it was asked for."""

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(text)
        self.condition = condition


_CONDITIONS: Final[tuple[tuple[type[ClientError], str], ...]] = (
    (AccessDenied, UNAUTHORIZED_ACCESS),
    (InvalidSelector, INVALID_FIELD),
    (InvalidClientId, INVALID_FIELD),
    (InvalidDestination, NOT_FOUND),
    (ResourceExhausted, RESOURCE_LIMIT_EXCEEDED),
    (TransactionUnknown, TRANSACTION_UNKNOWN),
    (TransactionRefused, TRANSACTION_ROLLBACK),
    (RequestInvalid, PRECONDITION_FAILED),
)


def condition_of(error: BrokerError) -> str:
    """The protocol's name for what the broker refused."""
    if isinstance(error, LinkRefused):
        return error.condition
    return next((name for kind, name in _CONDITIONS if isinstance(error, kind)), INTERNAL_ERROR)

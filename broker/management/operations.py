"""The operations by the names that requests call them, for everything that comes as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, Final, NamedTuple

from broker.management.errors import RequestMalformed
from broker.management.jobs import Job
from broker.management.management import Operator
from broker.management.model import Plain
from broker.management.requests import (
    BrowseRequest,
    ConnectionRequest,
    DestinationRequest,
    JobRequest,
    ListRequest,
    MoveRequest,
    Nothing,
    QueueRequest,
    ScheduledRequest,
    ScheduleRequest,
    SelectRequest,
    SendRequest,
    SubscriptionRequest,
    TransactionRequest,
    parse,
)


class Operation(NamedTuple):
    """One operation.

    Attributes:
        request: the dataclass of its arguments.
        method: of `Operator`.
    """

    request: type
    method: Callable[[Operator, Any], object]


OPERATIONS: Final[Mapping[str, Operation]] = {
    "broker": Operation(Nothing, Operator.broker),
    "usage": Operation(Nothing, Operator.usage),
    "queues": Operation(ListRequest, Operator.queues),
    "queue": Operation(QueueRequest, Operator.queue),
    "topics": Operation(ListRequest, Operator.topics),
    "subscriptions": Operation(ListRequest, Operator.subscriptions),
    "connections": Operation(ListRequest, Operator.connections),
    "consumers": Operation(ListRequest, Operator.consumers),
    "producers": Operation(ListRequest, Operator.producers),
    "browse": Operation(BrowseRequest, Operator.browse),
    "scheduled": Operation(ScheduledRequest, Operator.scheduled),
    "unschedule": Operation(ScheduleRequest, Operator.unschedule),
    "transactions": Operation(ListRequest, Operator.transactions),
    "commit": Operation(TransactionRequest, Operator.commit),
    "rollback": Operation(TransactionRequest, Operator.rollback),
    "forget": Operation(TransactionRequest, Operator.forget),
    "jobs": Operation(Nothing, Operator.jobs),
    "job": Operation(JobRequest, Operator.job),
    "cancel": Operation(JobRequest, Operator.cancel),
    "send": Operation(SendRequest, Operator.send),
    "purge": Operation(SelectRequest, Operator.purge),
    "move": Operation(MoveRequest, Operator.move),
    "copy": Operation(MoveRequest, Operator.copy),
    "retry": Operation(SelectRequest, Operator.retry),
    "create": Operation(DestinationRequest, Operator.create),
    "delete": Operation(DestinationRequest, Operator.delete),
    "pause": Operation(QueueRequest, Operator.pause),
    "resume": Operation(QueueRequest, Operator.resume),
    "unsubscribe": Operation(SubscriptionRequest, Operator.unsubscribe),
    "disconnect": Operation(ConnectionRequest, Operator.disconnect),
    "reset": Operation(Nothing, Operator.reset),
}


def carry_out(operator: Operator, name: str, arguments: Mapping[str, Any]) -> Job | Plain:
    """Do what a request says; the result, or the job that does it.

    Raises:
        ManagementError, ClientError: it cannot be done.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise RequestMalformed(f"There is no operation {name!r}, only: {', '.join(sorted(OPERATIONS))}.")
    found = operation.method(operator, parse(operation.request, arguments))
    return found if isinstance(found, Job) else plain_of(found)


def plain_of(found: object) -> Plain:
    """A result as JSON has it."""
    if isinstance(found, list):
        return [plain_of(each) for each in found]
    assert is_dataclass(found)
    assert not isinstance(found, type)
    return asdict(found)

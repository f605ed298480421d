"""Changes to what clients have at brokers, below `/api/v1/brokers/<group>/<broker>`; and jobs there."""

from __future__ import annotations

from typing import Final

from fabric.web.api.brokers import BROKER, job_number
from fabric.web.api.messages import JobDone, change
from fabric.web.roles import Role
from fabric.web.routes import Call, Handler, Request, Route


class SubscriptionBody(Request, kw_only=True):
    """A durable subscription.

    Attributes:
        client_id: empty: it is shared by clients of any id.
        subscription: its name.
    """

    client_id: str = ""
    subscription: str


class TransactionBody(Request):
    """A prepared branch of a distributed transaction.

    Attributes:
        xid: as text.
    """

    xid: str


async def unsubscribe(call: Call) -> JobDone:
    """End a durable subscription."""
    body: SubscriptionBody = call.body
    job = await change(call, "unsubscribe", client_id=body.client_id, subscription=body.subscription)
    return JobDone(f"Subscription {body.subscription} is deleted.", job)


async def disconnect(call: Call) -> JobDone:
    """Close a connection."""
    name = call.path["connection"]
    return JobDone(f"Connection {name} is closed.", await change(call, "disconnect", connection=name))


async def unschedule(call: Call) -> JobDone:
    """Cancel a message that is due later."""
    job = await change(call, "unschedule", job_id=call.path["job_id"])
    return JobDone("The scheduled message is cancelled.", job)


async def cancel(call: Call) -> JobDone:
    """End a job."""
    job = await change(call, "cancel", job=job_number(call))
    return JobDone(f"Job {job.id} ({job.operation} {job.destination}) is cancelled.", job)


def _ending(operation: str, done: str) -> Handler:
    """The handler that ends a prepared branch."""

    async def carry_out(call: Call) -> JobDone:
        job = await change(call, operation, xid=call.body.xid)
        return JobDone(f"Transaction {call.body.xid} is {done}.", job)

    return carry_out


def _change(
    path: str, handler: Handler, summary: str, method: str = "POST", body: type[Request] | None = None
) -> Route:
    return Route(method, f"{BROKER}/{path}", handler, summary, Role.OPERATOR, body=body, answer=JobDone)


def _end(operation: str, done: str, summary: str) -> Route:
    return _change(f"transactions/{operation}", _ending(operation, done), summary, body=TransactionBody)


ROUTES: Final = (
    _change(
        "subscriptions/unsubscribe",
        unsubscribe,
        "Delete a durable subscription that is not active, with its messages.",
        body=SubscriptionBody,
    ),
    _change("connections/<connection>/disconnect", disconnect, "Close a client's connection."),
    _change("scheduled/<job_id>", unschedule, "Cancel a message that is due later.", "DELETE"),
    _end("commit", "committed", "Commit a prepared branch."),
    _end("rollback", "rolled back", "Roll a prepared branch back."),
    _end("forget", "forgotten", "Forget a branch that was ended."),
    _change("jobs/<job>/cancel", cancel, "End a job; what it has done stays done."),
)

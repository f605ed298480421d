"""The interface of management: what one user may see of a broker, and do with it.

>>> operator = management.operator(Caller("admin"))
>>> page = operator.queues(ListRequest(filter="orders.>"))
>>> job = operator.purge(SelectRequest("orders.failed", selector="age > 7"))
>>> job.call(lambda job: print(job.info()))

What only looks returns plain dataclasses. What changes something returns a `Job`, whose first step is done in
the region's next turn: whoever calls from outside of a turn gives `wake` for that. All in the owner's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from broker.management.branches import decision, transactions
from broker.management.browsing import browse
from broker.management.errors import NotFound, NotPermitted, NotPossible
from broker.management.jobs import Caller, Immediate, Job, Jobs
from broker.management.lists import Lists
from broker.management.model import (
    BrokerInfo,
    ConnectionInfo,
    ConsumerInfo,
    JobInfo,
    MessageInfo,
    Page,
    ProducerInfo,
    QueueInfo,
    ScheduledInfo,
    SubscriptionInfo,
    TopicInfo,
    TransactionInfo,
    UsageInfo,
)
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
    place_of,
    queue_of,
)
from broker.management.scheduling import scheduled, unschedule
from broker.management.sending import send
from broker.management.transfers import (
    Deletion,
    Retry,
    Selection,
    Transfer,
    Unsubscription,
    check_unused,
)
from broker.region.statistics import reset_all

if TYPE_CHECKING:
    from broker.region.region import Region

REFUSED_MAX: Final = 1_000
"""Users whose refusal is logged, each once: whoever may send must not fill the log."""

_log: Final = logging.getLogger("broker.management")


class Management:
    """One broker's management; made when it becomes the master."""

    def __init__(self, region: Region, wake: Callable[[], None] = lambda: None) -> None:
        """Make it.

        Args:
            region: what is looked at and changed.
            wake: called when there is something to do in a turn.
        """
        self.region = region
        self.lists = Lists(region)
        self.jobs = Jobs(region)
        self.wake = wake
        self._refused: set[str] = set()

    def operator(self, caller: Caller) -> Operator:
        """What a user may do.

        Raises:
            NotPermitted: nothing: he lacks the role `admin`.
        """
        if not self.region.rights.is_admin(caller.user):
            if caller.user not in self._refused and len(self._refused) < REFUSED_MAX:
                self._refused.add(caller.user)
                _log.warning("%s: refused: lacks the role admin; said once", caller)
            raise NotPermitted(f"User {caller.user} is not authorized: management needs the role admin.")
        return Operator(self, caller)


class Operator:
    """Made by `Management.operator`; its methods raise `ManagementError`, and `ClientError` of the region."""

    def __init__(self, management: Management, caller: Caller) -> None:
        self._management = management
        self.region = management.region
        self._lists = management.lists
        self._caller = caller

    def _start(self, job: Job) -> Job:
        self._management.jobs.start(job, self._caller)
        self._management.wake()
        return job

    # ---- what there is

    def broker(self, request: Nothing) -> BrokerInfo:
        """The broker as a whole."""
        del request
        return self._lists.broker(len(self._management.jobs.running()))

    def usage(self, request: Nothing) -> UsageInfo:
        """What messages take of store, memory and temporary storage."""
        del request
        return self._lists.usage()

    def queues(self, request: ListRequest) -> Page[QueueInfo]:
        """The queues."""
        return self._lists.queues(request)

    def queue(self, request: QueueRequest) -> QueueInfo:
        """One queue."""
        return self._lists.queue_info(self._lists.queue(queue_of(request.queue)))

    def topics(self, request: ListRequest) -> Page[TopicInfo]:
        """The topics."""
        return self._lists.topics(request)

    def subscriptions(self, request: ListRequest) -> Page[SubscriptionInfo]:
        """The durable subscriptions."""
        return self._lists.subscriptions(request)

    def connections(self, request: ListRequest) -> Page[ConnectionInfo]:
        """The connections."""
        return self._lists.connections(request)

    def consumers(self, request: ListRequest) -> Page[ConsumerInfo]:
        """The consumers, of one connection or all."""
        return self._lists.consumers(request)

    def producers(self, request: ListRequest) -> Page[ProducerInfo]:
        """The producers, of one connection or all."""
        return self._lists.producers(request)

    def browse(self, request: BrowseRequest) -> Page[MessageInfo]:
        """Messages of a queue or a durable subscription; a page may be empty and still name a next one."""
        lists = self._lists
        if request.subscription or request.client_id:
            subscription = lists.subscription(request.client_id, request.subscription)
            return browse(self.region, subscription, request)
        queue = lists.queue(queue_of(request.queue))
        return browse(self.region, queue, request)

    def scheduled(self, request: ScheduledRequest) -> Page[ScheduledInfo]:
        """The messages that are to be delivered later, the next first."""
        return scheduled(self.region, request)

    def unschedule(self, request: ScheduleRequest) -> Job:
        """Cancel a message that is to be delivered later."""
        return self._start(unschedule(self.region, request.job_id))

    # ---- distributed transactions

    def transactions(self, request: ListRequest) -> Page[TransactionInfo]:
        """The prepared branches of distributed transactions."""
        return transactions(self.region, request)

    def commit(self, request: TransactionRequest) -> Job:
        """Commit a prepared branch whose manager does not."""
        return self._start(decision(self.region, "commit", request.xid, self.region.heuristic_commit))

    def rollback(self, request: TransactionRequest) -> Job:
        """Roll a prepared branch back whose manager does not."""
        return self._start(decision(self.region, "rollback", request.xid, self.region.heuristic_rollback))

    def forget(self, request: TransactionRequest) -> Job:
        """The manager of a branch that an operator has ended need not hear of it any more."""
        return self._start(decision(self.region, "forget", request.xid, self.region.forget_transaction))

    # ---- messages

    def send(self, request: SendRequest) -> Job:
        """Send a message; the job's result is its id."""
        return self._start(send(self.region, request))

    def purge(self, request: SelectRequest) -> Job:
        """Remove messages of a queue: all that wait, or those selected."""
        queue = self._lists.queue(queue_of(request.queue))
        return self._start(Transfer(self.region, "purge", queue, Selection(request)))

    def move(self, request: MoveRequest) -> Job:
        """Move messages of a queue to another destination."""
        return self._transfer("move", request, stays=False)

    def copy(self, request: MoveRequest) -> Job:
        """Send copies of a queue's messages to another destination."""
        return self._transfer("copy", request, stays=True)

    def _transfer(self, operation: str, request: MoveRequest, *, stays: bool) -> Job:
        queue = self._lists.queue(queue_of(request.queue))
        target = place_of(request.target)
        if target == queue.destination:
            raise NotPossible(f"The messages of {queue.destination.name} are there already.")
        selection = Selection(request)
        self.region.routing.targets(target)
        return self._start(
            Transfer(
                self.region,
                operation,
                queue,
                selection,
                goes=lambda message: target,
                stays=stays,
                target=target.uri,
            )
        )

    def retry(self, request: SelectRequest) -> Job:
        """Give messages of a dead letter queue back to where they were before."""
        queue = self._lists.queue(queue_of(request.queue))
        return self._start(Retry(self.region, queue, Selection(request)))

    # ---- destinations and subscriptions

    def create(self, request: DestinationRequest) -> Job:
        """Make a destination; one that exists stays as it is."""
        destination = place_of(request.destination)
        if destination.is_temporary:
            raise NotPossible(f"{destination} can only be made by the connection it belongs to.")

        def make(job: Job) -> int:
            del job
            self.region.target(destination)
            return self.region.last_batch

        return self._start(Immediate(self.region, "create", destination.uri, make))

    def delete(self, request: DestinationRequest) -> Job:
        """Delete a destination without consumers, with the messages it holds."""
        region, destination = self.region, place_of(request.destination)
        if destination.is_queue:
            return self._start(Deletion(region, self._lists.queue(destination)))
        topic = region.targets.get(destination)
        if topic is None:
            raise NotFound(f"There is no topic {destination.name}.")

        def remove(job: Job) -> int:
            del job
            target = region.targets.get(destination)
            if target is None:
                return 0
            users = len(getattr(target, "subscriptions", ()))
            check_unused(destination, target.owner is not None, users)
            return region.delete([target])

        return self._start(Immediate(region, "delete", destination.uri, remove))

    def pause(self, request: QueueRequest) -> Job:
        """Dispatch nothing from a queue until it is resumed, or until another broker is the master."""
        queue = self._lists.queue(queue_of(request.queue))

        def do(job: Job) -> int:
            del job
            queue.pause()
            return 0

        return self._start(Immediate(self.region, "pause", queue.uri, do))

    def resume(self, request: QueueRequest) -> Job:
        """Dispatch again."""
        queue = self._lists.queue(queue_of(request.queue))

        def do(job: Job) -> int:
            del job
            queue.resume()
            return 0

        return self._start(Immediate(self.region, "resume", queue.uri, do))

    def unsubscribe(self, request: SubscriptionRequest) -> Job:
        """End a durable subscription that is not active, with the messages that wait for it."""
        subscription = self._lists.subscription(request.client_id, request.subscription)
        return self._start(Unsubscription(self.region, subscription))

    # ---- connections

    def disconnect(self, request: ConnectionRequest) -> Job:
        """Close a client's connection; what it had and did not acknowledge is others'."""
        connection = self._lists.connection(request.connection)
        if connection.connection_id == self._caller.connection:
            raise NotPossible("This is the connection that asks: close it by leaving.")
        by = self._caller.user

        def do(job: Job) -> int:
            del job
            connection.close()
            connection.client.disconnect(f"closed by {by}")
            return self.region.last_batch

        return self._start(
            Immediate(self.region, "disconnect", connection.connection_id, do, detail=connection.remote)
        )

    # ---- counters and jobs

    def reset(self, request: Nothing) -> Job:
        """Set all counters back."""
        del request

        def do(job: Job) -> int:
            del job
            reset_all(self.region)
            return 0

        return self._start(Immediate(self.region, "reset", "counters", do))

    def jobs(self, request: Nothing) -> list[JobInfo]:
        """What runs, and what was over lately, the newest first."""
        del request
        return [job.info() for job in self._management.jobs.all()]

    def job(self, request: JobRequest) -> JobInfo:
        """One job."""
        return self._management.jobs.find(request.job).info()

    def cancel(self, request: JobRequest) -> JobInfo:
        """Stop a job; what it has done stays done."""
        return self._management.jobs.cancel(request.job).info()

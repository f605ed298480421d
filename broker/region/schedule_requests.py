"""Browsing and cancelling what is scheduled, by messages to `ActiveMQ.Scheduler.Management`.

::

    AMQ_SCHEDULER_ACTION   BROWSE, REMOVE or REMOVEALL
    ACTION_START_TIME      of BROWSE and REMOVEALL: only what is due within these two times, in milliseconds
    ACTION_END_TIME        since the epoch; `AMQ_SCHEDULER_ACTION_START_TIME` and so on are understood, too
    scheduledJobId         of REMOVE: which

Each message that is found is sent to the request's JMSReplyTo. Long work is done a part per turn: the
receipt says that it has been begun. Source: ActiveMQ's `SchedulerBroker`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from broker.authorization import Permission
from broker.errors import ClientError, RequestInvalid
from broker.properties import properties_of
from broker.region.routing import Arrivals
from broker.scheduled import DUE_MS_MAX, JOB_ID, integer, listed

if TYPE_CHECKING:
    from broker.destination import Destination
    from broker.message import Message
    from broker.region.connection import RegionConnection
    from broker.region.region import Region
    from broker.region.schedule import Task

MANAGEMENT: Final = "ActiveMQ.Scheduler.Management"
ACTION: Final = "AMQ_SCHEDULER_ACTION"
LONG_PREFIX: Final = "AMQ_SCHEDULER_"
"""Of the names that the original's constants for these two times have; their values have it not."""
START_TIME: Final = "ACTION_START_TIME"
END_TIME: Final = "ACTION_END_TIME"
SHOWN_MAX: Final = 100
"""Messages shown in one turn; each is read from the journal."""
REMOVED_MAX: Final = 1_000
"""Messages cancelled in one turn: about 10 ms."""

_log: Final = logging.getLogger("broker.region")


class ScheduleRequests:
    """Answers them for one region."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._shown = 0
        region.endpoints.add_prefix(MANAGEMENT, self.take)

    def take(self, request: Message, connection: RegionConnection) -> int:
        """Do what a request asks for; returns the batch that its receipt waits for.

        Raises:
            AccessDenied: the sender may not administer the schedule, or not send to the JMSReplyTo.
            RequestInvalid: it makes no sense.
        """
        region = self._region
        region.rights.check(connection.user, Permission.ADMIN, request.destination)
        properties = properties_of(request)
        action = properties.get(ACTION)
        start_ms, end_ms = (
            integer(name, properties.get(name, properties.get(LONG_PREFIX + name)))
            for name in (START_TIME, END_TIME)
        )
        within = (0, DUE_MS_MAX) if start_ms is None or end_ms is None else (start_ms, end_ms)
        match action:
            case "REMOVE":
                return self._remove(properties.get(JOB_ID))
            case "REMOVEALL":
                region.schedule.begin(self._remove_all(*within))
            case "BROWSE":
                if request.reply_to is None:
                    raise RequestInvalid(f"{ACTION} BROWSE needs a JMSReplyTo.")
                region.permit(connection.user, Permission.WRITE, request.reply_to)
                region.schedule.begin(self._show(request.reply_to, connection, *within))
            case _:
                raise RequestInvalid(f"{ACTION} is to be BROWSE, REMOVE or REMOVEALL, not {action!r}.")
        return region.last_batch

    def _remove(self, job_id: object) -> int:
        """One that is not scheduled (any more) is none to cancel, as in the original."""
        if not isinstance(job_id, str):
            raise RequestInvalid(f"{ACTION} REMOVE needs a {JOB_ID}.")
        batch = self._region.schedule.remove(job_id)
        return self._region.last_batch if batch is None else batch

    def _remove_all(self, first_ms: int, last_ms: int) -> Task:
        schedule = self._region.schedule
        found = schedule.find(first_ms, last_ms)
        for at in range(0, len(found), REMOVED_MAX):
            schedule.remove_refs(found[at : at + REMOVED_MAX])
            yield

    def _show(self, reply_to: Destination, connection: RegionConnection, first_ms: int, last_ms: int) -> Task:
        region = self._region
        for number, ref in enumerate(region.schedule.find(first_ms, last_ms), 1):
            found = region.schedule.describe(ref)
            if found is None:
                continue
            self._shown += 1
            message = listed(found.message, found.job_id, self._shown, reply_to, region.now_ms)
            try:
                arrivals = Arrivals(region, region.routing.routes(message), connection)
            except ClientError as error:
                _log.info("What is scheduled cannot be shown at %s: %s", reply_to, error)
                return
            arrivals.accept(0)
            if number % SHOWN_MAX == 0:
                yield

"""Looks at the messages that are to be delivered later, and cancels them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.management.browsing import message_info
from broker.management.errors import NotFound, RequestMalformed
from broker.management.jobs import Immediate, Job
from broker.management.model import Page, ScheduledInfo
from broker.management.requests import ScheduledRequest, check_limit, check_preview
from broker.region.entry import Entry

if TYPE_CHECKING:
    from broker.region.region import Region

SCHEDULED = "scheduled"
"""State of such a message."""


def scheduled(region: Region, request: ScheduledRequest) -> Page[ScheduledInfo]:
    """A page of them, the next to be delivered first.

    Raises:
        RequestMalformed: the request is wrong.
    """
    limit, characters = check_limit(request.limit), check_preview(request.preview)
    schedule, state = region.schedule, region.store.state
    after = _cursor(request.after)
    refs = schedule.find(after[0])
    items: list[ScheduledInfo] = []
    for ref in refs:
        due = state.due(ref)
        if due is None or (due[0], ref) <= after:
            continue
        if len(items) >= limit:
            return Page(items, len(state.due_times), f"{after[0]}.{after[1]}")
        after = due[0], ref
        found = schedule.describe(ref)
        if found is not None:
            message = message_info(Entry(ref, None, 0, True), found.message, SCHEDULED, characters)
            items.append(ScheduledInfo(found.job_id, found.due_ms, found.repeats, found.cron, message))
    return Page(items, len(state.due_times), "")


def _cursor(text: str) -> tuple[int, int]:
    due, dot, ref = text.partition(".")
    if not text:
        return 0, -1
    if not (dot and text.isascii() and due.isdigit() and ref.isdigit() and len(text) < 40):
        raise RequestMalformed("The argument 'after' is not what a page before has given as 'next'.")
    return int(due), int(ref)


def unschedule(region: Region, job_id: str) -> Job:
    """A job that cancels a schedule."""

    def do(job: Job) -> int:
        del job
        batch = region.schedule.remove(job_id)
        if batch is None:
            raise NotFound(f"There is no scheduled message {job_id}.")
        return batch

    return Immediate(region, "unschedule", job_id, do)

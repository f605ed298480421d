"""Distributed transactions whose manager does not end them: an operator looks, and decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from broker.errors import BranchRefused
from broker.management.errors import NotFound
from broker.management.jobs import Immediate, Job
from broker.management.model import Page, TransactionInfo
from broker.management.paging import page_of
from broker.management.requests import ListRequest

if TYPE_CHECKING:
    from broker.region.region import Region

PREPARED = "prepared"
COMMITTED = "committed"
ROLLED_BACK = "rolled back"


def transactions(region: Region, request: ListRequest) -> Page[TransactionInfo]:
    """A page of them by xid, those that an operator has ended and their manager does not know of included.

    Raises:
        RequestMalformed: the request is wrong.
    """
    return page_of(_all(region), request, lambda each: each.xid, lambda each: each)


def _all(region: Region) -> Iterator[TransactionInfo]:
    for branch in region.prepared_transactions():
        yield TransactionInfo(
            xid=branch.xid,
            state=PREPARED,
            user=branch.user,
            client_id=branch.client_id,
            prepared=branch.prepared_ms,
            age_ms=branch.age_ms,
            sent=dict(branch.sent),
            consumed=dict(branch.consumed),
            acknowledged={":".join(key): count for key, count in branch.acknowledged.items()},
        )
    for xid, committed in region.store.state.branches.heuristic.items():
        yield TransactionInfo(xid, COMMITTED if committed else ROLLED_BACK, "", "", 0, 0, {}, {}, {})


def decision(region: Region, operation: str, xid: str, decide: Callable[[str], int]) -> Job:
    """A job that ends a branch, or forgets that one was ended."""

    def do(job: Job) -> int:
        del job
        try:
            return decide(xid)
        except BranchRefused as error:
            raise NotFound(f"There is no such transaction to {operation}: {xid}.") from error

    return Immediate(region, operation, xid, do)

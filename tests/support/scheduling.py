"""What tests of scheduled messages share."""

from __future__ import annotations

from typing import Any

from support.region import MemoryStore, settle

from broker.primitive_map import Value, encode_map
from broker.region.region import Region

TIMES_MAX = 1_000
"""A bound for loops; none of them needs so many."""


def schedule(
    delay: object = None, period: object = None, repeat: object = None, cron: object = None, **others: Value
) -> dict[str, Any]:
    """The properties of a message that is due later, for `Peer.send`."""
    names = ("AMQ_SCHEDULED_DELAY", "AMQ_SCHEDULED_PERIOD", "AMQ_SCHEDULED_REPEAT", "AMQ_SCHEDULED_CRON")
    values = {n: v for n, v in zip(names, (delay, period, repeat, cron), strict=True) if v is not None}
    given: dict[str, Any] = {**values, **others}  # wrong ones, too
    return {"properties": encode_map(given)}


def advance(region: Region, now_ms: int) -> None:
    """Time passes: everything that is due until then happens, each at its time."""
    for _ in range(TIMES_MAX):
        settle(region)
        deadline_ms = region.deadline_ms
        if deadline_ms is None or deadline_ms > now_ms:
            break
        region.advance(max(deadline_ms, region.now_ms))
    region.advance(now_ms)
    settle(region)


def store_of(region: Region) -> MemoryStore:
    """Its journal."""
    assert isinstance(region.store, MemoryStore)
    return region.store

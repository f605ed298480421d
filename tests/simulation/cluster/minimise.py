"""Takes out of a failing history what it does not need, as long as it still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from simulation.cluster.plan import ConsumerPlan, Fault, Plan, ProducerPlan
from simulation.cluster.world import Outcome, live

TRIES_MAX: Final = 300
"""Histories that are lived to make one smaller."""


def minimised(plan: Plan, *, fails: Callable[[Plan], bool] | None = None, tries: int = TRIES_MAX) -> Plan:
    """A plan that fails as this one does, from which nothing more can be taken by itself.

    Args:
        plan: fails.
        fails: tells; by default the same promise has to be broken.
        tries: histories that may be lived for it.
    """
    if fails is None:
        kind = _kind(live(plan))

        def fails(smaller: Plan) -> bool:
            return _kind(live(smaller)) == kind

    left = tries
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for smaller in _smaller(plan):
            if left <= 0:
                return plan
            left -= 1
            if fails(smaller):
                plan, is_smaller = smaller, True
                break
    return plan


def _kind(outcome: Outcome) -> str:
    """Which promise is broken; the text before the first colon."""
    return outcome.violation.partition(":")[0] or outcome.violation


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans with something less, what saves most first."""
    for index in range(len(plan.faults)):
        yield replace(plan, faults=plan.faults[:index] + plan.faults[index + 1 :])
    for index in range(len(plan.producers) if len(plan.producers) > 1 else 0):
        yield replace(plan, producers=plan.producers[:index] + plan.producers[index + 1 :])
    for index in range(len(plan.consumers) if len(plan.consumers) > 1 else 0):
        yield replace(plan, consumers=plan.consumers[:index] + plan.consumers[index + 1 :])
    if plan.brokers > 2 and not any(fault.target == f"b{plan.brokers - 1}" for fault in plan.faults):
        yield replace(plan, brokers=plan.brokers - 1)
    for index, producer in enumerate(plan.producers):
        for simpler in _simpler_producers(producer):
            yield replace(plan, producers=(*plan.producers[:index], simpler, *plan.producers[index + 1 :]))
    plain = ConsumerPlan()
    for index, consumer in enumerate(plan.consumers):
        simpler_consumer = replace(plain, queue=consumer.queue)
        if consumer != simpler_consumer:
            parts = (*plan.consumers[:index], simpler_consumer, *plan.consumers[index + 1 :])
            yield replace(plan, consumers=parts)
    for field, value in (
        ("is_fast_disk", False),
        ("carries", False),
        ("sector_bytes", 512),
        ("store_bytes", 0),
    ):
        if getattr(plan, field) != value:
            yield replace(plan, **{field: value})
    for index, fault in enumerate(plan.faults):
        for simpler_fault in _simpler_faults(fault):
            yield replace(plan, faults=(*plan.faults[:index], simpler_fault, *plan.faults[index + 1 :]))


def _simpler_producers(producer: ProducerPlan) -> Iterator[ProducerPlan]:
    for messages in sorted({1, producer.messages // 2, producer.messages - 1}):
        if 0 < messages < producer.messages:
            yield replace(producer, messages=messages)
    if producer.window > 1:
        yield replace(producer, window=1)
    if producer.transaction:
        yield replace(producer, transaction=0)
    for name, value in (("priorities", ()), ("lives_s", 0.0), ("delay_s", 0.0)):
        if getattr(producer, name) != value:
            yield replace(producer, **{name: value})
    if producer.discovers:
        yield replace(producer, discovers=False)


def _simpler_faults(fault: Fault) -> Iterator[Fault]:
    for digits in (0, 1):
        rounded = replace(fault, at_s=round(fault.at_s, digits), for_s=round(fault.for_s, digits))
        if rounded != fault and len(repr(rounded)) < len(repr(fault)):
            yield rounded
    if fault.count > 1:
        yield replace(fault, count=fault.count // 2)

"""Times of messages by the broker's clock, and bounds of their lives, where a policy says so.

Source: ActiveMQ's `TimeStampingBrokerPlugin`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.errors import MessageInvalid, RequestInvalid
from broker.message import rewritten

if TYPE_CHECKING:
    from broker.message import Message
    from broker.policies import Policy


def stamps(policy: Policy) -> bool:
    """Whether messages of a destination get the broker's time."""
    return policy.time_stamping or policy.zero_expiration_override_ms > 0 or policy.ttl_ceiling_ms > 0


def stamped(message: Message, policy: Policy, now_ms: int) -> Message:
    """A message with the broker's time, and its time to live counted from there, within the policy's bounds.

    Args:
        message: stays as it is; one whose client gives it no time is left alone.
        policy: of its destination.
        now_ms: the time.

    Raises:
        RequestInvalid: it is damaged.
    """
    if message.timestamp <= 0:
        return message
    before = message.expiration
    ttl_ms = before - message.timestamp if before else policy.zero_expiration_override_ms
    if 0 < policy.ttl_ceiling_ms < ttl_ms:
        ttl_ms = policy.ttl_ceiling_ms
    expiration = now_ms + ttl_ms
    if policy.future_only and expiration <= before:
        return message
    try:
        return rewritten(replace(message, timestamp=now_ms, expiration=expiration if ttl_ms > 0 else before))
    except MessageInvalid as error:
        raise RequestInvalid(str(error)) from error

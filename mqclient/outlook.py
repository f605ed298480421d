"""What a program is told while it waits for a broker: why there is none, and for how long. Texts only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mqclient.url import BrokerAddress, DiscoveryAgent

if TYPE_CHECKING:
    from registry.discovery import Master

NOTICE_AFTER_S = 2.0
"""Of waiting, until it is told: longer than a takeover, and short of what makes a person wonder."""

NOTICE_EVERY_S = 60.0
"""How often it is told again."""

GROUPS_NAMED_MAX = 10
"""Groups in one line; who has more finds them with `fabric cluster-list`."""

USUAL_ADDRESS = "tcp://localhost:61616"
"""Where a broker is looked for if nothing is said. A fabric's brokers listen elsewhere."""


def notice_times() -> Iterator[float]:
    """After how many seconds of waiting to tell it."""
    yield NOTICE_AFTER_S
    yield from itertools.count(NOTICE_EVERY_S, NOTICE_EVERY_S)


def notice(why: str, waited_s: float, limit_ms: int, *, limitable: bool) -> str:
    """The line that tells it.

    Args:
        why: there is no broker; a sentence.
        waited_s: so far.
        limit_ms: the option ``timeout``; 0 or less: none.
        limitable: whether the broker URL may have that option.
    """
    head = "No broker yet" if waited_s == NOTICE_AFTER_S else f"No broker for {waited_s:.0f} s"
    if limit_ms > 0:
        tail = f" Waiting, until {limit_ms} ms have passed."
    elif limitable:
        tail = " Waiting, as long as it takes; the option timeout=10000 in the broker URL makes that 10 s."
    else:
        tail = " Waiting."
    return f"{head}: {why}{tail}"


def unreached(addresses: Sequence[BrokerAddress], reason: str) -> str:
    """Why no broker answers of those that are known.

    Args:
        addresses: of these; not empty.
        reason: of the last attempt that failed; "" if none has.
    """
    names = ", ".join(each.url for each in addresses)
    if not reason:
        return f"{names} has not answered." if len(addresses) == 1 else f"none of {names} has answered."
    told = (
        f"{names} cannot be reached: {reason}."
        if len(addresses) == 1
        else (f"none of {names} can be reached; the last said: {reason}.")
    )
    if names == USUAL_ADDRESS:
        told += " A fabric's brokers are found with the broker URL discovery:fabric:<group>."
    return told


@dataclass(frozen=True, slots=True)
class Sight:
    """What the registry shows of a group.

    Attributes:
        registry_url: where it is.
        answers: whether it does; if not, what follows means nothing.
        masters: of the group's brokers, also those that do not serve yet.
        groups: those that have members, sorted.
    """

    registry_url: str
    answers: bool
    masters: tuple[Master, ...] = ()
    groups: tuple[str, ...] = ()


def unknown(agent: DiscoveryAgent, sight: Sight, *, tls_only: bool) -> str:
    """Why discovery finds no broker.

    Args:
        agent: what is looked for.
        sight: what there is.
        tls_only: brokers without TLS are passed over.
    """
    group = agent.group
    if not sight.answers:
        return f"the registry at {sight.registry_url} does not answer now."
    if not sight.masters:
        return _nobody(group, sight)
    chosen = [each for each in sight.masters if agent.broker_id in (None, each.broker)]
    if not chosen:
        others = ", ".join(each.broker for each in sight.masters)
        return f"group {group} has no broker {agent.broker_id}; it has {others}."
    names = ", ".join(each.broker for each in chosen)
    if not any(each.urls for each in chosen):
        return f"{names} of group {group} has no master that serves."
    if tls_only:
        return f"{names} of group {group} does not serve by TLS, which a trust store or key store asks for."
    return f"{names} of group {group} has no connector for OpenWire."


def _nobody(group: str, sight: Sight) -> str:
    if group in sight.groups:
        return f"brokers of group {group} have joined, and none is ready."
    told = f"the registry at {sight.registry_url} knows none of group {group}"
    if not sight.groups:
        return f"{told}, nor of any other."
    named = ", ".join(sight.groups[:GROUPS_NAMED_MAX])
    more = ", …" if len(sight.groups) > GROUPS_NAMED_MAX else ""
    return f"{told}. Groups with brokers: {named}{more}."

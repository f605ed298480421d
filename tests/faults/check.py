"""Judges a history: ``python -m faults.check HISTORY… [--store INSPECTION.json]``.

It knows nothing of the product. What a history must not show, and the promise that it would break:

===============  ========  =========================================================================
breach           promise
===============  ========  =========================================================================
lost             P1        a message was acknowledged and never delivered
never sent       P1        a message was delivered that nobody sent, or from another queue, or was refused
repeated         P3        a consumer was given a message again without being warned (``redelivered``)
out of order     P4        a consumer was given a producer's messages in another order than they were sent
two masters      P2        a send was acknowledged by a broker after another one had taken its place, and
                           was begun after that as well, or never came from the successor
no end           none      nobody says that a queue was read to its end, so nothing is known of what is lost
store            P1, P2    what the journal says of itself: damage, or two epochs that may acknowledge
===============  ========  =========================================================================

*Two masters* needs no clock that is better than the truth: epoch n+1 has acknowledged something, **then** a
client began a send, and that send was acknowledged in epoch n. Whatever the network delays, no answer can be
older than its question. An acknowledgement that was on its way meanwhile is none of these, unless the message
is missing: epoch n+1 has read all that epoch n could acknowledge, so whatever it has not was not n's to give.

*Out of order*: of messages that a consumer sees for the first time the numbers of one producer ascend. What
it has seen may come again, warned, and then ascends as well, from wherever the repetition began.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.history import (
    ACKNOWLEDGED,
    BEGUN,
    DELIVERED,
    DRAINED,
    EPOCH,
    REFUSED,
    STAYING,
    Event,
    HistoryInvalid,
    read_history,
)

LOST, NEVER_SENT, REPEATED = "lost", "never sent", "repeated"
OUT_OF_ORDER, TWO_MASTERS, NO_END, STORE = "out of order", "two masters", "no end", "store"

SHOWN_MAX = 20
"""Of each breach; the first ones tell the story."""

Key = tuple[str, int]
"""A message: its producer and its number there."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that was broken.

    Attributes:
        kind: one of the table's.
        text: what was seen.
        at: when, monotonic seconds.
    """

    kind: str
    text: str
    at: float

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without an acknowledgement.

    Attributes:
        began: the last one before it, monotonic seconds.
        seconds: how long.
        who: whose, if it is one producer's.
    """

    began: float
    seconds: float
    who: str = ""


@dataclass(slots=True)
class _Sent:
    """What is known of the sends."""

    queues: dict[Key, str] = field(default_factory=dict)
    begun: dict[Key, float] = field(default_factory=dict)
    acknowledged: dict[Key, Event] = field(default_factory=dict)
    refused: set[Key] = field(default_factory=set)


def check(events: Sequence[Event]) -> list[Breach]:
    """All breaches of a history, in the order of their times.

    Args:
        events: ordered by time.

    Raises:
        HistoryInvalid: an answer without a send, or one message sent twice.
    """
    sent = _sends(events)
    found = [
        *_lost(events, sent),
        *_never_sent(events, sent),
        *_repeated(events),
        *_out_of_order(events),
        *_two_masters(events, sent),
        *_no_end(events, sent),
    ]
    return sorted(found, key=lambda breach: breach.at)


def _sends(events: Iterable[Event]) -> _Sent:
    sent = _Sent()
    for event in events:
        key = (event.producer, event.number)
        if event.what == BEGUN:
            if key in sent.begun:
                raise HistoryInvalid(f"{_name(key)} was sent twice")
            sent.begun[key] = event.at
            sent.queues[key] = event.queue
        elif event.what in (ACKNOWLEDGED, REFUSED):
            if key not in sent.begun:
                raise HistoryInvalid(f"{_name(key)} was answered and not sent")
            if event.what == ACKNOWLEDGED:
                sent.acknowledged[key] = event
            else:
                sent.refused.add(key)
    return sent


def _delivered(events: Iterable[Event]) -> set[Key]:
    return {(event.producer, event.number) for event in events if event.what == DELIVERED}


def _lost(events: Iterable[Event], sent: _Sent) -> Iterator[Breach]:
    delivered = _delivered(events)
    for key, event in sent.acknowledged.items():
        if key not in delivered:
            text = f"{_name(key)} was acknowledged by {event.broker or 'a broker'} and never delivered"
            yield Breach(LOST, text, event.at)


def _never_sent(events: Iterable[Event], sent: _Sent) -> Iterator[Breach]:
    for event in events:
        if event.what != DELIVERED:
            continue
        key = (event.producer, event.number)
        if key not in sent.begun or sent.begun[key] > event.at:
            yield Breach(NEVER_SENT, f"{_name(key)} was delivered before anybody sent it", event.at)
        elif sent.queues[key] != event.queue:
            text = f"{_name(key)} was sent to {sent.queues[key]} and delivered from {event.queue}"
            yield Breach(NEVER_SENT, text, event.at)
        elif key in sent.refused:
            yield Breach(NEVER_SENT, f"{_name(key)} was refused and delivered", event.at)


def _repeated(events: Iterable[Event]) -> Iterator[Breach]:
    seen: set[tuple[str, Key]] = set()
    for event in events:
        if event.what != DELIVERED:
            continue
        key = (event.producer, event.number)
        if (event.queue, key) in seen and not event.redelivered:
            yield Breach(REPEATED, f"{event.who} was given {_name(key)} again, without a warning", event.at)
        seen.add((event.queue, key))


@dataclass(slots=True)
class _Reading:
    """How far one consumer has come with one producer.

    Attributes:
        highest: number that it has seen; -1 before the first.
        last: number that it was given last.
        restart: where the repetition began that it is in, None outside.
    """

    highest: int = -1
    last: int = -1
    restart: int | None = None


def _out_of_order(events: Iterable[Event]) -> Iterator[Breach]:
    readings: defaultdict[tuple[str, str], _Reading] = defaultdict(_Reading)
    seen: set[tuple[str, Key]] = set()
    for event in events:
        if event.what != DELIVERED:
            continue
        key = (event.producer, event.number)
        reading = readings[event.who, event.producer]
        if _is_out_of_order(reading, event.number, is_new=(event.who, key) not in seen):
            text = f"{event.who} was given {_name(key)} after {reading.last} of the same producer"
            yield Breach(OUT_OF_ORDER, text, event.at)
        seen.add((event.who, key))


def _is_out_of_order(reading: _Reading, number: int, *, is_new: bool) -> bool:
    """Whether a number must not come now; moves the reading on."""
    wrong = is_new and number < reading.highest
    if number <= reading.last and not is_new:
        if reading.restart is not None and number < reading.restart:
            wrong = True  # what is before the restart would have come then
        reading.restart = number if reading.restart is None else min(reading.restart, number)
    if is_new:
        reading.restart = None if number > reading.highest else reading.restart
    reading.highest = max(reading.highest, number)
    reading.last = number
    return wrong


def _two_masters(events: Iterable[Event], sent: _Sent) -> Iterator[Breach]:
    """Answers of an epoch that it had no right to give: a later one had answered."""
    delivered = _delivered(events)
    claimed: dict[str, int] = {}
    answered: list[tuple[float, int, str]] = []  # since when which epoch has answered, and whose; ascending
    for event in events:
        if event.what == EPOCH:
            claimed[event.broker] = max(event.number, claimed.get(event.broker, 0))
        if event.what != ACKNOWLEDGED or event.broker not in claimed:
            continue
        epoch = claimed[event.broker]
        if not answered or epoch > answered[-1][1]:
            answered.append((event.at, epoch, event.broker))
            continue
        key = (event.producer, event.number)
        for since, later, broker in answered:
            if later <= epoch or (sent.begun[key] <= since and key in delivered):
                continue
            if sent.begun[key] > since:
                when = f"begun {sent.begun[key] - since:.3f} s after {broker} had acknowledged"
            else:
                when = f"answered {event.at - since:.3f} s after {broker}, which has it not, had acknowledged"
            text = f"{_name(key)} was acknowledged by {event.broker} in epoch {epoch}, and {when}"
            yield Breach(TWO_MASTERS, f"{text} in epoch {later}", event.at)
            break


def _no_end(events: Sequence[Event], sent: _Sent) -> Iterator[Breach]:
    ended = {event.queue for event in events if event.what == DRAINED}
    at = events[-1].at if events else 0.0
    for queue in sorted(set(sent.queues.values()) - ended):
        yield Breach(NO_END, f"nobody says that {queue} was read to its end", at)
    if not sent.acknowledged:
        yield Breach(NO_END, "nothing was acknowledged at all", at)


def _name(key: Key) -> str:
    return f"message {key[1]} of {key[0]}"


# ---- the journal


def check_store(inspection: Mapping[str, Any], *, at: float = 0.0) -> Iterator[Breach]:
    """What the store's inspection says that must not be; it was read when all was well again.

    Args:
        inspection: the object that ``python -m journal inspect --json`` prints.
        at: when.
    """
    for damage in inspection["damages"]:
        yield Breach(STORE, f"damage in {damage.get('file')} at {damage.get('offset')}", at)
    live, ruling, claimed = inspection["live"], inspection["ruling"], inspection["claimed"]
    if len(live) > 1:
        yield Breach(STORE, f"the epochs {live} may all acknowledge", at)
    if live and live[-1] != ruling:
        yield Breach(STORE, f"epoch {live[-1]} may acknowledge, and {ruling} rules", at)
    if ruling > claimed:
        yield Breach(STORE, f"epoch {ruling} rules, and was never claimed", at)
    ends = [(seal["epoch"], seal["number"], seal["offset"]) for seal in inspection["seals"]]
    if [end[0] for end in ends] != sorted({end[0] for end in ends}):
        yield Breach(STORE, f"an epoch is sealed twice: {ends}", at)
    if any(end[0] >= ruling for end in ends):
        yield Breach(STORE, f"epoch {ruling} rules, and is sealed", at)


# ---- figures


def longest_gap(
    events: Iterable[Event], since: float = float("-inf"), until: float = float("inf"), who: str | None = None
) -> Gap:
    """The longest time between two acknowledgements, whose later one came between two moments.

    Args:
        events: ordered by time.
        since: a gap counts if it ended after this …
        until: … and began before this.
        who: only this producer's; None: of all together, so that a gap is a time in which nobody got on.
    """
    longest, before = Gap(0.0, 0.0), None
    for event in events:
        if event.what != ACKNOWLEDGED or (who is not None and event.who != who):
            continue
        counts = before is not None and event.at > since and before < until
        if counts and before is not None and event.at - before > longest.seconds:
            longest = Gap(before, event.at - before, event.who)
        before = event.at
    return longest


def slowest_producer(
    events: Sequence[Event], since: float = float("-inf"), until: float = float("inf")
) -> Gap:
    """The longest gap that any single producer has seen; not of those that stay with a broker."""
    producers = following(events)
    gaps = [longest_gap(events, since, until, who) for who in producers]
    return max(gaps, key=lambda gap: gap.seconds, default=Gap(0.0, 0.0))


def following(events: Iterable[Event]) -> list[str]:
    """The producers that follow the registry, and were answered."""
    producers = {event.who for event in events if event.what == ACKNOWLEDGED}
    return sorted(name for name in producers if not name.startswith(STAYING))


def summary(events: Sequence[Event]) -> str:
    """The sums, in a line."""
    kinds = Counter(event.what for event in events)
    again = sum(1 for event in events if event.what == DELIVERED and event.redelivered)
    gap = longest_gap(events)
    return (
        f"{kinds[BEGUN]} begun, {kinds[ACKNOWLEDGED]} acknowledged, {kinds[REFUSED]} refused,"
        f" {kinds[DELIVERED]} delivered, {again} of them with a warning, {kinds[EPOCH]} epochs,"
        f" longest gap {gap.seconds * 1000:.0f} ms"
    )


def told(breaches: Sequence[Breach]) -> str:
    """The first breaches of each kind, a line each."""
    shown: Counter[str] = Counter()
    lines = []
    for breach in breaches:
        shown[breach.kind] += 1
        if shown[breach.kind] <= SHOWN_MAX:
            lines.append(f"{breach.at:.3f} {breach}")
    lines += [f"{count - SHOWN_MAX} more: {kind}" for kind, count in shown.items() if count > SHOWN_MAX]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Check files; the exit code is 1 if a promise was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m faults.check", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("history", type=Path, nargs="+", help="files with one JSON object a line")
    parser.add_argument("--store", type=Path, help="what `python -m journal inspect --json` printed")
    wanted = parser.parse_args(arguments)
    try:
        events = read_history(wanted.history)
        breaches = check(events)
    except (HistoryInvalid, OSError) as error:
        print(f"check: {error}", file=sys.stderr)
        return 2
    if wanted.store is not None:
        breaches += check_store(json.loads(wanted.store.read_text("utf-8")))
    print(summary(events))
    print(told(breaches) or "No promise was broken.")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
